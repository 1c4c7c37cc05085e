"""What a resting canceller gives."""

import numpy as np
import pytest
from simroom import RATE_HZ

from edge_assistant.echo import Echo
from edge_assistant.echo.stage import QUIET, REST

FRAME = 512


class Room:
    """Frames go in by number, one after the other."""

    def __init__(self, **more):
        self.echo = Echo("speexdsp", **more)
        self._number = 0

    def hear(self, sound, probability=0.0, *, played=None):
        """What comes of it; `probability` that somebody speaks in it."""
        cleaned = []
        for near in sound.reshape(-1, FRAME):
            if played is not None:
                self.echo.played(played, 3 * RATE_HZ)
            cleaned.append(self.echo.clean(self._number, near))
            self.echo.guard(probability)
            self._number += 1
        return np.concatenate(cleaned)


@pytest.fixture
def noise():
    return (0.01 * np.random.default_rng(0).standard_normal(200 * FRAME)).astype(np.float32)


def test_at_rest_nothing_is_held_back(noise):
    rested = (REST + 2) * FRAME
    np.testing.assert_array_equal(Room().hear(noise)[rested:], noise[rested:])


def test_who_speaks_loses_nothing_when_it_comes_to_rest(noise):
    room = Room()
    late = room.echo._canceller.delay_samples
    stops = (REST + 60) * FRAME
    cleaned = np.concatenate([room.hear(noise[:stops], 0.9), room.hear(noise[stops:])])
    resting, prompt = (REST + 2) * FRAME, stops + QUIET * FRAME
    np.testing.assert_array_equal(cleaned[resting:prompt], noise[resting - late : prompt - late])
    np.testing.assert_array_equal(cleaned[prompt:], noise[prompt:])


def test_it_is_back_as_soon_as_we_sound(noise):
    room = Room(delay_ms=0)
    room.hear(noise)
    sound = noise[: 20 * FRAME]
    cleaned = room.hear(sound, played=np.full(3 * FRAME, 0.3, np.float32))
    assert not np.array_equal(cleaned[-FRAME:], sound[-FRAME:])
