"""The assistant never answers itself, and is still interrupted: whole conversations in simulated rooms."""

import numpy as np
import pytest
from conversation import speak_over, talk
from simroom import RATE_HZ, Room

from edge_assistant.echo import Echo
from edge_assistant.echo.guard import EchoGuard, GuardConfig
from edge_assistant.echo.reference import Reference

FRAME = 512
ROOMS = {
    "plain": Room(),
    "two clocks": Room(delay_ms=60, drift_ppm=100),
    "far off": Room(delay_ms=150, drift_ppm=-50, t60_s=0.6),
    "overdriven": Room(clip=0.1, delay_ms=110),
    "loud": Room(echo_db=0),
}
STRATEGIES = ["speexdsp", "aec3"]


@pytest.mark.parametrize("name", ROOMS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_our_own_voice_starts_no_turn(replies, strategy, name):
    """Ten half minutes; tests/bench/echo.py talks for hours."""
    assert not talk(strategy, ROOMS[name], replies[: 30 * RATE_HZ]).starts


@pytest.mark.parametrize(("name", "strategy", "floor"), [
    ("plain", "speexdsp", 1.0), ("two clocks", "speexdsp", 1.0), ("far off", "speexdsp", 0.8),
    ("plain", "aec3", 0.8), ("two clocks", "aec3", 0.8), ("far off", "aec3", 0.8),
])  # fmt: skip
def test_a_user_who_speaks_over_us_is_found(replies, name, strategy, floor):
    """At -26 dB, where our echo is at -26 too."""
    heard = talk(strategy, ROOMS[name], replies, speak_over(len(replies), -26, first_s=18, every_s=4.5))
    print(f"{strategy}, {name}: {heard.found} of {len(heard.spans)} interruptions found")
    assert not heard.own
    assert heard.found >= floor * len(heard.spans)


def test_no_canceller_at_all_ends_in_half_duplex_not_in_talking_to_itself(replies):
    heard = talk("system", Room(), replies[: 40 * RATE_HZ])
    assert (heard.speech > 0.5).mean() > 0.4  # our own voice is all over it
    assert not heard.starts


def test_half_duplex_is_deaf_while_we_sound_and_only_then(replies):
    sound = np.concatenate([replies[: 20 * RATE_HZ], np.zeros(20 * RATE_HZ, np.float32)])
    user = speak_over(len(sound), -20, first_s=5, every_s=5)
    heard = talk("half-duplex", Room(), sound, user)
    assert not heard.echo.trusted
    sounding = [np.abs(sound[max(0, start - 12) * FRAME : start * FRAME]).max() > 0.01 for start in heard.starts]
    assert not any(sounding)
    after = [span for span in heard.spans if span[0] > 21 * RATE_HZ / FRAME]
    assert len(after) >= 2
    assert len([start for start in heard.starts if start > 21 * RATE_HZ / FRAME]) == len(after)


def test_with_headphones_every_interruption_is_found(replies):
    heard = talk("speexdsp", Room(echo_db=-200), replies, speak_over(len(replies), -32, first_s=8, every_s=4))
    assert heard.found == len(heard.spans)
    assert not heard.own


QUIET = 0.04
"""The factor of 20 percent of the volume."""


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_has_turned_us_down_can_still_speak_over_us(replies, strategy):
    heard = talk(strategy, Room(), QUIET * replies, speak_over(len(replies), -26, first_s=18, every_s=4.5))
    assert not heard.own
    assert heard.found == len(heard.spans)


@pytest.mark.parametrize("name", ["plain", "loud"])
def test_turned_up_again_our_own_voice_starts_no_turn(replies, name):
    sound = np.concatenate([QUIET * replies[: 20 * RATE_HZ], replies[20 * RATE_HZ : 40 * RATE_HZ]])
    assert not talk("speexdsp", ROOMS[name], sound).starts


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_loudspeaker_that_is_moved_starts_no_turn(replies, strategy):
    moved = Room(seed=5, delay_ms=95, echo_db=-3)
    assert not talk(strategy, Room(), replies[: 40 * RATE_HZ], then=moved).starts


def test_before_it_has_heard_us_nothing_counts(replies):
    user = speak_over(4 * RATE_HZ, -20, first_s=0.8, every_s=9)
    heard = talk("speexdsp", Room(), replies[: 8 * RATE_HZ], (np.pad(user[0], (0, 4 * RATE_HZ)), user[1]))
    assert not [start for start in heard.starts if start < 2.5 * RATE_HZ / FRAME]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_speaks_too_early_is_not_shut_out_for_long(replies, strategy):
    """What was said before anything counted is no measure of what is left of us."""
    sound = replies[: 30 * RATE_HZ]
    heard = talk(strategy, Room(), sound, speak_over(len(sound), -26, first_s=1, every_s=4))
    assert not heard.own
    assert heard.found >= len(heard.spans) - 2


def test_with_headphones_even_the_first_reply_is_interrupted(replies):
    heard = talk("speexdsp", Room(echo_db=-200), replies[: 8 * RATE_HZ], speak_over(8 * RATE_HZ, -26, first_s=1.5, every_s=9))
    assert heard.found == len(heard.spans) == 1


def test_in_silence_it_does_not_meddle():
    guard, silence = EchoGuard(), np.zeros(FRAME, np.float32)
    assert [guard.step(silence, silence, p) for p in (0.0, 0.4, 0.9)] == [0.0, 0.4, 0.9]


def test_what_cannot_be_an_echo_of_ours_is_not_guarded(replies):
    """The tail after our last word is as long as it is, and no longer."""
    guard, silence = EchoGuard(), np.zeros(FRAME, np.float32)
    loud = replies[RATE_HZ : RATE_HZ + FRAME]
    guard.step(loud, loud, 0.9)
    config = GuardConfig()
    tail = [guard.step(loud, silence, 0.9) for _ in range(20)]
    assert tail.index(0.9) == -(-config.tail_ms // 32) - 1


def test_a_resting_canceller_passes_the_room_on():
    """Long after our last word the frames come as they were, late by what the canceller is late, without a seam."""
    noise = (0.01 * np.random.default_rng(0).standard_normal(200 * FRAME)).astype(np.float32)
    echo = Echo("speexdsp")
    cleaned = np.concatenate([echo.clean(frame, noise[frame * FRAME : (frame + 1) * FRAME]) for frame in range(200)])
    late = 256
    np.testing.assert_array_equal(cleaned[100 * FRAME :], noise[100 * FRAME - late : -late])


# Faults that the conversations above must see.


def lost(patch):
    patch.setattr(Reference, "played", lambda self, pcm, rate_hz: None)


def misplaced(patch):
    init = Reference.__init__

    def faulty(self, delay_ms=60.0, drift_ppm=0.0):
        init(self, delay_ms + 900, drift_ppm)

    patch.setattr(Reference, "__init__", faulty)
    patch.setattr(Reference, "listen", lambda self, near, far: None)


def believes_everything(patch):
    patch.setattr(EchoGuard, "step", lambda self, cleaned, far, probability, **_: probability)


def trusts_at_once(patch):
    patch.setattr(EchoGuard, "trusted", True)
    patch.setattr(EchoGuard, "mark_db", -200.0)
    patch.setattr(EchoGuard, "peak", lambda self: 0.0)


@pytest.mark.parametrize("fault", [lost, misplaced, believes_everything, trusts_at_once])
def test_a_planted_fault_is_caught(replies, monkeypatch, fault):
    """Without the fault this conversation has no turn of our own and every interruption (tested above)."""
    fault(monkeypatch)
    heard = talk("speexdsp", ROOMS["two clocks"], replies, speak_over(len(replies), -26, first_s=18, every_s=4.5))
    assert heard.own or heard.found < len(heard.spans)
