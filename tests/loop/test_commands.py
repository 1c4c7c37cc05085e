"""“Stop”, heard by the real thing in recordings, and what stands alone."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from sim import World

from edge_assistant import commands
from edge_assistant.commands import Alone, StopWord
from edge_assistant.ears import PlainEars
from edge_assistant.errors import EdgeAssistantError
from edge_assistant.frames import FRAME_MS, FRAME_SAMPLES, Frame
from edge_assistant.vad import SileroVad

CLIPS = Path(__file__).parent / "commands"
RATE_HZ = 16_000
QUIET_FRAMES = 3


def recorded(name, lead_s=0.6, tail_s=0.8):
    pcm, rate_hz = sf.read(CLIPS / name, dtype="float32")
    assert rate_hz == RATE_HZ
    sound = np.pad(0.3 * pcm / np.abs(pcm).max(), (int(lead_s * RATE_HZ), int(tail_s * RATE_HZ)))
    sound += 3e-4 * np.random.default_rng(1).standard_normal(len(sound))
    end = int(lead_s * RATE_HZ) + int(np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())[-1]) + 1
    return sound.astype(np.float32), end


def told(ears, sound):
    """At which samples."""
    ends = range(FRAME_SAMPLES, len(sound) + 1, FRAME_SAMPLES)
    return [end for n, end in enumerate(ends) if ears(Frame(n, sound[end - FRAME_SAMPLES : end])).stopped]


@pytest.fixture(scope="module")
def ears():
    return PlainEars(SileroVad(), stop=StopWord())


@pytest.mark.parametrize("name", sorted(path.name for path in CLIPS.glob("stop-[efk]*.wav")))
def test_stop_is_heard_once_and_at_once(ears, name):
    sound, end = recorded(name)
    found = told(ears, sound)
    assert len(found) == 1
    assert (found[0] - end) * 1000 / RATE_HZ <= 150


@pytest.mark.parametrize("name", ["stop-the-timer-espeak-1.wav", "start-a-timer-flite-1.wav"])
def test_a_sentence_is_no_stop(ears, name):
    assert told(ears, recorded(name)[0]) == []


def test_it_is_heard_after_a_sentence_too(ears):
    sentence, _ = recorded("start-a-timer-flite-1.wav")
    stop, _ = recorded("stop-flite-1.wav", lead_s=0)
    assert len(told(ears, np.concatenate([sentence, stop]))) == 1


def test_noise_is_no_stop(ears):
    r = np.random.default_rng(2)
    for length in (3000, 6000, 9000):
        burst = np.pad(0.2 * r.standard_normal(length), (8000, 8000)).astype(np.float32)
        assert told(ears, burst) == []


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(commands, "can_hear_stop", lambda: False)
    with pytest.raises(EdgeAssistantError, match=r"pip install 'edge-assistant\[commands\]'"):
        StopWord()


def alone(*parts_ms):
    """Frame numbers at which sound that stood alone was told; parts are silences and sounds in turn."""
    finder, found, number = Alone(), [], 0
    for part, ms in enumerate(parts_ms):
        for _ in range(ms // FRAME_MS):
            level = 0.1 if part % 2 else 1e-3
            if finder(np.full(FRAME_SAMPLES, level, np.float32), float(part % 2)) == QUIET_FRAMES:
                found.append(number)
            number += 1
    return found


@pytest.mark.parametrize(
    ("parts_ms", "found"),
    [
        ((640, 320, 640), [20 + 10 + 2]),
        ((640, 96, 640), []),
        ((640, 1120, 640), []),
        ((640, 320, 64, 320, 640), [20 + 22 + 2]),  # a closed mouth is no silence
        ((640, 320, 640, 320, 640), [20 + 10 + 2, 20 + 10 + 20 + 10 + 2]),
        ((640, 320, 160, 1120, 640), [20 + 10 + 2]),
        ((640,), []),
    ],
)
def test_what_stands_alone(parts_ms, found):
    assert alone(*parts_ms) == found


def test_what_stands_alone_in_a_loud_room():
    finder = Alone()
    told = [finder(np.full(FRAME_SAMPLES, level, np.float32), speech) for level, speech in [(0.05, 0.0)] * 60 + [(0.2, 1.0)] * 10]
    told += [finder(np.full(FRAME_SAMPLES, 0.05, np.float32), 0.9) for _ in range(10)]  # the detector is slow in noise
    assert [(n, each) for n, each in enumerate(told) if each] == [(70, 1), (71, 2), (72, 3)]


def test_the_loop_acts_upon_what_the_ears_found():
    sound, _ = recorded("stop-flite-1.wav")
    spoken = len(sound) // FRAME_SAMPLES
    real = PlainEars(SileroVad(), stop=StopWord())

    def hear(frame):
        return real(Frame(frame.number, script[frame.number]))

    silence = np.zeros(FRAME_SAMPLES, np.float32)
    script = [silence] * 400
    question, _ = recorded("start-a-timer-flite-1.wav")
    for n, begin in enumerate(range(0, len(question) - 511, 512)):
        script[n] = question[begin : begin + 512]
    at = len(question) // FRAME_SAMPLES + 40
    for n in range(spoken):
        script[at + n] = sound[n * 512 : n * 512 + 512]
    world = World("One. Two. Three. Four.<turn|>", say_ms=3000, ears=hear).run("." * 400)
    assert world.state.name == "IDLE"
    assert len(world.all("Stopped")) == 1
    assert world.session.text.count("<|turn>user") == 1  # the question alone
