"""Timers and alarms: set, list, cancel, and give more time."""

import math
from datetime import datetime, time, timedelta
from typing import Annotated, Literal

from edge_assistant.tools.clock import WEEKDAYS, doubted
from edge_assistant.tools.contract import Between, Result, Tool, ToolError, tool
from edge_assistant.tools.schedule import UNITS_S, Alarm, Entry, Timer, Timers, spoken_duration
from edge_assistant.wallclock import Now

LONGEST_S = 7 * 24 * 3600
LONGEST_NAME = 40
TOLD = 5
"""Timers that are told one by one."""

Count = Annotated[int | None, Between(1, LONGEST_S)]
Day = Literal["today", "tomorrow", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def timer_tools(timers: Timers) -> list[Tool]:
    """`set_timer`, `set_alarm`, `list_timers`, `cancel_timer`, `add_time`."""

    def set_timer(hours: Count = None, minutes: Count = None, seconds: Count = None, name: str | None = None) -> Result:
        """Start a timer. Give at least one unit.

        Args:
            hours: How many hours.
            minutes: How many minutes.
            seconds: How many seconds.
            name: What it is for, if the user says so.
        """
        length_s, called = _seconds(hours, minutes, seconds), _name(name)
        timers.add(lambda now: Timer(called, length_s, now.elapsed_s + length_s))
        given = {"hours": hours, "minutes": minutes, "seconds": seconds, "name": called or None}
        what = f"{called} timer" if called else "Timer"
        return Result(
            {key: value for key, value in given.items() if value},
            f"{what[0].upper()}{what[1:]} set for {spoken_duration(length_s)}.",
        )

    def set_alarm(
        hour: Annotated[int, Between(0, 23)],
        minute: Annotated[int, Between(0, 59)] = 0,
        day: Day | None = None,
        name: str | None = None,
    ) -> Result:
        """Set an alarm for an hour of the day.

        Args:
            hour: The hour.
            minute: The minute.
            day: The day; without it, the next time that it is so late.
            name: What it is for, if the user says so.
        """
        called = _name(name)
        entry = timers.add(lambda now: Alarm(called, _moment(now, time(hour, minute), day)))
        assert isinstance(entry, Alarm)
        now = timers.now()
        when = _spoken_day(entry.at, now.local)
        values = {"time": f"{hour}:{minute:02}", "day": when} | ({"name": called} if called else {})
        text = f"Alarm set for {hour}:{minute:02} {when}."
        return Result(values, text) if now.trusted else doubted(values, text)

    def list_timers() -> Result:
        """How many timers and alarms run, and what is left of the next."""
        running = timers.running()
        if not running:
            return Result({"count": 0}, "No timer is running.")
        left = [spoken_duration(max(1, math.ceil(left_s))) for _, left_s in running]
        each = [f"The {entry.title} has {words} left." for (entry, _), words in zip(running, left, strict=True)][:TOLD]
        values, text = {"count": len(running), "left": left[0]}, " ".join(each)
        sure = timers.clock_trusted or all(isinstance(entry, Timer) for entry, _ in running)
        return Result(values, text) if sure else doubted(values, text)

    def cancel_timer(name: str | None = None) -> Result:
        """Stop a timer or an alarm: the one of that name; else the one that rings; else all.

        Args:
            name: Which one, if the user names it.
        """
        count = timers.cancel(name or "")
        words = "No timer is running." if not count else "Timer cancelled." if count == 1 else f"{count} timers cancelled."
        return Result({"cancelled": count}, words)

    def add_time(hours: Count = None, minutes: Count = None, seconds: Count = None, name: str | None = None) -> Result:
        """Give a timer more time, or have what rings ring again after that time. Give at least one unit.

        Args:
            hours: How many hours.
            minutes: How many minutes.
            seconds: How many seconds.
            name: Which timer, if the user names it.
        """
        entry, left_s = timers.prolong(name or "", _seconds(hours, minutes, seconds))
        left = spoken_duration(max(1, math.ceil(left_s)))
        return Result({"left": left}, f"{_begin(entry)} has {left} left now.")

    return [tool(each) for each in (set_timer, set_alarm, list_timers, cancel_timer, add_time)]


def _seconds(hours: int | None, minutes: int | None, seconds: int | None) -> int:
    length_s = sum((count or 0) * size for count, size in zip((hours, minutes, seconds), UNITS_S.values(), strict=True))
    if not length_s:
        raise ToolError("no duration")
    if length_s > LONGEST_S:
        raise ToolError("longer than a week")
    return length_s


def _name(name: str | None) -> str:
    called = " ".join((name or "").split())
    if len(called) > LONGEST_NAME:
        raise ToolError("the name is too long")
    return called


def _begin(entry: Entry) -> str:
    return f"Your {entry.title}"


def _moment(now: Now, hour: time, day: Day | None) -> datetime:
    """The next time that the clock on the wall shows this."""
    today = datetime.combine(now.local.date(), hour)
    match day:
        case None:
            days = 0 if today > now.local else 1
        case "today":
            days = 0
        case "tomorrow":
            days = 1
        case _:
            days = (WEEKDAYS.index(day) - now.local.weekday()) % 7
            days += 7 if not days and today <= now.local else 0
    at = today + timedelta(days=days)
    if at <= now.local:
        raise ToolError("that is over for today")
    return at


def _spoken_day(at: datetime, local: datetime) -> str:
    days = (at.date() - local.date()).days
    return ("today", "tomorrow")[days] if days < 2 else WEEKDAYS[at.weekday()]
