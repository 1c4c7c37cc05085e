"""The assistant's own speech: say it again, slower, faster; and the microphone off."""

from collections.abc import Callable
from typing import Literal

from edge_assistant.frames import Event, Spoken
from edge_assistant.preferences import Preferences
from edge_assistant.tools.contract import Result, Tool, ToolError, tool
from edge_assistant.turn import Command, Use

SLOWEST, USUAL, FASTEST, STEP = 55, 100, 160, 15
"""Percent of the voice's usual pace."""


class LastHeard:
    """What left the loudspeaker last, by whole sentences. `observe` sees every step of the loop."""

    def __init__(self) -> None:
        self._replies: tuple[tuple[int, str], ...] = ()
        """The last two that were heard: number and sentences, older first."""
        self._asking = -1
        """The reply that called a tool last."""

    def observe(self, event: Event, commands: list[Command]) -> None:
        """Take a step."""
        for command in commands:
            if isinstance(command, Use):
                self._asking = command.reply
        if isinstance(event, Spoken):
            replies = self._replies
            if replies and replies[-1][0] == event.reply:
                self._replies = (*replies[:-1], (event.reply, f"{replies[-1][1]} {event.text}"))
            else:
                self._replies = (*replies[-1:], (event.reply, event.text))

    @property
    def text(self) -> str:
        """The last reply before the one that asks; "" if there was none."""
        return next((text for reply, text in reversed(self._replies) if reply != self._asking), "")


class Pace:
    """How fast the voice speaks."""

    def __init__(self, apply: Callable[[float], None], preferences: Preferences) -> None:
        """`apply` takes the pace, 1.0 being the voice's usual one."""
        self._apply, self._preferences = apply, preferences
        apply(self.percent / 100)

    @property
    def percent(self) -> int:
        """Of the usual pace."""
        return self._preferences.get("pace_percent", USUAL, SLOWEST, FASTEST)

    def set(self, percent: int) -> int:
        """Speak so fast from the next sentence on; returns what it is then."""
        self._preferences.set("pace_percent", min(max(percent, SLOWEST), FASTEST))
        self._apply(self.percent / 100)
        return self.percent


def speech_tools(heard: LastHeard, pace: Pace, mute: Callable[[], None] | None = None) -> list[Tool]:
    """`repeat`, `set_pace` and, if there is a button to undo it, `mute_microphone`: nobody could undo it by voice."""

    def repeat() -> Result:
        """Say again what was said last."""
        if not heard.text:
            raise ToolError("nothing was said yet")
        return Result({"said": heard.text}, heard.text)

    def set_pace(change: Literal["slower", "faster", "usual"]) -> Result:
        """Speak slower or faster.

        Args:
            change: Which way, or back to the usual pace.
        """
        before = pace.percent
        after = pace.set(USUAL if change == "usual" else before + (STEP if change == "faster" else -STEP))
        if after == before and change != "usual":
            raise ToolError(f"it cannot speak any {change}")
        words = "at my usual pace" if change == "usual" else change
        return Result({"pace_percent": after}, f"I speak {words} now.")

    tools = [tool(repeat), tool(set_pace)]
    if mute is None:
        return tools
    switch_off = mute

    def mute_microphone() -> Result:
        """Turn the microphone off, until its button is pressed."""
        switch_off()
        return Result({"microphone": "off", "on_again": "by the button"}, "The microphone is off. Its button turns it on again.")

    return [*tools, tool(mute_microphone)]
