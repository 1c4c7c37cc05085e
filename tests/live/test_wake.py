import json
from pathlib import Path

import numpy as np
import pytest
import soxr

from edge_assistant import wake
from edge_assistant.errors import ConfigError, EdgeAssistantError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.recording import Recording
from edge_assistant.voice import EspeakVoice
from edge_assistant.wake import WakeWord, wake_words

DEMO = Path(__file__).parents[2] / "assets" / "demo"


PHRASES = Path(__file__).parent / "phrases"
"""Spoken by espeak-ng 1.51, en-gb-x-rp: whether a model knows a synthetic phrase hangs on the voice and its version."""
SILENCE = np.zeros(SAMPLE_RATE_HZ, np.float32)


def phrase(name):
    return np.concatenate([SILENCE, *Recording(PHRASES / f"{name}.flac").frames(), SILENCE])


@pytest.fixture(scope="module")
def say():
    voice = EspeakVoice()
    voice.open()

    def spoken(text):
        pcm, rate_hz = voice.say(text)
        return np.concatenate([SILENCE, soxr.resample(pcm, rate_hz, SAMPLE_RATE_HZ), SILENCE])

    yield spoken
    voice.close()


def hits(word, sound):
    whole = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return sum(word(frame) for frame in whole)


@pytest.mark.parametrize("name", ["alexa", "okay nabu"])
def test_the_phrase_is_heard_once_each_time(name):
    word = WakeWord(name)
    assert word.phrase.lower() == name
    assert [hits(word, gain * phrase(name)) for gain in (1, 0.3, 1)] == [1, 1, 1]


@pytest.mark.parametrize("name", ["alexa", "okay nabu", "hey jarvis", "hey mycroft"])
def test_other_speech_is_not_it(say, name):
    word = WakeWord(name)
    for wav in sorted(DEMO.glob("*.wav")):
        assert hits(word, np.concatenate(list(Recording(wav).frames()))) == 0
    others = [other for other in wake_words() if other != name]
    assert hits(word, say(". ".join([*others, "The lamp is on, and a timer of ten minutes is set"]))) == 0


def test_a_model_by_its_path(tmp_path):
    shipped = wake._shipped()
    for suffix in ("json", "tflite"):
        (tmp_path / f"mine.{suffix}").write_bytes((shipped / f"alexa.{suffix}").read_bytes())
    config = json.loads((tmp_path / "mine.json").read_text())
    (tmp_path / "mine.json").write_text(json.dumps(config | {"model": "mine.tflite", "wake_word": "Mine"}))
    word = WakeWord(str(tmp_path / "mine.json"))
    assert word.phrase == "Mine"
    assert hits(word, phrase("alexa")) == 1
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no wake word model"):
        WakeWord(str(tmp_path / "mine.json"))


def test_an_unknown_word_names_those_there_are():
    with pytest.raises(ConfigError, match="alexa, hey jarvis, hey mycroft, okay nabu, or the path"):
        WakeWord("hey you")


def test_without_the_package_the_mend_is_named(monkeypatch):
    monkeypatch.setattr(wake, "find_spec", lambda name: None)
    with pytest.raises(EdgeAssistantError, match=r"pip install 'edge-assistant\[wake\]'"):
        WakeWord("alexa")
