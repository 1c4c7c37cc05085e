"""Timers: set, list, cancel, and the ring when one is due."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from edge_assistant.tools.contract import Between, Result, Tool, ToolError, tool

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

    def set(self, **units: int | None) -> Result:
        """Start one.

        Raises:
            ToolError: no duration, an odd one, or too many timers.
        """
        given = {unit: count for unit, count in units.items() if count}
        length_s = sum(count * UNITS_S[unit] for unit, count in given.items())
        if not length_s:
            raise ToolError("no duration")
        if length_s > LONGEST_S:
            raise ToolError("longer than a week")
        with self._lock:
            if len(self._running) >= MOST:
                raise ToolError("too many timers")
            self._running = sorted([*self._running, Timer(self._elapsed() + length_s, length_s)], key=lambda t: t.due_s)
        return Result(given, f"Timer set for {spoken_duration(length_s)}.")

    def list(self) -> Result:
        """How many run, and what is left of the next."""
        with self._lock:
            if not self._running:
                return Result({"count": 0}, "No timer is running.")
            left_s = max(1, math.ceil(self._running[0].due_s - self._elapsed()))
            return Result({"count": len(self._running), "left": spoken_duration(left_s)})

    def cancel(self) -> Result:
        """Stop all."""
        with self._lock:
            cancelled, self._running = len(self._running), []
        return Result({"cancelled": cancelled})


def timer_tools(timers: Timers) -> list[Tool]:
    """`set_timer{hours|minutes|seconds}`, `list_timers{}`, `cancel_timer{}`."""

    def set_timer(
        hours: Annotated[int | None, Between(1, LONGEST_S)] = None,
        minutes: Annotated[int | None, Between(1, LONGEST_S)] = None,
        seconds: Annotated[int | None, Between(1, LONGEST_S)] = None,
    ) -> Result:
        """Start a timer. Give at least one unit.

        Args:
            hours: How many hours.
            minutes: How many minutes.
            seconds: How many seconds.
        """
        return timers.set(hours=hours, minutes=minutes, seconds=seconds)

    def list_timers() -> Result:
        """How many timers run, and what is left of the next."""
        return timers.list()

    def cancel_timer() -> Result:
        """Stop all timers."""
        return timers.cancel()

    return [tool(set_timer), tool(list_timers), tool(cancel_timer)]
