"""How much of our voice each strategy takes out, and how much of the user it leaves."""

import builtins
import ctypes
import importlib

import numpy as np
import pytest
from conversation import speak_over
from simroom import RATE_HZ, Room, level_db

from edge_assistant.echo import Echo
from edge_assistant.echo.canceller import CANCELLERS, Aec3Canceller, SpeexCanceller
from edge_assistant.errors import EchoError, UsageError
from edge_assistant.vad import SileroVad

FRAME = 512
FLOORS_DB = {"speexdsp": 17, "aec3": 26}
"""Measured in these rooms: 22 and 31 (docs/echo.md); a few decibels less are chance."""
LEAD = 12 * RATE_HZ // 1000


def run(strategy, near, far):
    canceller = CANCELLERS[strategy]()
    pairs = zip(
        near[: len(near) // FRAME * FRAME].reshape(-1, FRAME), far[: len(far) // FRAME * FRAME].reshape(-1, FRAME), strict=True
    )
    return np.concatenate([canceller(n, f) for n, f in pairs])


def reduction_db(strategy, room, sound, *, shift_ms=None, user=None):
    """How much less there is after 12 s; the reference is 12 ms before the echo, or where `shift_ms` puts it."""
    near = room.hear(sound, user)
    shift = round(room.delay_ms * 16) - LEAD if shift_ms is None else round(shift_ms * 16)
    far = np.concatenate([np.zeros(max(0, shift), np.float32), sound[max(0, -shift) :], np.zeros(max(0, -shift), np.float32)])
    cleaned = run(strategy, near, far[: len(near)])
    return level_db(near[12 * RATE_HZ : len(cleaned)]) - level_db(cleaned[12 * RATE_HZ :])


@pytest.mark.parametrize("strategy", FLOORS_DB)
@pytest.mark.parametrize("delay_ms", [60, 150])
def test_an_echo_is_taken_out(replies, strategy, delay_ms):
    assert reduction_db(strategy, Room(delay_ms=delay_ms), replies[: 20 * RATE_HZ]) > FLOORS_DB[strategy]


@pytest.mark.parametrize("strategy", ["half-duplex", "system"])
def test_who_does_not_cancel_changes_nothing(replies, strategy):
    near = Room().hear(replies[: 2 * RATE_HZ])
    np.testing.assert_array_equal(run(strategy, near, replies[: 2 * RATE_HZ]), near[: len(near) // FRAME * FRAME])


@pytest.mark.parametrize("strategy", FLOORS_DB)
@pytest.mark.parametrize("level", [-20, -26])
def test_the_user_is_still_heard_in_double_talk(replies, strategy, level):
    """Of the frames that the detector finds in the user alone, most are found in the cleaned sound (echo at -6 dB)."""
    sound = replies[: 40 * RATE_HZ]
    user, spans = speak_over(len(sound), level, first_s=12, every_s=4)
    room = Room()
    far = np.concatenate([np.zeros(round(room.delay_ms * 16) - LEAD, np.float32), sound])[: len(sound)]
    alone, cleaned = ([vad(f) for f in x[: len(x) // FRAME * FRAME].reshape(-1, FRAME)] for vad, x in (
        (SileroVad(), user), (SileroVad(), run(strategy, room.hear(sound, user), far))
    ))  # fmt: skip
    at = [frame for first, last in spans for frame in range(first, last) if alone[frame] > 0.5]
    kept = np.mean([cleaned[frame] > 0.5 for frame in at])
    assert kept > {"speexdsp": 0.9, "aec3": 0.6}[strategy]


@pytest.mark.parametrize("strategy", FLOORS_DB)
def test_it_says_how_late_it_gives_back(strategy):
    """Without an echo the sound comes out as it went in, `delay_samples` later."""
    near = speak_over(8 * RATE_HZ, -20, first_s=1, every_s=2)[0] + Room().hear(np.zeros(8 * RATE_HZ, np.float32))
    cleaned = run(strategy, near, np.zeros_like(near))
    late = CANCELLERS[strategy]().delay_samples
    as_it_went = near[: len(cleaned) - late]
    assert np.corrcoef(cleaned[late:], as_it_went)[0, 1] > 0.85


@pytest.mark.parametrize("strategy", FLOORS_DB)
def test_silence_and_full_scale_are_survived(strategy):
    canceller = CANCELLERS[strategy]()
    loud = np.ones(FRAME, np.float32)
    for near, far in ((0 * loud, 0 * loud), (loud, loud), (2 * loud, -2 * loud), (0 * loud, loud)):
        for _ in range(20):
            cleaned = canceller(near, far)
            assert cleaned.shape == (FRAME,)
            assert cleaned.dtype == np.float32
            assert np.isfinite(cleaned).all()


def test_a_missing_library_is_one_line_with_its_mend(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(EchoError, match="speexdsp is not installed; apt install libspeexdsp1"):
        SpeexCanceller()
    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: missing_module(name) if name == "pywebrtc_audio" else real(name))
    with pytest.raises(EchoError, match=r"aec3 is not installed; pip install 'edge-assistant\[aec3\]'"):
        Aec3Canceller()


def missing_module(name):
    raise builtins.ImportError(name)


def test_an_unknown_strategy_is_told_the_known_ones():
    with pytest.raises(UsageError, match="half-duplex, speexdsp, aec3, system"):
        Echo("magic")


# Faults that the floors above must see.


@pytest.mark.parametrize("strategy", FLOORS_DB)
def test_without_a_reference_nothing_is_taken_out(replies, strategy):
    sound = replies[: 20 * RATE_HZ]
    near = Room().hear(sound)
    cleaned = run(strategy, near, np.zeros_like(near))
    assert level_db(near[12 * RATE_HZ :]) - level_db(cleaned[12 * RATE_HZ :]) < 3


def test_a_reference_behind_the_echo_takes_nothing_out(replies):
    assert reduction_db("speexdsp", Room(delay_ms=90), replies[: 20 * RATE_HZ], shift_ms=400) < FLOORS_DB["speexdsp"]


def test_two_clocks_are_too_much_for_a_linear_canceller(replies):
    assert reduction_db("speexdsp", Room(delay_ms=90, drift_ppm=100), replies[: 20 * RATE_HZ]) < FLOORS_DB["speexdsp"]
