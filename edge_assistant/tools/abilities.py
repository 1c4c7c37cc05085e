"""What the assistant can do, told from the tools that are there."""

from collections.abc import Callable, Mapping, Sequence

from edge_assistant.prompt import Declaration
from edge_assistant.tools.contract import Result, Tool, tool

NAME = "list_abilities"
SPOKEN: Mapping[str, str] = {
    "get_time": "tell the time and the date",
    "set_timer": "set timers and alarms",
    "set_volume": "speak louder or quieter",
    "set_light": "control the light",
    "set_switch": "switch things on and off",
    "get_status": "tell how this machine is",
    "take_note": "take notes",
    "calculate": "calculate",
    "convert_unit": "convert units",
    "repeat": "repeat what I said",
    "set_pace": "speak slower or faster",
    "mute_microphone": "turn off my microphone",
    "shut_down": "shut down",
    "restart": "restart",
}
"""In the order in which they are told. Tools that go with another are not told."""
COVERED = frozenset(
    {"get_date", "time_until", "set_alarm", "list_timers", "cancel_timer", "add_time", "get_switch", "read_notes", NAME}
)


def abilities(declarations: Sequence[Declaration]) -> list[str]:
    """What each tool is good for, in words; a tool of somebody else's by its own description."""
    there = {each.name: each for each in declarations}
    own = [words for name, words in SPOKEN.items() if name in there]
    foreign = [each.description.split(". ")[0].rstrip(".") for each in declarations if each.name not in {*SPOKEN, *COVERED}]
    return own + [f"{words[0].lower()}{words[1:]}" for words in foreign]


def ability_tools(declarations: Callable[[], Sequence[Declaration]]) -> list[Tool]:
    """`list_abilities`."""

    def list_abilities() -> Result:
        """What the assistant can do."""
        able = abilities(declarations())
        words = f"{', '.join(able[:-1])}, and {able[-1]}" if len(able) > 1 else "".join(able)
        return Result({"abilities": able}, f"I can {words}.")

    return [tool(list_abilities)]
