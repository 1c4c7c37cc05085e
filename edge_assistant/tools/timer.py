"""Timers: set, list, cancel, and the ring when one is due."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_assistant.prompt import Declaration, Parameter
from edge_assistant.tools import Arguments, Result, Tool, ToolError

Elapsed = Callable[[], float]
"""Seconds since some moment; never goes back."""

UNITS_S = {"hours": 3600, "minutes": 60, "seconds": 1}
LONGEST_S = 7 * 24 * 3600
MOST = 20
"""Timers at once."""


def spoken_duration(seconds: int) -> str:
    """The two largest units of it that are not zero: `1 hour and 5 minutes`, `90 s` being `1 minute and 30 seconds`."""
    parts: list[str] = []
    for unit, size in UNITS_S.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit if count > 1 else unit[:-1]}")
    return " and ".join(parts[:2]) or "0 seconds"


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that runs."""

    due_s: float
    length_s: int


class Timers:
    """The timers that run. The hands worker sets them, the deciding thread asks which are due: hence the lock."""

    def __init__(self, elapsed: Elapsed) -> None:
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._running: list[Timer] = []

    def __len__(self) -> int:
        return len(self._running)

    def due(self) -> list[str]:
        """What to say about the timers that are due by now; they no longer run."""
        if not self._running:  # asked every frame
            return []
        now = self._elapsed()
        with self._lock:
            ripe = [timer for timer in self._running if timer.due_s <= now]
            self._running = [timer for timer in self._running if timer.due_s > now]
        return [f"Your timer for {spoken_duration(timer.length_s)} is done." for timer in ripe]

    def set(self, arguments: Arguments) -> Result:
        """Start one.

        Raises:
            ToolError: no duration, an odd one, or too many timers.
        """
        length_s = sum(_whole(arguments[unit], unit) * size for unit, size in UNITS_S.items() if unit in arguments)
        if not length_s:
            raise ToolError("no duration")
        if length_s > LONGEST_S:
            raise ToolError("longer than a week")
        with self._lock:
            if len(self._running) >= MOST:
                raise ToolError("too many timers")
            self._running = sorted([*self._running, Timer(self._elapsed() + length_s, length_s)], key=lambda t: t.due_s)
        return dict(arguments)

    def list(self, _: Arguments) -> Result:
        """How many run, and what is left of the next."""
        with self._lock:
            if not self._running:
                return {"count": 0}
            left_s = max(1, math.ceil(self._running[0].due_s - self._elapsed()))
            return {"count": len(self._running), "left": spoken_duration(left_s)}

    def cancel(self, _: Arguments) -> Result:
        """Stop all."""
        with self._lock:
            cancelled, self._running = len(self._running), []
        return {"cancelled": cancelled}


def timer_tools(timers: Timers) -> list[Tool]:
    """`set_timer{hours|minutes|seconds}`, `list_timers{}`, `cancel_timer{}`."""
    units = {unit: Parameter("integer", f"How many {unit}.", required=False) for unit in UNITS_S}
    return [
        Tool(Declaration("set_timer", "Start a timer. Give at least one unit.", units), timers.set),
        Tool(Declaration("list_timers", "How many timers run, and what is left of the next."), timers.list),
        Tool(Declaration("cancel_timer", "Stop all timers."), timers.cancel),
    ]


def _whole(value: object, unit: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LONGEST_S:
        raise ToolError(f"an odd number of {unit}")
    return value
