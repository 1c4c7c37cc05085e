"""What time it is, what day, and how long until another."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal

from edge_assistant.prompt import Value
from edge_assistant.tools.contract import Between, Result, Tool, ToolError, tool

Now = Callable[[], datetime]
"""The local time."""

DOUBT = "But I can't be sure what time it is."
"""Follows whatever rests on a clock that nothing keeps right."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

Month = Literal[
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
]  # fmt: skip


def clock_tools(now: Now, trusted: Callable[[], bool] = lambda: True) -> list[Tool]:
    """`get_time{}`, `get_date{}` and `time_until`. English whatever the system's language is: the model speaks English.

    `trusted`: does something keep the clock right? If not, every answer says so.
    """

    def told(values: Mapping[str, Value], text: str) -> Result:
        return Result(values, text) if trusted() else doubted(values, text)

    def get_time() -> Result:
        """The time of day."""
        moment = now()
        time = f"{moment.hour}:{moment.minute:02}"
        return told({"time": time}, f"It is {time}.")

    def get_date() -> Result:
        """Today's date and weekday."""
        today = now()
        date, weekday = f"{today.day} {MONTHS[today.month - 1]} {today.year}", WEEKDAYS[today.weekday()]
        return told({"date": date, "weekday": weekday}, f"Today is {weekday}, {date}.")

    def time_until(
        hour: Annotated[int | None, Between(0, 23)] = None,
        minute: Annotated[int, Between(0, 59)] = 0,
        day: Annotated[int | None, Between(1, 31)] = None,
        month: Month | None = None,
    ) -> Result:
        """How long it is until an hour, or a date, or an hour on a date. Give an hour, or a day and its month, or all.

        Args:
            hour: The hour.
            minute: The minute.
            day: The day of the month.
            month: The month.
        """
        left = _until(now(), hour, minute, day, month)
        return told({"left": left}, f"{left[0].upper()}{left[1:]}.")

    return [tool(get_time), tool(get_date), tool(time_until)]


def doubted(values: Mapping[str, Value], text: str) -> Result:
    """The same, from a clock that cannot be trusted.

    The doubt is in the text alone: of one value more, which a small model was not taught, it made an alarm.
    """
    return Result(values, f"{text} {DOUBT}", DOUBT)


def _until(moment: datetime, hour: int | None, minute: int, day: int | None, month: Month | None) -> str:
    """In days where only a date is asked for, else to the minute."""
    if hour is None and day is None:
        raise ToolError("neither an hour nor a day")
    if month is not None and day is None:
        raise ToolError("no day of that month")
    today = moment.date()
    if day is None:
        target = datetime.combine(today, time(hour or 0, minute))
        minutes = _minutes(moment, target if target > moment else target + timedelta(days=1))
        return _counted(minutes // 60, "hour", minutes % 60, "minute")
    for later in range(9 if month else 3):  # a 29 February may be eight years away; a 31st, two months
        first = date(today.year + later, MONTHS.index(month) + 1, 1) if month else _month_after(today, later)
        try:
            target = datetime.combine(first.replace(day=day), time(hour or 0, minute))
        except ValueError:
            continue
        if target > moment if hour is not None else target.date() >= today:
            if hour is None:
                days = (target.date() - today).days
                return _counted(days, "day", 0, "") if days else "today"
            minutes = _minutes(moment, target)
            hours = minutes // 60
            if hours >= 48:
                return _counted(hours // 24, "day", hours % 24, "hour")
            return _counted(hours, "hour", minutes % 60, "minute")
    raise ToolError("there is no such day")


def _month_after(today: date, months: int) -> date:
    years, month = divmod(today.month - 1 + months, 12)
    return date(today.year + years, month + 1, 1)


def _minutes(moment: datetime, target: datetime) -> int:
    return -(-int((target - moment).total_seconds()) // 60)


def _counted(large: int, unit: str, small: int, smaller: str) -> str:
    parts = [(large, unit), (small, smaller)]
    return " and ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in parts if n) or f"0 {smaller or unit}s"
