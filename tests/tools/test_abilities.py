from parrot import call

from edge_assistant.assembly import make_tools
from edge_assistant.config import Config, Switch
from edge_assistant.equipment import open_equipment
from edge_assistant.prompt import ToolCall
from edge_assistant.speaker import Speaker
from edge_assistant.tools import tool
from edge_assistant.tools.abilities import COVERED, SPOKEN
from edge_assistant.tools.schedule import Timers
from edge_assistant.voice import EspeakVoice
from edge_assistant.wallclock import SystemClock

ALL = Config(tools={"take_note": True, "shut_down": True, "restart": True}, switches={"light": Switch(18), "pump": Switch(17)})


def toolbox(config, *more):
    clock = SystemClock()
    with open_equipment(config, Speaker(16_000, print), EspeakVoice(), clock, mute=lambda: None) as equipment:
        return make_tools(Timers(clock), switched=config.tools, more=[*equipment.tools, *more])


def test_it_tells_what_is_there(talk):
    it = talk(call("list_abilities"))
    assert it.said == [
        "I can tell the time and the date, set timers and alarms, speak louder or quieter, tell how this machine is, calculate, "
        "convert units, repeat what I said, and speak slower or faster."
    ]


def test_it_knows_every_tool_and_no_other(pins):
    there = {each.name for each in toolbox(ALL).declarations}
    assert there == {*SPOKEN, *COVERED}


def test_what_is_switched_on_is_told(pins):
    told = toolbox(ALL).use(ToolCall("list_abilities")).text
    assert all(words in told for words in ("control the light", "switch things on and off", "take notes", "shut down", "restart"))
    less = toolbox(Config(tools={"get_status": False})).use(ToolCall("list_abilities")).text
    assert "how this machine is" not in less
    assert "take notes" not in less


def test_a_tool_of_somebody_elses_is_told_by_its_own_words():
    def water_garden() -> str:
        """Water the garden. Takes a minute."""
        return "done"

    told = toolbox(Config(), tool(water_garden)).use(ToolCall("list_abilities"))
    assert told.text.endswith("turn off my microphone, and water the garden.")
    assert told.values["abilities"][-1] == "water the garden"


def test_the_declarations_are_short(pins):
    """They stand before every conversation."""
    declared = sum(len(str(each)) for each in toolbox(ALL).declarations)
    assert declared < 12_000
