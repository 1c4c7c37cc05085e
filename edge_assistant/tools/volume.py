"""How loud the assistant speaks.

The sound itself is scaled before it goes to the loudspeaker: that works with every device and through every sound server, within
one block, and what other programs play stays as it is. The card's own mixer is left where the person put it; 100 percent is that.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from edge_assistant.preferences import Preferences
from edge_assistant.tools.contract import Between, Result, Tool, ToolError, tool

USUAL, STEP = 100, 10
"""Percent."""


class Volume:
    """Of one loudspeaker."""

    def __init__(self, apply: Callable[[float], None], preferences: Preferences) -> None:
        """`apply` takes the factor for every sample, 0 to 1."""
        self._apply, self._preferences = apply, preferences
        apply(gain(self.percent))

    @property
    def percent(self) -> int:
        """0 to 100."""
        return self._preferences.get("volume_percent", USUAL, 0, 100)

    def set(self, percent: int) -> int:
        """Be so loud from now on; returns what it is then."""
        self._preferences.set("volume_percent", min(max(percent, 0), 100))
        self._apply(gain(self.percent))
        return self.percent

    def change(self, direction: Literal["up", "down"]) -> int:
        """A step louder or quieter; returns what it is then."""
        return self.set(self.reach(change=direction))

    def reach(self, percent: int | None = None, change: Literal["up", "down"] | None = None) -> int:
        """What it would be after this."""
        wanted = self.percent + (STEP if change == "up" else -STEP) if change else percent or 0
        return min(max(wanted, 0), 100)

    def preview(self, percent: int | None) -> None:
        """Sound as if it were so much already; None: as it is."""
        self._apply(gain(self.percent if percent is None else percent))


def gain(percent: int) -> float:
    """The factor for every sample. Its square makes equal steps sound about equal: half is 12 dB down."""
    return (percent / 100) ** 2


def volume_tools(volume: Volume) -> list[Tool]:
    """`set_volume`."""

    def set_volume(percent: Annotated[int | None, Between(0, 100)] = None, change: Literal["up", "down"] | None = None) -> Result:
        """Set how loud the assistant speaks. Give a percentage, or a direction.

        Args:
            percent: How loud. 0 is silent.
            change: One step louder or quieter.
        """
        if (percent is None) == (change is None):
            raise ToolError("give percent or change, not both")
        reached = volume.change(change) if change else volume.set(percent or 0)
        return Result({"percent": reached}, f"The volume is at {reached} percent.")

    return [tool(set_volume)]
