"""What the loop hears: through the canceller and past the guard."""

import numpy as np

from edge_assistant.ears import EchoEars, PlainEars
from edge_assistant.echo import Echo
from edge_assistant.frames import FRAME_SAMPLES, Frame

RATE_HZ = 16_000


def noise(seed):
    return (0.2 * np.random.default_rng(seed).standard_normal(FRAME_SAMPLES)).astype(np.float32)


def test_in_half_duplex_nothing_counts_while_we_sound():
    echo = Echo("half-duplex")
    ears = EchoEars(PlainEars(lambda pcm: 0.9), echo)
    before = [ears(Frame(n, noise(n))).speech for n in range(5)]
    for n in range(5, 60):
        echo.played(noise(n), RATE_HZ)
        last = ears(Frame(n, noise(n)))
    after = [ears(Frame(n, noise(n))).speech for n in range(60, 120)]
    assert before == [0.9] * 5
    assert last.speech == 0
    assert after[-1] == 0.9


def test_detector_wake_word_and_model_hear_the_cleaned_sound():
    echo = Echo("speexdsp", delay_ms=0)
    heard = {"vad": [], "wake": []}
    ears = EchoEars(PlainEars(lambda pcm: heard["vad"].append(pcm) or 0.0, lambda pcm: heard["wake"].append(pcm) or False), echo)
    raw, cleaned = [], []
    blocks = [noise(n) for n in range(400)]
    for n, block in enumerate(blocks):
        echo.played(block, RATE_HZ)
        room = 0.5 * (blocks[n - 2] if n > 1 else np.zeros(FRAME_SAMPLES, np.float32))
        cleaned.append(ears(Frame(n, room)).pcm)
        raw.append(room)
    loudness = [float(np.mean(np.square(part[200:]))) for part in (raw, cleaned)]
    assert loudness[1] < loudness[0] / 10
    assert all(map(np.array_equal, heard["vad"], cleaned))
    assert all(map(np.array_equal, heard["wake"], cleaned))


def test_what_the_microphone_clipped_shows_whatever_the_canceller_makes_of_it():
    ears = EchoEars(PlainEars(lambda pcm: 0.0), Echo("speexdsp"))
    loud = noise(0)
    loud[:128] = 1.0
    assert ears(Frame(0, loud)).clipped == 0.25
    assert ears(Frame(1, noise(1))).clipped == 0.0
