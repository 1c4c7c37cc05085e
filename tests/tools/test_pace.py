"""Again, slower, faster, and silent to the microphone."""

import pytest
from parrot import call

from edge_assistant.frames import Spoken
from edge_assistant.preferences import Preferences, open_preferences
from edge_assistant.prompt import ToolCall
from edge_assistant.tools import Toolbox
from edge_assistant.tools.speech import FASTEST, SLOWEST, LastHeard, Pace, speech_tools
from edge_assistant.turn import Use
from edge_assistant.voice import EspeakVoice


def test_what_was_heard_is_said_again(talk):
    it = talk("The tank is full. Close the tap.<turn|>", call("repeat"), "One moment. " + call("repeat"))
    again = ["The tank is full.", "Close the tap."]
    assert it.said == [*again, *again, "One moment.", *again]


def test_before_the_first_word_there_is_nothing_to_repeat(talk):
    assert talk(call("repeat")).said == ["It says no: nothing was said yet."]


def test_only_what_left_the_loudspeaker_counts():
    heard = LastHeard()
    heard.observe(Spoken(1, "First."), [])
    heard.observe(Spoken(1, "Half."), [])
    heard.observe(None, [Use(2, ())])
    assert heard.text == "First. Half."
    heard.observe(Spoken(2, "While it asks."), [])
    assert heard.text == "First. Half."
    heard.observe(Spoken(3, "Your timer is done."), [])  # a ring is heard, too
    heard.observe(None, [Use(4, ())])
    assert heard.text == "Your timer is done."


def test_slower_and_faster(talk):
    it = talk(*(call("set_pace", change=change) for change in ("slower", "faster", "faster", "usual")))
    assert it.voice.said == [
        ("I speak slower now.", 0.85),
        ("I speak faster now.", 1.0),
        ("I speak faster now.", 1.15),
        ("I speak at my usual pace now.", 1.0),
    ]


def test_no_slower_than_can_be_understood(tmp_path):
    with open_preferences(tmp_path) as preferences:
        box = Toolbox(speech_tools(LastHeard(), Pace(lambda pace: None, preferences)))
        answers = [dict(box.use(ToolCall("set_pace", {"change": "slower"})).values) for _ in range(4)]
        assert answers == [
            {"pace_percent": 85},
            {"pace_percent": 70},
            {"pace_percent": 55},
            {"error": "it cannot speak any slower"},
        ]
    paces = []
    with open_preferences(tmp_path) as preferences:
        assert Pace(paces.append, preferences).percent == SLOWEST
    assert paces == [0.55]
    pace = Pace(paces.append, Preferences())
    assert pace.set(1000) == FASTEST


def test_the_voice_takes_its_time():
    voice = EspeakVoice()
    voice.open()
    lengths = {}
    for pace in (1.0, 0.55, 1.6, 1.0):
        voice.pace = pace
        pcm, rate_hz = voice.say("The north pump leaks, and the tank is full.")
        lengths.setdefault(pace, []).append(len(pcm) / rate_hz)
    voice.close()
    usual = lengths[1.0][0]
    assert lengths[1.0][1] == pytest.approx(usual, rel=0.02)
    assert lengths[0.55][0] > 1.4 * usual
    assert lengths[1.6][0] < 0.75 * usual


def test_the_microphone_goes_off_only_where_a_button_brings_it_back(talk):
    off = []
    it = talk(call("mute_microphone"), mute=lambda: off.append(True))
    assert it.said == ["The microphone is off.", "Its button turns it on again."]
    assert off == [True]
    assert talk(call("mute_microphone")).responses == [{"error": "not available here"}]
