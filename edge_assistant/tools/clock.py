"""What time it is, and what day."""

from collections.abc import Callable
from datetime import datetime

from edge_assistant.prompt import Declaration
from edge_assistant.tools import Arguments, Result, Tool

Now = Callable[[], datetime]
"""The local time."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def clock_tools(now: Now) -> list[Tool]:
    """`get_time{}` and `get_date{}`. English whatever the system's language is: the model speaks English."""

    def get_time(_: Arguments) -> Result:
        moment = now()
        return {"time": f"{moment.hour}:{moment.minute:02}"}

    def get_date(_: Arguments) -> Result:
        today = now()
        date = f"{today.day} {MONTHS[today.month - 1]} {today.year}"
        return {"date": date, "weekday": WEEKDAYS[today.weekday()]}

    return [
        Tool(Declaration("get_time", "The time of day."), get_time),
        Tool(Declaration("get_date", "Today's date and weekday."), get_date),
    ]
