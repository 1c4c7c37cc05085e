"""pocket hears it, the tool does it, and what is said is what was done."""

import json
import threading
from pathlib import Path

import pytest
import soundfile as sf
from parrot import CLOCK

from edge_assistant import ask as ask_module
from edge_assistant.ask import Parts, ask_fast
from edge_assistant.config import Config, Switch
from edge_assistant.consent import NOT_DONE
from edge_assistant.equipment import open_equipment
from edge_assistant.models import find_model
from edge_assistant.recording import Recording
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.tools.clock import DOUBT
from edge_assistant.tools.schedule import UNITS_S, spoken_duration
from edge_assistant.vad import SileroVad
from edge_assistant.voice import EspeakVoice
from edge_assistant.wallclock import Now

QUESTIONS = Path(__file__).parents[1] / "live" / "questions"
SPOKEN = Path(__file__).parent / "spoken"
"""Requests in voices that pocket was not trained on, chosen because it understands them; `spoken.json` has their words."""
CALLS = {each["file"].removesuffix(".flac"): each for each in json.loads((SPOKEN / "spoken.json").read_text())}
LIGHT = Config(switches={"light": Switch(18, dimmable=True)})


@pytest.fixture(scope="module")
def pocket():
    return OnnxModel.open(find_model("pocket"))


@pytest.fixture
def ask(pocket, monkeypatch):
    def ask_(files, config=LIGHT, **more):
        from functools import partial

        from parrot import Loudness

        monkeypatch.setattr(ask_module, "open_equipment", partial(open_equipment, **more))
        moments, sink = [], Loudness()
        sink.rate_hz = 22_050
        parts = Parts(pocket.session(), SileroVad(), EspeakVoice(), sink, moments.append, lambda: CLOCK, tools=config)
        ask_fast([Recording(file) for file in files], parts)
        return [moment.more["text"] for moment in moments if moment.event == "say"], sink

    return ask_


@pytest.fixture
def spoken(tmp_path):
    """espeak-ng asks."""
    voice = EspeakVoice()
    voice.open()

    def speak(text):
        file = tmp_path / f"{text}.wav"
        sf.write(file, *voice.say(text))
        return file

    yield speak
    voice.close()


def test_the_volume_is_what_was_asked_for(ask):
    said, quiet = ask([QUESTIONS / "01.flac"], Config())  # set your volume to twenty percent
    assert said == ["The volume is at 20 percent."]
    said, loud = ask([QUESTIONS / "10.flac"], Config())  # turn the sound to forty percent
    assert said == ["The volume is at 40 percent."]
    assert max(quiet.levels[2:]) < 0.4 * max(loud.levels)


def test_the_light_is_as_bright_as_it_says(ask, pins):
    said, _ = ask([QUESTIONS / "02.flac", QUESTIONS / "03.flac"])  # twenty, seventy percent
    assert said == ["The light is at 20 percent.", "The light is at 70 percent."]
    assert [round(each.state, 2) for each in pins.pin(18).states if each.state] == [0.2, 0.7]


def test_a_light_that_cannot_be_dimmed_is_not_said_to_be(ask, pins):
    said, _ = ask([QUESTIONS / "02.flac"], Config(switches={"light": Switch(18)}))
    assert said == ["Sorry, that did not work."]
    assert pins.pin(18).state == 0


def test_no_light(ask):
    assert ask([QUESTIONS / "02.flac"], Config())[0] == ["I can't do that here."]


def test_temperature_and_battery_are_the_boards(ask, spoken, tmp_path, board):
    questions = [spoken("what is the temperature"), spoken("how much battery is left")]
    assert ask(questions, Config(), root=board)[0] == [
        "The temperature is 62 degrees.",
        "The battery is at 37 percent.",
    ]
    (tmp_path / "empty").mkdir()
    assert ask(questions, Config(), root=tmp_path / "empty")[0] == ["Sorry, that did not work."] * 2


def request(name):
    return SPOKEN / f"{name}.flac"


def arguments(name):
    return CALLS[name]["call"]["arguments"]


def test_an_alarm_is_set_for_the_hour_that_was_said(ask):
    said, _ = ask([request("alarm")], Config())
    hour, minute = arguments("alarm")["hour"], arguments("alarm").get("minute", 0)
    day = "today" if (hour, minute) > (CLOCK.hour, CLOCK.minute) else "tomorrow"
    assert said == [f"Alarm set for {hour}:{minute:02} {day}."]


def test_a_clock_that_nothing_keeps_right_is_said_to_be_doubtful(ask, spoken, monkeypatch):
    """pocket was taught to say so of an alarm, and not of the time: it is said all the same, and once."""
    monkeypatch.setattr(ask_module, "counted_clock", lambda elapsed, local: lambda: Now(elapsed(), "", 0.0, local(), False))
    said, _ = ask([spoken("what time is it"), request("alarm")], Config())
    assert said[:2] == ["It is 14:05.", DOUBT]
    assert said[2].startswith("Alarm set for ")
    assert said[3:] == [DOUBT]


def test_a_timer_gets_more_time(ask):
    said, _ = ask([request("timer"), request("add_time")], Config())
    ((unit, count),) = arguments("timer").items()
    ((more_unit, more),) = arguments("add_time").items()
    wanted_s = count * UNITS_S[unit] + more * UNITS_S[more_unit]
    assert said[0].startswith("Timer set for ")
    assert said[1] in {f"{spoken_duration(wanted_s - gone_s)} left now." for gone_s in range(15)}


@pytest.mark.parametrize(
    ("name", "words"),
    [("slower", "I speak slower now."), ("faster", "I speak faster now."), ("usual_pace", "I speak at my usual pace now.")],
)
def test_the_pace(ask, name, words):
    assert ask([request(name)], Config())[0] == [words]


def test_the_microphone_goes_off_where_a_button_turns_it_on(ask):
    pressed = []
    said, _ = ask([request("microphone_off")], Config(), mute=lambda: pressed.append(True))
    assert (pressed, said) == ([True], ["The microphone is off.", "Its button turns it on again."])
    assert ask([request("microphone_off")], Config())[0] == ["I can't do that here."]


@pytest.mark.parametrize(("name", "command"), [("shut_down", ("systemctl", "poweroff")), ("restart", ("systemctl", "reboot"))])
@pytest.mark.parametrize("answer", ["yes", "no", "stop"])
def test_power_needs_a_spoken_yes(ask, name, command, answer):
    ran, done = [], threading.Event()

    def run(line):
        ran.append(tuple(line))
        done.set()
        return ""

    words = name.replace("_", " ")
    config = Config(tools={"shut_down": True, "restart": True})
    said, _ = ask([request(name), request(answer)], config, run=run)
    does = answer == "yes"
    assert said == [f"Shall I {words}?", f"I will {words} now." if does else NOT_DONE]
    assert done.wait(5 if does else 0.1) is does
    assert ran == [command] * does


def test_what_was_said_is_said_again(ask):
    said, _ = ask([request("timer"), request("repeat")], Config())
    assert said[1:] == said[:1]
