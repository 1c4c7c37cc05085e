"""The real voice: espeak-ng must be installed (apt install libespeak-ng1); without it these tests fail, and say so."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_assistant.earcons import bell
from edge_assistant.errors import VoiceError
from edge_assistant.mouth import SpeakingMouth
from edge_assistant.speaker import Speaker
from edge_assistant.voice import EspeakVoice


@pytest.fixture
def voice():
    it = EspeakVoice()
    it.open()
    yield it
    it.close()


def test_a_sentence_has_a_sound(voice):
    pcm, rate_hz = voice.say("Timer set for 12 minutes.")
    assert pcm.dtype == np.float32
    assert pcm.ndim == 1
    assert 1.0 < len(pcm) / rate_hz < 4.0
    assert np.abs(pcm).max() > 0.1


def test_every_sentence_is_whole(voice):
    """What `runAndWait` alone does not give. espeak-ng itself varies by a few samples."""
    lengths = {len(voice.say("It is 14:05, and all is well.")[0]) for _ in range(30)}
    assert max(lengths) - min(lengths) < 500
    assert len(voice.say("One.")[0]) < min(lengths)


def test_a_sentence_without_a_sample_is_asked_for_again(voice, monkeypatch):
    """espeak-ng now and then gives a file without one."""
    silent, sound = np.zeros(0, np.float32), np.ones(100, np.float32)
    given = [silent, silent, sound]
    monkeypatch.setattr(voice, "_say", lambda text: (given.pop(0), 22_050))
    assert len(voice.say("One.")[0]) == 100
    given[:] = [silent] * 20
    assert len(voice.say("?!")[0]) == 0  # some text has no sound, and that is soon found


@pytest.mark.parametrize("text", ["a", "21 °C", "Käse & <b>bread</b>", "今天", "x" * 400, "-", "?!"])
def test_any_text_can_be_said(voice, text):
    pcm, _ = voice.say(text)
    assert np.isfinite(pcm).all()


def test_nothing_is_printed_and_nothing_is_left(voice, capfd):
    folder = Path(voice._folder.name)
    voice.say("Quiet.")
    assert capfd.readouterr() == ("", "")
    assert list(folder.iterdir()) == []
    assert os.stat(folder).st_mode & 0o077 == 0
    voice.close()
    assert not folder.exists()


def test_it_speaks_on_a_thread_of_its_own():
    said = []

    def speak():
        it = EspeakVoice()
        it.open()
        said.append(it.say("Hello.")[0])
        it.close()

    thread = threading.Thread(target=speak)
    thread.start()
    thread.join()
    assert len(said[0]) > 5000


def test_without_the_library_there_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyttsx3.drivers.espeak", None)
    with pytest.raises(VoiceError, match="apt install libespeak-ng1"):
        EspeakVoice().open()


def test_the_mouth_resamples_for_the_device():
    class Tone:
        pace = 1.0

        def say(self, text):
            return np.sin(np.arange(22_050) / 22_050 * 2 * np.pi * 440).astype(np.float32), 22_050

    it = Speaker(48_000, lambda event: None)
    assert list(SpeakingMouth(Tone(), it).say(1, "beep")) == []
    sound = it.pull(48_000)
    assert np.abs(np.fft.rfft(sound)).argmax() == 440


def test_the_bell():
    sound = bell(22_050)
    assert len(sound) == 22_050
    assert 0.2 < np.abs(sound).max() <= 1
    assert np.abs(sound[-2000:]).max() < 0.01


class LateVoice:
    """Half a second of silence before a tenth of sound."""

    pace = 1.0

    def say(self, text):
        return np.concatenate([np.zeros(8000), np.full(1600, 0.5), np.zeros(800)]).astype(np.float32), 16_000


def test_a_voices_silence_in_front_is_not_waited_for():
    speaker = Speaker(16_000, lambda event: None)
    mouth = SpeakingMouth(LateVoice(), speaker)
    list(mouth.say(1, "Hello."))
    heard = speaker.pull(4000)
    assert heard[0] == 0.5
    assert np.count_nonzero(heard) == 1600


def test_a_voice_that_says_nothing_says_nothing():
    speaker = Speaker(16_000, lambda event: None)
    voice = LateVoice()
    voice.say = lambda text: (np.zeros(400, np.float32), 16_000)
    list(SpeakingMouth(voice, speaker).say(1, "Hello."))
    assert not speaker.pull(4000).any()


def test_a_sentence_that_was_prepared_is_not_spoken_twice():
    said = []

    class Counting(LateVoice):
        def say(self, text):
            said.append(text)
            return super().say(text)

    mouth = SpeakingMouth(Counting(), Speaker(16_000, lambda event: None))
    mouth.prepare("One.")
    list(mouth.say(1, "One."))
    list(mouth.say(1, "Two."))
    assert said == ["One.", "Two."]


HELD_UP = """
import importlib, threading, time
from edge_assistant.voice import EspeakVoice

voice, ours = EspeakVoice(), threading.current_thread()
voice.open()
driver = importlib.import_module("pyttsx3.drivers.espeak")
end = driver.EspeakDriver.endLoop


def late(self):
    if threading.current_thread() is not ours:
        time.sleep(0.1)
    end(self)


cancel, cancelled = driver._espeak.Cancel, []
driver.EspeakDriver.endLoop = late
driver._espeak.Cancel = lambda: cancelled.append(cancel())
print([len(voice.say(text)[0]) > 0 for text in ("One.", "Two.", "Three.")], cancelled)
"""


def test_a_sentence_is_not_cancelled_by_the_one_before():
    """espeak-ng's thread is held up between telling that a sentence is finished and being done with it."""
    ran = subprocess.run([sys.executable, "-c", HELD_UP], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("[True, True, True] []\n", "")
