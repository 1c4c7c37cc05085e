"""What time it is, and what day."""

from collections.abc import Callable
from datetime import datetime

from edge_assistant.tools.contract import Result, Tool, tool

Now = Callable[[], datetime]
"""The local time."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def clock_tools(now: Now) -> list[Tool]:
    """`get_time{}` and `get_date{}`. English whatever the system's language is: the model speaks English."""

    def get_time() -> Result:
        """The time of day."""
        moment = now()
        time = f"{moment.hour}:{moment.minute:02}"
        return Result({"time": time}, f"It is {time}.")

    def get_date() -> Result:
        """Today's date and weekday."""
        today = now()
        date, weekday = f"{today.day} {MONTHS[today.month - 1]} {today.year}", WEEKDAYS[today.weekday()]
        return Result({"date": date, "weekday": weekday}, f"Today is {weekday}, {date}.")

    return [tool(get_time), tool(get_date)]
