from pathlib import Path

import numpy as np
import pytest

from edge_assistant.frames import FRAME_SAMPLES
from edge_assistant.recording import Recording
from edge_assistant.vad import VADS

DEMO = Path(__file__).parents[2] / "assets" / "demo"


@pytest.mark.parametrize("name", VADS)
def test_silence_and_a_voice(name):
    vad = VADS[name]()
    assert max(vad(np.zeros(FRAME_SAMPLES, np.float32)) for _ in range(200)) < 0.35
    speech = [vad(frame) for frame in Recording(DEMO / "timer.wav").frames()]
    assert all(0 <= p <= 1 for p in speech)
    assert sum(p >= 0.5 for p in speech) > len(speech) / 3
    after = [vad(np.zeros(FRAME_SAMPLES, np.float32)) for _ in range(30)]
    assert max(after[10:]) < 0.35


def test_soft_noise_is_not_speech():
    vad = VADS["silero"]()
    r = np.random.default_rng(1)
    assert max(vad(r.normal(0, 0.01, FRAME_SAMPLES).astype(np.float32)) for _ in range(300)) < 0.5


@pytest.mark.parametrize("name", VADS)
def test_the_same_sound_gives_the_same_answer(name):
    frames = list(Recording(DEMO / "timer.wav").frames())
    one, two = VADS[name](), VADS[name]()
    assert [one(f) for f in frames] == [two(f.copy()) for f in frames]


def test_webrtc_sees_every_sample_once():
    """Its chunks of 320 samples straddle the frames of 512."""
    vad = VADS["webrtc"]()
    seen = []

    class Ear:
        def is_speech(self, chunk, rate_hz):
            seen.append(np.frombuffer(chunk, np.int16))
            return False

    vad._vad = Ear()
    sound = np.arange(512 * 5, dtype=np.int16)
    for frame in sound.reshape(5, 512):
        vad((frame / np.float32(32767)).astype(np.float32))
    assert np.abs(np.concatenate(seen) - sound[: len(seen) * 320]).max() <= 1
    assert {len(chunk) for chunk in seen} == {320}
