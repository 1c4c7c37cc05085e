"""How `talk` puts devices and loop together, with devices that do what a test says; the real ones are in `tests/live`."""

import numpy as np
import pytest

from edge_assistant import talk as module
from edge_assistant.attention import AttentionConfig
from edge_assistant.button import Button
from edge_assistant.errors import UsageError
from edge_assistant.frames import FRAME_SAMPLES, Frame
from edge_assistant.runtimes.scripted import ScriptedSession
from edge_assistant.sinks import NullSink
from edge_assistant.talk import Host, Parts, TalkConfig, talk
from edge_assistant.zeros import SAID, SAID_AFTER, Change

SPEECH = np.full(FRAME_SAMPLES, 0.5, np.float32)
SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


class Voice:
    """Every sentence is a tenth of a second."""

    pace = 1.0

    def open(self): ...
    def close(self): ...
    def say(self, text):
        return np.full(1600, 0.3, np.float32), 16_000


class Sink(NullSink):
    """A loudspeaker that counts."""

    made: "Sink"

    def __init__(self, device, *, played, changed, lead_in_ms, patient=False):
        super().__init__()
        type(self).made = self
        self.used, self.played, self.changed, self.wakes, self.ticks = device or "speaker", played, changed, 0, 0

    def wake(self):
        self.wakes += 1

    def tick(self):
        self.ticks += 1
        super().tick()

    def take(self, block):
        self.played(block, self.rate_hz)


class Microphone:
    """It plays a script: strings of '#' and '.', and calls in between; then it ends. It begins when the keys are there."""

    script: tuple = ()
    made: "Microphone"

    def __init__(self, device, post, *, changed, zeros, patient=False):
        type(self).made = self
        self.post, self.changed, self.zeros, self.used, self.muted = post, changed, zeros, device or "mic", False

    def mute(self):
        self.muted = True

    def unmute(self):
        self.muted = False

    def play(self):
        number = 0
        for part in self.script:
            if callable(part):
                part()
                continue
            for mark in part:
                self.post(Frame(number, SPEECH if mark == "#" else SILENCE))
                number += 1
        self.post(None)

    def __enter__(self):
        return self

    def __exit__(self, *_): ...


class Keys:
    """Keys that a test presses."""

    present = False
    pressed = None

    def __init__(self, pressed):
        type(self).pressed = pressed

    def __enter__(self):
        Microphone.made.play()
        return self

    def __exit__(self, *_): ...


@pytest.fixture
def run(monkeypatch):
    """Talk with these parts and this script; what happened, and the loudspeaker."""
    for name, double in (("DeviceSink", Sink), ("Microphone", Microphone), ("KeyButtons", Keys)):
        monkeypatch.setattr(module, name, double)

    def go(*script, **options):
        monkeypatch.setattr(Microphone, "script", script)
        moments, told = [], []
        vad = options.pop("vad", lambda pcm: float(pcm.any()))
        replies = options.pop("replies", ["Hello.<turn|>"] * 9)
        took = options.pop("took", lambda assistant, microphone: None)
        parts = Parts(ScriptedSession(replies), vad, Voice(), moments.append)
        talk(TalkConfig(**{"echo": "half-duplex"} | options), parts, Host(ready=lambda *devices: told.append(devices), took=took))
        return moments, told, Sink.made

    return go


def test_every_frame_drives_the_loudspeaker_that_is_not_there(run):
    _, told, sink = run("." * 50)
    assert sink.ticks == 50
    assert told == [("mic", "speaker")]


def test_devices_rest_while_nobody_speaks_and_from_the_first_frame_of_speech_on_they_do_not(run):
    seen = []
    look = lambda: seen.append((Microphone.made.unhurried, Sink.made.unhurried))  # noqa: E731
    # The script is played into the inbox before the first frame is taken: the host looks at each.
    run("." * 40 + "#" * 20 + "." * 60, took=lambda assistant, microphone: look())
    begin = next(n for n, pair in enumerate(seen) if pair == (True, True))
    assert 15 <= begin <= 25
    assert not any(microphone for microphone, _ in seen[40:60])
    assert seen[39] == (True, True)
    assert seen[40] == (False, True)  # the first frame that may be speech
    assert (False, False) in seen[41:46]  # a turn
    assert all(pair == (False, False) for pair in seen[46:70])


def test_the_amplifier_is_woken_when_a_turn_begins_and_only_then(run):
    _, _, sink = run("." * 20 + "#" * 20 + "." * 30)
    assert sink.wakes == 1


@pytest.mark.parametrize("button", [True, False])
def test_the_microphone_is_muted_by_voice_only_where_a_button_unmutes_it(run, monkeypatch, button):
    monkeypatch.setattr(Keys, "present", button)
    call = "<|tool_call>call:mute_microphone{}<tool_call|><|tool_response>"
    moments, _, _ = run("." * 20 + "#" * 20 + "." * 60, replies=[call, "It is off.<turn|>"])
    assert Microphone.made.muted is button
    (response,) = [moment.more["response"] for moment in moments if moment.event == "tool_response"]
    assert ("error" in response) is not button


def test_what_is_played_reaches_the_canceller(run, monkeypatch):
    heard = []
    monkeypatch.setattr(
        "edge_assistant.echo.stage.Reference.played", lambda self, pcm, rate_hz: heard.append((len(pcm), rate_hz))
    )
    run("." * 10)
    assert len(heard) == 10


def test_a_device_that_goes_and_comes_back_is_told_aloud(run):
    def news(*changes):
        for present in changes:
            Microphone.made.changed("microphone", present, "mic")

    moments, _, _ = run("." * 5, lambda: news(True), "." * 5, lambda: news(False), "." * 5)
    assert [m.more["text"] for m in moments if m.event == "ring"] == ["The microphone is gone."]
    moments, _, _ = run(lambda: Microphone.made.changed("loudspeaker", False, "speaker"), "." * 5)
    assert moments == []  # nobody would hear it


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(zeros=True, news=True), [SAID]),
        (Change(zeros=False, news=True), [SAID_AFTER]),
        (Change(zeros=True, news=False), []),
        (Change(zeros=False, news=False), []),
    ],
)
def test_zeros_and_the_sound_after_them_are_told_aloud_if_they_are_news(run, change, said):
    moments, _, _ = run("." * 5, lambda: Microphone.made.zeros(change), "." * 60)
    assert [m.more["text"] for m in moments if m.event == "ring"] == said


def test_which_news_of_a_device_is_news_to_the_user():
    said, told = [], []
    changes = module._Changes(lambda *news: said.append(news), lambda *news: told.append(news))
    changes("loudspeaker", True, "speaker")
    changes.begin("mic", "speaker")
    changes("microphone", True, "mic")  # it was heard before its own thread told of it
    assert said == []
    changes("microphone", False, "mic")
    changes("microphone", True, "mic")
    assert said == [("microphone", False, "mic"), ("microphone", True, "mic")]
    assert len(told) == 4  # the host hears all of it
    said.clear()
    changes = module._Changes(lambda *news: said.append(news), lambda *news: None)
    changes.begin("", "speaker")
    changes("microphone", True, "mic")  # it was missed
    assert said == [("microphone", True, "mic")]


def test_the_keys(run):
    def press(button, down=True):
        return lambda: Keys.pressed(button, down)

    moments, _, _ = run("#" * 20, press(Button.STOP), "." * 60)
    assert [m.event for m in moments] == ["speech_started", "stopped", "dropped"]
    run("." * 5, press(Button.MUTE), "." * 5)
    assert Microphone.made.muted
    run("." * 5, press(Button.MUTE), press(Button.MUTE), "." * 5)
    assert not Microphone.made.muted


def test_a_button_that_is_not_there(run):
    with pytest.raises(UsageError, match="--talk-pin"):
        run("." * 5, attention=AttentionConfig(mode="button"))


def test_it_ends_after_so_many_seconds_of_sound(run):
    _, _, sink = run("." * 500, seconds=3.2)
    assert sink.ticks == 101
