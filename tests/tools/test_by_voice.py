"""pocket hears it, the tool does it, and what is said is what was done."""

from pathlib import Path

import pytest
import soundfile as sf

from edge_assistant import ask as ask_module
from edge_assistant.ask import Parts, ask_fast
from edge_assistant.config import Config, Switch
from edge_assistant.equipment import open_equipment
from edge_assistant.models import find_model
from edge_assistant.recording import Recording
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.vad import SileroVad
from edge_assistant.voice import EspeakVoice

QUESTIONS = Path(__file__).parents[1] / "live" / "questions"
LIGHT = Config(switches={"light": Switch(18, dimmable=True)})


@pytest.fixture(scope="module")
def pocket():
    return OnnxModel.open(find_model("pocket"))


@pytest.fixture
def ask(pocket, monkeypatch):
    def ask_(files, config=LIGHT, **more):
        from functools import partial

        from parrot import CLOCK, Loudness

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
    said, quiet = ask([QUESTIONS / "12.flac"], Config())  # set your volume to twenty percent
    assert said == ["The volume is at 20 percent."]
    said, loud = ask([QUESTIONS / "17.flac"], Config())  # turn the sound to forty percent
    assert said == ["The volume is at 40 percent."]
    assert max(quiet.levels[2:]) < 0.4 * max(loud.levels)


def test_the_light_is_as_bright_as_it_says(ask, pins):
    said, _ = ask([QUESTIONS / "02.flac", QUESTIONS / "19.flac"])  # twenty, ninety percent
    assert said == ["The light is at 20 percent.", "The light is at 90 percent."]
    assert [round(each.state, 2) for each in pins.pin(18).states if each.state] == [0.2, 0.9]


def test_a_light_that_cannot_be_dimmed_is_not_said_to_be(ask, pins):
    said, _ = ask([QUESTIONS / "02.flac"], Config(switches={"light": Switch(18)}))
    assert said == ["Sorry, that did not work."]
    assert pins.pin(18).state == 0


def test_no_light(ask):
    assert ask([QUESTIONS / "02.flac"], Config())[0] == ["I can't do that here."]


def test_temperature_and_battery_are_the_boards(ask, spoken, tmp_path):
    questions = [spoken("what is the temperature"), spoken("how much battery is left")]
    for name, text in {
        "sys/class/thermal/thermal_zone0/temp": "61870",
        "sys/class/power_supply/ups/type": "UPS",
        "sys/class/power_supply/ups/capacity": "37",
    }.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert ask(questions, Config(), root=tmp_path / "root")[0] == [
        "The temperature is 62 degrees.",
        "The battery is at 37 percent.",
    ]
    (tmp_path / "empty").mkdir()
    assert ask(questions, Config(), root=tmp_path / "empty")[0] == ["Sorry, that did not work."] * 2
