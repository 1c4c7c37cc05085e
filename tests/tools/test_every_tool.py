"""Every tool by the tool protocol: the model calls it, it runs, and what is spoken is what it gave."""

import re

from parrot import call
from test_notes import Scribe

from edge_assistant.config import Config, Switch

EVERYTHING = Config(
    tools={"take_note": True, "shut_down": True, "restart": True},
    switches={"light": Switch(18, dimmable=True), "garden_pump": Switch(17)},
)
SCRIPT = [
    ("get_time", {}, "It is 14:05."),
    ("get_date", {}, "Today is Tuesday, 24 November 2026."),
    ("time_until", {"hour": 19}, "4 hours and 55 minutes."),
    ("set_timer", {"minutes": 12, "name": "pasta"}, "Pasta timer set for 12 minutes."),
    ("set_alarm", {"hour": 7, "minute": 30}, "Alarm set for 7:30 tomorrow."),
    ("list_timers", {}, "The pasta timer has "),
    ("add_time", {"minutes": 5, "name": "pasta"}, "Your pasta timer has 16 minutes and "),
    ("cancel_timer", {"name": "pasta"}, "Timer cancelled."),
    ("set_volume", {"percent": 40}, "The volume is at 40 percent."),
    ("set_light", {"brightness": 30}, "The light is at 30 percent."),
    ("set_switch", {"name": "garden pump", "on": True}, "The garden pump is on."),
    ("get_switch", {"name": "garden pump"}, "The garden pump is on."),
    ("get_status", {"what": "temperature"}, "The temperature is 62 degrees."),
    ("get_status", {"what": "battery"}, "The battery is at 37 percent."),
    ("get_status", {"what": "power"}, "The power supply is too weak."),
    ("get_status", {"what": "uptime"}, "I have been running for 2 hours."),
    ("get_status", {"what": "disk"}, " gigabytes of the disk are free."),
    ("get_status", {"what": "volume"}, "The volume is at 40 percent."),
    ("calculate", {"expression": "12.5 * (3 + 4)"}, "That is 87.5."),
    ("convert_unit", {"amount": 3, "unit": "feet", "to": "centimetres"}, "3 feet are 91.4 centimetres."),
    ("set_pace", {"change": "slower"}, "I speak slower now."),
    ("repeat", {}, "I speak slower now."),
    ("take_note", {}, "Noted: The north pump leaks."),
    ("read_notes", {"words": "pump"}, "Today at 14:05: The north pump leaks."),
    ("list_abilities", {}, "I can tell the time and the date, set timers and alarms,"),
    ("mute_microphone", {}, "The microphone is off."),
]
ASKED_FIRST = {"shut_down", "restart"}
"""test_power.py has them: they need an answer."""


def test_every_tool_says_what_it_did(talk, tmp_path, board, pins):
    session = Scribe(["Take a note: the north pump leaks."], *[call(name, **arguments) for name, arguments, _ in SCRIPT])
    it = talk(session=session, config=EVERYTHING, folder=tmp_path / "state", root=board, mute=lambda: None)
    assert [each["name"] for each in calls(it)] == [name for name, _, _ in SCRIPT]
    replies = sentences(it)
    for (name, arguments, text), said in zip(SCRIPT, replies, strict=True):
        assert text in said, (name, arguments)
    assert not any("error" in response for response in it.responses)
    assert pins.pin(17).state == 0, "off again when the conversation is over"
    declared = set(re.findall(r"declaration:(\w+)", it.session.text.split("<turn|>")[0]))
    assert declared == {name for name, *_ in SCRIPT} | ASKED_FIRST, "a tool is not tried here"


def calls(it):
    return [moment.more for moment in it.moments if moment.event == "tool_call"]


def sentences(it):
    """What was said in each turn."""
    turns = {}
    for moment in it.moments:
        if moment.event == "say":
            turns.setdefault(moment.turn, []).append(moment.more["text"])
    return [" ".join(said) for _, said in sorted(turns.items())]
