"""What is to ring, and when: timers last a while, alarms wait for an hour.

The rule. A timer counts the time since boot, whatever is done to the clock on the wall. Across a reboot it is asked how long the
power was off, if it can be trusted now and could be then; if not, the timer counts on as if the power had never been off, says so
once, and is put right as soon as the clock can be trusted. An alarm rings when the clock on the wall first shows its hour or a
later one, in whatever zone that is. What came due while nobody could ring is told at the next start. What rings goes on,
in growing pauses, until somebody stops it, answers it, or a quarter of an hour is over; a restart does not stop it.

Of two threads: the hands worker sets, lists and cancels, the deciding thread asks what is due; hence the lock.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, cast

from edge_assistant.frames import Due
from edge_assistant.state import Forgetful, Keeps
from edge_assistant.tools.contract import ToolError
from edge_assistant.wallclock import Clock, Now

log = logging.getLogger(__name__)

UNITS_S = {"hours": 3600, "minutes": 60, "seconds": 1}
DAY_S = 24 * 3600
MOST = 20
"""Timers and alarms at once."""
LATE_S = 5.0
"""Whatever rings later than that says so."""
PAUSES_S = (4.0, 8.0, 16.0, 30.0, 60.0)
"""Between one ring and the next; the last goes on."""
RINGS_S = 15 * 60.0
"""Nobody seems to be there after that."""
ANSWERED_S = 20.0
"""So long after a ring was answered, "stop the timer" means that one."""
JUMP_S = 0.5
"""A wall clock that has moved so far against the time since boot was set, and what is kept must say so."""

UNKEPT = "I can't write to my disk. Timers and alarms will be lost when I am switched off."
UNSURE = "I can't tell how long I was off, or what time it is. Timers and alarms may be late."


def spoken_duration(seconds: int) -> str:
    """The two largest units of it that are not zero: `1 hour and 5 minutes`, `90 s` being `1 minute and 30 seconds`."""
    parts: list[str] = []
    for unit, size in UNITS_S.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit if count > 1 else unit[:-1]}")
    return " and ".join(parts[:2]) or "0 seconds"


def _ago(seconds: float) -> str:
    days = round(seconds / DAY_S)
    return f"{days} days" if days > 1 else spoken_duration(round(seconds))


@dataclass(frozen=True, slots=True)
class Timer:
    """Lasts a while."""

    name: str
    length_s: int
    due_s: float
    """On the clock that counts since boot."""
    wall_due_s: float | None = None
    """When it is due by the clock on the wall, if that knows better: the power was off, for how long could not be told."""

    def left_s(self, now: Now) -> float:
        return self.due_s - now.elapsed_s

    @property
    def title(self) -> str:
        """What it is called."""
        return f"{self.name} timer" if self.name else f"timer for {spoken_duration(self.length_s)}"

    @property
    def cry(self) -> str:
        return f"Your {self.title} is done."


@dataclass(frozen=True, slots=True)
class Alarm:
    """Waits for an hour."""

    name: str
    at: datetime
    """On the clock on the wall, in whatever zone that is then."""

    def left_s(self, now: Now) -> float:
        return (self.at - now.local).total_seconds()

    @property
    def title(self) -> str:
        """What it is called."""
        hour = f"{self.at.hour}:{self.at.minute:02}"
        return f"{self.name} alarm for {hour}" if self.name else f"alarm for {hour}"

    @property
    def cry(self) -> str:
        return f"This is your {self.title}."


Entry = Timer | Alarm


@dataclass
class Ringing:
    """An entry that is due."""

    entry: Entry
    text: str
    since_s: float
    next_s: float
    rings: int = 1
    sounded: bool = False
    """It was heard, at least in part."""
    answered_s: float | None = None
    """When somebody spoke after that: it is silent."""


class Timers:
    """Timers and alarms, running and ringing."""

    def __init__(self, clock: Clock, keeper: Keeps | None = None, kept: Any = None) -> None:
        """`keeper` keeps every change, and `kept` is what it kept last time."""
        self._clock, self._keeper = clock, keeper or Forgetful()
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._ringing: list[Ringing] = []
        self._notices: list[Due] = []
        self._anchor: Now | None = None
        """The clocks when something was kept last."""
        self._unkept = False
        if kept is not None:
            self._restore(kept, clock())

    def __len__(self) -> int:
        """How many run."""
        return len(self._entries)

    @property
    def clock_trusted(self) -> bool:
        """Can the hour be trusted?"""
        return self._clock().trusted

    @property
    def ringing(self) -> bool:
        """Does something ring, or did it until just now?"""
        return bool(self._ringing)

    def now(self) -> Now:
        """The clocks."""
        return self._clock()

    def due(self, at_rest: bool = True) -> list[Due]:
        """What is to be rung or told now; what has rung before is rung again only `at_rest`, when nobody speaks."""
        if not (self._entries or self._ringing or self._notices):  # asked every frame
            return []
        now = self._clock()
        with self._lock:
            told, self._notices = self._notices, []
            if now.trusted:
                self._entries = [_put_right(entry, now) for entry in self._entries]
            ripe = [entry for entry in self._entries if entry.left_s(now) <= 0]
            self._entries = [entry for entry in self._entries if entry not in ripe]
            self._ringing += [_ring(entry, now) for entry in ripe]
            told += [Due(each.text) for each in self._ringing[len(self._ringing) - len(ripe) :]]
            told += self._again(now, at_rest)
            if ripe or self._moved(now):
                self._keep(now)
        return told

    def sounded(self, text: str) -> None:
        """The loudspeaker begins to tell this."""
        for each in self._ringing:
            each.sounded |= each.text == text

    def answered(self, *, unheard: bool = False) -> None:
        """Somebody spoke: what has rung is silent from here on. Whoever presses stop wants none of the `unheard` either."""
        if not self._ringing:
            return
        now = self._clock()
        with self._lock:
            heard = [each for each in self._ringing if each.answered_s is None and (each.sounded or unheard)]
            for each in heard:
                each.answered_s = now.elapsed_s
            if heard:
                self._keep(now)

    def add(self, make: Callable[[Now], Entry]) -> Entry:
        """Have one run.

        Raises:
            ToolError: there are too many, or one of that name.
        """
        now = self._clock()
        with self._lock:
            entry = make(now)
            if len(self._entries) >= MOST:
                raise ToolError("too many timers")
            if entry.name and self._named(entry.name, self._entries):
                raise ToolError(f"{entry.name} runs already")
            self._run(entry, now)
        self._settle()
        return entry

    def prolong(self, name: str, by_s: int) -> tuple[Entry, float]:
        """Add time to the one of that name, or to the next; one that rings is quiet for so long. Returns it and what is left.

        Raises:
            ToolError: there is none.
        """
        now = self._clock()
        with self._lock:
            ringing = [each for each in self._ringing if not name or _same(each.entry.name, name)]
            running = [each for each in self._named(name, self._entries) if isinstance(each, Timer)]
            if ringing:
                self._ringing.remove(ringing[0])
                entry = Timer(ringing[0].entry.name, by_s, now.elapsed_s + by_s)
            elif running:
                old = running[0]
                self._entries.remove(old)
                wall_due_s = None if old.wall_due_s is None else old.wall_due_s + by_s
                entry = replace(old, length_s=old.length_s + by_s, due_s=old.due_s + by_s, wall_due_s=wall_due_s)
            else:
                raise ToolError(f"no timer called {name}" if name else "no such timer")
            self._run(entry, now)
        self._settle()
        return entry, entry.left_s(now)

    def cancel(self, name: str = "") -> int:
        """Stop what rings, else all, or the ones of that name; returns how many.

        Raises:
            ToolError: there is none of that name.
        """
        now = self._clock()
        with self._lock:
            ringing = [each for each in self._ringing if not name or _same(each.entry.name, name)]
            running = [] if ringing and not name else self._named(name, self._entries)
            if name and not ringing and not running:
                raise ToolError(f"no timer called {name}")
            self._ringing = [each for each in self._ringing if each not in ringing]
            self._entries = [each for each in self._entries if each not in running]
            self._keep(now)
        self._settle()
        return len(ringing) + len(running)

    def running(self) -> list[tuple[Entry, float]]:
        """What runs, and what is left of it, the next first."""
        now = self._clock()
        with self._lock:
            return sorted(((entry, entry.left_s(now)) for entry in self._entries), key=lambda each: each[1])

    def _run(self, entry: Entry, now: Now) -> None:
        self._entries = sorted([*self._entries, entry], key=lambda each: each.left_s(now))
        self._keep(now)

    @staticmethod
    def _named(name: str, entries: Sequence[Entry]) -> list[Entry]:
        return [entry for entry in entries if not name or _same(entry.name, name)]

    def _again(self, now: Now, at_rest: bool) -> list[Due]:
        told: list[Due] = []
        for each in tuple(self._ringing):
            if each.answered_s is not None and now.elapsed_s >= each.answered_s + ANSWERED_S:
                self._ringing.remove(each)
            elif each.answered_s is None and now.elapsed_s >= each.since_s + RINGS_S:
                log.warning("nobody stopped: %s", each.text)
                self._ringing.remove(each)
                self._keep(now)
            elif each.answered_s is None and at_rest and each.sounded and now.elapsed_s >= each.next_s:
                each.next_s = now.elapsed_s + PAUSES_S[min(each.rings, len(PAUSES_S) - 1)]
                each.rings += 1
                told.append(Due(each.text))
        return told

    def _moved(self, now: Now) -> bool:
        """Was the wall clock set since something was kept?"""
        before = self._anchor
        if before is None or not self._entries:
            return False
        jump_s = (now.wall_s - before.wall_s) - (now.elapsed_s - before.elapsed_s)
        return abs(jump_s) > JUMP_S or now.trusted != before.trusted

    def _keep(self, now: Now) -> None:
        self._anchor = now
        ringing = [each.entry for each in self._ringing if each.answered_s is None]
        self._keeper.keep(
            {
                "boot": now.boot,
                "elapsed_s": now.elapsed_s,
                "wall_s": now.wall_s,
                "trusted": now.trusted,
                "running": [_line(entry, now) for entry in self._entries],
                "ringing": [_line(entry, now) for entry in ringing],
            }
        )

    def _settle(self) -> None:
        """The answer waits until it is true; a disk that does not take it is told of once."""
        kept = self._keeper.settled()
        if not kept and not self._unkept:
            self._notices.append(Due(UNKEPT, "error"))
        self._unkept = not kept

    def _restore(self, kept: Any, now: Now) -> None:
        try:
            before = Now(kept["elapsed_s"], kept["boot"], kept["wall_s"], datetime.min, kept["trusted"])
            off_s = _time_between(before, now)
            running, ringing = (cast(list[Mapping[str, Any]], kept[state]) for state in ("running", "ringing"))
            self._entries = [_entry(line, before, now, off_s) for line in running]
            self._ringing = [_ring(_entry(line, before, now, off_s), now) for line in ringing]
        except (KeyError, TypeError, ValueError) as error:
            log.error("what was kept of timers and alarms cannot be read: %s", error)
            return
        self._notices = [Due(each.text) for each in self._ringing]
        doubtful = [each for each in self._entries if off_s is None or (isinstance(each, Alarm) and not now.trusted)]
        if doubtful and before.boot != now.boot:
            self._notices.append(Due(UNSURE, "error"))
        if self._entries or self._ringing:
            self._keep(now)


def _time_between(before: Now, now: Now) -> float | None:
    """Seconds from one moment to the other, before which we may have been off; None if nobody can tell."""
    if before.boot and before.boot == now.boot:
        return now.elapsed_s - before.elapsed_s
    off_s = now.wall_s - before.wall_s
    return off_s if before.trusted and now.trusted and off_s >= 0 else None


def _line(entry: Entry, now: Now) -> dict[str, Any]:
    """An entry as it is kept: what is left, not when it is due, for the clock since boot means nothing after it."""
    if isinstance(entry, Alarm):
        return {"kind": "alarm", "name": entry.name, "at": entry.at.isoformat()}
    values = {name: value for name, value in asdict(entry).items() if name != "due_s"}
    return {"kind": "timer", **values, "left_s": entry.left_s(now)}


def _entry(line: Mapping[str, Any], before: Now, now: Now, off_s: float | None) -> Entry:
    if line["kind"] == "alarm":
        return Alarm(line["name"], datetime.fromisoformat(line["at"]))
    left_s, wall_due_s = float(line["left_s"]), line["wall_due_s"]
    if off_s is None and before.trusted and wall_due_s is None:
        wall_due_s = before.wall_s + left_s
    return Timer(line["name"], line["length_s"], now.elapsed_s + left_s - (off_s or 0.0), wall_due_s)


def _put_right(entry: Entry, now: Now) -> Entry:
    """The wall clock can be trusted: a timer that waited for that is due when it says, and never later than it was."""
    if isinstance(entry, Alarm) or entry.wall_due_s is None:
        return entry
    due_s = min(entry.due_s, now.elapsed_s + entry.wall_due_s - now.wall_s)
    return replace(entry, due_s=due_s, wall_due_s=None)


def _ring(entry: Entry, now: Now) -> Ringing:
    late_s = -entry.left_s(now)
    text = entry.cry if late_s < LATE_S else f"Your {entry.title} was due {_ago(late_s)} ago."
    return Ringing(entry, text, now.elapsed_s, now.elapsed_s + PAUSES_S[0])


def _same(one: str, other: str) -> bool:
    return one.casefold().strip() == other.casefold().strip()
