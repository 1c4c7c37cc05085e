"""From recordings to moments, with a script for a model: both paces, on the real detector and the real voice."""

import json
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from edge_assistant.ask import PACES, Parts
from edge_assistant.errors import EdgeAssistantError, VoiceError
from edge_assistant.recording import Recording
from edge_assistant.runtime import Prompting
from edge_assistant.runtimes.scripted import ScriptedSession
from edge_assistant.sinks import FileSink, NullSink
from edge_assistant.vad import SileroVad, WebrtcVad
from edge_assistant.voice import EspeakVoice

DEMO = Path(__file__).parents[2] / "assets" / "demo"
TIMER, LEFT = DEMO / "timer.wav", DEMO / "left.wav"
REPLIES = (
    "<|tool_call>call:set_timer{minutes:12}<tool_call|><|tool_response>",
    "Timer set for 12 minutes.<turn|>",
    "<|tool_call>call:list_timers{}<tool_call|><|tool_response>",
    "Nearly all of it is left. Be patient.<turn|>",
)


class TestVoice:
    """As long as a short sentence."""

    __test__ = False
    pace = 1.0

    def open(self):
        pass

    def say(self, text):
        return np.full(11_025, 0.5, np.float32), 22_050

    def close(self):
        pass


def ask(*files, pace="fast", session=None, sink=None, vad=None, voice=None):
    moments = []
    session = session or ScriptedSession(REPLIES)
    parts = Parts(
        session,
        vad or SileroVad(),
        voice or TestVoice(),
        sink or NullSink(),
        moments.append,
        lambda: datetime(2026, 11, 24, 14, 5),
    )
    PACES[pace]([Recording(f) for f in files], parts)
    return moments


ORDER = ["speech_started", "speech_ended", "first_token", "tool_call", "tool_response", "say", "first_sound", "done"]


@pytest.mark.parametrize("pace", PACES)
def test_a_question_gets_its_answer(pace):
    moments = ask(TIMER, pace=pace)
    assert [m.event for m in moments] == ORDER
    assert [m.at_ms for m in moments] == sorted(m.at_ms for m in moments)
    by = {m.event: m for m in moments}
    assert {m.turn for m in moments} == {1}
    assert by["tool_call"].more == {"name": "set_timer", "arguments": {"minutes": 12}}
    assert by["tool_response"].more == {"name": "set_timer", "response": {"minutes": 12}}
    assert by["say"].more == {"text": "Timer set for 12 minutes."}
    end = by["speech_ended"].at_ms
    assert all(m.after_speech_ms == m.at_ms - end for m in moments[1:])
    assert by["speech_started"].after_speech_ms is None
    assert by["first_token"].after_speech_ms >= 192
    assert by["first_sound"].after_speech_ms >= 608
    if pace == "fast":  # in real time a busy machine may be later
        assert by["first_token"].after_speech_ms == 192  # on suspicion, before the wait is over
        assert by["first_sound"].after_speech_ms == 608


def test_the_detector_finds_the_speech_where_it_is():
    sound, rate_hz = sf.read(TIMER)
    loud = np.flatnonzero(np.abs(sound) > 0.05) * 1000 / rate_hz
    moments = ask(TIMER)
    assert abs(moments[0].at_ms - loud[0]) < 150
    assert abs(moments[1].at_ms - loud[-1]) < 200


@pytest.mark.parametrize("pace", PACES)
def test_two_files_are_two_turns(pace):
    session = ScriptedSession(REPLIES)
    moments = ask(TIMER, LEFT, pace=pace, session=session)
    assert [m.turn for m in moments] == sorted(m.turn for m in moments)
    assert [m.event for m in moments if m.turn == 1] == ORDER
    second = {m.event: m for m in moments if m.turn == 2}
    assert second["tool_response"].more["response"]["count"] == 1
    assert second["tool_response"].more["response"]["left"].startswith("11 minutes and ")
    assert [m.more["text"] for m in moments if m.event == "say"][1:] == ["Nearly all of it is left.", "Be patient."]
    assert session.text.count("<|turn>user") == 2


def test_fast_gives_the_same_moments_every_time():
    assert ask(TIMER, LEFT) == ask(TIMER, LEFT)


def test_webrtc_hears_it_too():
    assert [m.event for m in ask(TIMER, vad=WebrtcVad())] == ORDER


def test_the_model_hears_the_speech_as_it_is(tmp_path):
    session = ScriptedSession(REPLIES)
    ask(TIMER, session=session)
    fed = np.concatenate(session.sound)
    sound = np.concatenate(list(Recording(TIMER).frames()))
    begin = int(np.flatnonzero(np.abs(fed))[0])
    at = next(i for i in range(0, len(sound) - len(fed) // 2, 512) if (sound[i : i + 512] == fed[:512]).all())
    assert begin >= 0
    rest = min(len(sound) - at, len(fed))
    assert (sound[at : at + rest] == fed[:rest]).all()


def test_what_is_said_is_written_where_it_was_said(tmp_path):
    with FileSink(tmp_path / "say.wav") as sink:
        moments = ask(TIMER, sink=sink)
    sound, rate_hz = sf.read(tmp_path / "say.wav")
    first = np.flatnonzero(sound)[0] / rate_hz * 1000
    assert abs(first - next(m.at_ms for m in moments if m.event == "first_sound")) <= 32
    assert np.count_nonzero(sound) == 11_025
    done = next(m.at_ms for m in moments if m.event == "done")
    assert len(sound) / rate_hz * 1000 >= done


def test_silence_is_not_answered(tmp_path):
    sf.write(tmp_path / "silence.wav", np.zeros(16_000 * 180, np.float32), 16_000)
    session = ScriptedSession(REPLIES, Prompting(system=False))
    assert ask(tmp_path / "silence.wav", session=session) == []
    assert session.text == "<bos>"


def test_a_timer_that_comes_due_while_the_conversation_goes_on_rings(tmp_path):
    sound, rate_hz = sf.read(TIMER)
    sf.write(tmp_path / "long.wav", np.concatenate([sound, np.zeros(8 * rate_hz)]), rate_hz)
    replies = ("<|tool_call>call:set_timer{seconds:4}<tool_call|><|tool_response>", "Timer set for 4 seconds.<turn|>")
    moments = ask(tmp_path / "long.wav", session=ScriptedSession(replies))
    ring, again = [m for m in moments if m.event == "ring"]
    assert ring.more == again.more == {"text": "Your timer for 4 seconds is done."}
    assert again.at_ms - ring.at_ms == pytest.approx(4000, abs=64)  # nobody has stopped it
    assert ring.at_ms - next(m.at_ms for m in moments if m.event == "tool_response") == pytest.approx(4000, abs=64)


@pytest.mark.parametrize("pace", PACES)
def test_who_speaks_over_the_reply_is_heard(tmp_path, pace):
    (one, rate_hz), (two, _) = sf.read(TIMER), sf.read(LEFT)
    sf.write(tmp_path / "both.wav", np.concatenate([one, np.zeros(round(1.5 * rate_hz)), two]), rate_hz)
    session = ScriptedSession(["One. Two. Three. Four. Five. Six.<turn|>", "Yes.<turn|>"])
    moments = ask(tmp_path / "both.wav", pace=pace, session=session)
    cut_short = next(m for m in moments if m.event == "done")
    assert "One. Two. Three. Four. Five.".startswith(cut_short.more["heard"])
    assert [m.event for m in moments if m.turn == 2] == [
        "speech_started",
        "speech_ended",
        "first_token",
        "say",
        "first_sound",
        "done",
    ]
    assert f"model\n{cut_short.more['heard']}<turn|>" in session.text


@pytest.mark.parametrize("pace", PACES)
def test_a_voice_that_does_not_start_is_told_at_once(pace):
    class Mute(TestVoice):
        def open(self):
            raise VoiceError("no voice", "get one")

    before = threading.active_count()
    with pytest.raises(VoiceError):
        ask(TIMER, pace=pace, voice=Mute())
    assert threading.active_count() == before


@pytest.mark.parametrize("pace", PACES)
def test_a_recording_that_breaks_off_is_told(pace, monkeypatch):
    def damaged(self):
        yield np.zeros(512, np.float32)
        raise EdgeAssistantError("damaged")

    monkeypatch.setattr(Recording, "frames", damaged)
    with pytest.raises(EdgeAssistantError, match="damaged"):
        ask(TIMER, pace=pace)


def test_the_real_voice_on_threads(tmp_path):
    with FileSink(tmp_path / "say.wav") as sink:
        moments = ask(TIMER, pace="realtime", voice=EspeakVoice(), sink=sink)
    assert [m.event for m in moments] == ORDER
    sound, rate_hz = sf.read(tmp_path / "say.wav")
    heard = np.flatnonzero(np.abs(sound) > 0.01)
    assert 1 < (heard[-1] - heard[0]) / rate_hz < 4


def test_moments_are_json_lines():
    for moment in ask(TIMER):
        fields = json.loads(moment.to_json())
        assert {"event", "turn", "at_ms", "after_speech_ms"} <= fields.keys()
