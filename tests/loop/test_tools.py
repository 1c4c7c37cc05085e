import threading
from datetime import datetime

import pytest

from edge_assistant.frames import Due
from edge_assistant.prompt import ToolCall
from edge_assistant.tools import Toolbox
from edge_assistant.tools.clock import clock_tools
from edge_assistant.tools.schedule import MOST, Timer, Timers, spoken_duration
from edge_assistant.tools.timer import LONGEST_S, timer_tools
from edge_assistant.wallclock import counted_clock


class Kit:
    """Tools at a time that the test sets."""

    def __init__(self, when=datetime(2026, 11, 24, 14, 5)):
        self.now_s = 1000.0
        self.timers = Timers(counted_clock(lambda: self.now_s, lambda: when))
        self.box = Toolbox([*clock_tools(lambda: when), *timer_tools(self.timers)])

    def __call__(self, name, **arguments):
        return dict(self.box.use(ToolCall(name, arguments)).values)


def test_the_clock():
    assert Kit()("get_time") == {"time": "14:05"}
    assert Kit(datetime(2026, 1, 3, 0, 0))("get_time") == {"time": "0:00"}
    assert Kit()("get_date") == {"date": "24 November 2026", "weekday": "Tuesday"}
    assert Kit(datetime(2028, 2, 29))("get_date") == {"date": "29 February 2028", "weekday": "Tuesday"}


def test_a_timer_runs_and_rings_once():
    kit = Kit()
    assert kit("set_timer", minutes=12) == {"minutes": 12}
    assert kit("list_timers") == {"count": 1, "left": "12 minutes"}
    kit.now_s += 470.5
    assert kit("list_timers") == {"count": 1, "left": "4 minutes and 10 seconds"}
    assert kit.timers.due() == []
    kit.now_s += 249.5
    assert kit.timers.due() == [Due("Your timer for 12 minutes is done.")]
    assert kit.timers.due() == []
    assert kit("list_timers") == {"count": 0}


def test_the_next_timer_is_told_first():
    kit = Kit()
    kit("set_timer", hours=2)
    kit("set_timer", seconds=90)
    assert kit("list_timers") == {"count": 2, "left": "1 minute and 30 seconds"}
    assert kit("cancel_timer") == {"cancelled": 2}
    assert kit("cancel_timer") == {"cancelled": 0}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"minutes": 0},
        {"minutes": -1},
        {"minutes": 2.5},
        {"minutes": "12"},
        {"minutes": True},
        {"minutes": None},
        {"minutes": 1, "seconds": -1},
        {"hours": 169},
        {"seconds": 10**15},
        {"days": 1},
    ],
)
def test_odd_durations_are_refused(arguments):
    kit = Kit()
    response = kit("set_timer", **arguments)
    assert list(response) == ["error"]
    assert len(kit.timers) == 0


def test_every_duration_of_the_repertoire_is_taken():
    for unit in ("hours", "minutes", "seconds"):
        for count in range(1, 61):
            kit = Kit()
            assert kit("set_timer", **{unit: count}) == {unit: count}
    assert Kit()("set_timer", seconds=LONGEST_S) == {"seconds": LONGEST_S}


def test_too_many_timers():
    kit = Kit()
    for _ in range(MOST):
        assert "error" not in kit("set_timer", minutes=1)
    assert kit("set_timer", minutes=1) == {"error": "too many timers"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "1 minute and 1 second"),
        (250, "4 minutes and 10 seconds"),
        (3600, "1 hour"),
        (3601, "1 hour and 1 second"),
        (7265, "2 hours and 1 minute"),
    ],
)
def test_durations_in_words(seconds, words):
    assert spoken_duration(seconds) == words


def test_a_missing_tool_and_a_wrong_argument():
    assert Kit()("set_light", on=True) == {"error": "not available here"}
    assert Kit()("get_time", zone="UTC") == {"error": "no argument zone"}


def test_setting_and_ringing_at_once_loses_no_timer():
    moments = iter(range(0, 10**9, 2))  # every look is two seconds later
    timers = Timers(counted_clock(lambda: float(next(moments)), lambda: datetime(2026, 11, 24)))
    rung = []

    def set_many():
        for _ in range(2000):
            while len(timers) >= MOST:
                pass
            timers.add(lambda now: Timer("", 1, now.elapsed_s + 1))

    thread = threading.Thread(target=set_many)
    thread.start()
    while thread.is_alive() or len(timers):
        rung += timers.due(at_rest=False)
    thread.join()
    assert len(rung) == 2000
