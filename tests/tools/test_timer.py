"""What is said and told of timers, alarms and the clock; and that they are kept from one conversation to the next."""

import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "loop"))
from sim import World, check
from test_dialogues import ASK

from edge_assistant import wallclock
from edge_assistant.assembly import open_timers
from edge_assistant.prompt import ToolCall
from edge_assistant.tools import Toolbox
from edge_assistant.tools.clock import clock_tools
from edge_assistant.tools.schedule import UNKEPT, Timers
from edge_assistant.tools.timer import timer_tools
from edge_assistant.wallclock import Now, SystemClock, counted_clock

NOON = datetime(2026, 11, 24, 12, 0)  # a Tuesday


class Kit:
    def __init__(self, local=NOON, trusted=True):
        self.now_s = 1000.0
        self.timers = Timers(lambda: Now(self.now_s, "boot", 0.0, local, trusted))
        self.box = Toolbox([*clock_tools(lambda: local, lambda: self.timers.clock_trusted), *timer_tools(self.timers)])

    def __call__(self, tool, /, **arguments):
        return self.box.use(ToolCall(tool, arguments))


def test_named_timers():
    kit = Kit()
    response = kit("set_timer", minutes=12, name=" pasta ")
    assert (response.values, response.text) == ({"minutes": 12, "name": "pasta"}, "Pasta timer set for 12 minutes.")
    assert kit("set_timer", hours=1, minutes=5).text == "Timer set for 1 hour and 5 minutes."
    assert kit("set_timer", minutes=3, name="pasta").values == {"error": "pasta runs already"}
    assert kit("set_timer", minutes=3, name="p" * 41).values == {"error": "the name is too long"}
    response = kit("list_timers")
    assert response.values == {"count": 2, "left": "12 minutes"}
    assert (
        response.text == "The pasta timer has 12 minutes left. The timer for 1 hour and 5 minutes has 1 hour and 5 minutes left."
    )
    assert kit("add_time", minutes=3, name="Pasta").text == "Your pasta timer has 15 minutes left now."
    assert kit("cancel_timer", name="eggs").values == {"error": "no timer called eggs"}
    assert kit("cancel_timer", name="pasta").text == "Timer cancelled."
    kit("set_timer", minutes=1)
    assert kit("cancel_timer").text == "2 timers cancelled."
    assert kit("cancel_timer").text == "No timer is running."
    assert kit("list_timers").text == "No timer is running."


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"hour": 13}, "Alarm set for 13:00 today."),
        ({"hour": 12}, "Alarm set for 12:00 tomorrow."),
        ({"hour": 7, "minute": 30}, "Alarm set for 7:30 tomorrow."),
        ({"hour": 7, "day": "Friday"}, "Alarm set for 7:00 Friday."),
        ({"hour": 13, "day": "Tuesday"}, "Alarm set for 13:00 today."),
        ({"hour": 11, "day": "Tuesday"}, "Alarm set for 11:00 Tuesday."),
        ({"hour": 13, "day": "today", "name": "bus"}, "Alarm set for 13:00 today."),
        ({"hour": 23, "day": "tomorrow"}, "Alarm set for 23:00 tomorrow."),
    ],
)
def test_alarms(arguments, text):
    kit = Kit()
    assert kit("set_alarm", **arguments).text == text
    assert len(kit.timers) == 1
    doubted = Kit(trusted=False)("set_alarm", **arguments)
    assert doubted.text == f"{text} But I can't be sure what time it is."
    assert doubted.caution == "But I can't be sure what time it is."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("get_time", {}), ("get_date", {}), ("time_until", {"hour": 19}), ("time_until", {"day": 25, "month": "December"})],
)
def test_a_clock_that_cannot_be_trusted_is_said_to_be(name, arguments):
    sure, doubted = (Kit(trusted=trusted)(name, **arguments) for trusted in (True, False))
    assert doubted.text == f"{sure.text} But I can't be sure what time it is."
    assert doubted.values == sure.values


def test_of_what_is_running_only_an_alarm_rests_on_the_clock():
    kit = Kit(trusted=False)
    kit("set_timer", minutes=3)
    assert kit("list_timers").values == {"count": 1, "left": "3 minutes"}
    kit("set_alarm", hour=19)
    assert kit("list_timers").values == {"count": 2, "left": "3 minutes"}
    assert kit("list_timers").caution == "But I can't be sure what time it is."


def test_an_hour_that_is_over():
    assert Kit()("set_alarm", hour=11, day="today").values == {"error": "that is over for today"}
    assert "error" in Kit()("set_alarm", hour=24).values


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({"hour": 19}, "7 hours"),
        ({"hour": 12}, "24 hours"),
        ({"hour": 11, "minute": 59}, "23 hours and 59 minutes"),
        ({"hour": 12, "minute": 1}, "1 minute"),
        ({"day": 25, "month": "December"}, "31 days"),
        ({"day": 24, "month": "November"}, "today"),
        ({"day": 23, "month": "November"}, "364 days"),
        ({"day": 29, "month": "February"}, "462 days"),
        ({"day": 1}, "7 days"),
        ({"day": 31}, "37 days"),
        ({"day": 25, "hour": 12}, "24 hours"),
        ({"day": 25, "month": "December", "hour": 18}, "31 days and 6 hours"),
        ({"day": 24, "month": "November", "hour": 11}, "364 days and 23 hours"),
    ],
)
def test_how_long_until(arguments, left):
    response = Kit()("time_until", **arguments)
    assert response.values == {"left": left}
    assert response.text == f"{left[0].upper()}{left[1:]}."


def test_no_such_day():
    assert Kit()("time_until", day=30, month="February").values == {"error": "there is no such day"}
    assert "error" in Kit()("time_until", month="May").values
    assert "error" in Kit()("time_until").values


def test_a_ring_goes_on_until_somebody_answers():
    call = "<|tool_call>call:set_timer{seconds:5}<tool_call|><|tool_response>"
    world = World(call, "Timer set for 5 seconds.<turn|>", "You are welcome.<turn|>").run("#" * 30 + "." * 700)
    assert len(world.all("Ring")) == 3
    world.run(ASK)
    check(world)
    rings = len(world.all("Ring"))
    world.run("." * 1000)
    assert len(world.all("Ring")) == rings


def test_the_stop_key_ends_a_ring():
    call = "<|tool_call>call:set_timer{seconds:5}<tool_call|><|tool_response>"
    world = World(call, "Timer set for 5 seconds.<turn|>").run("#" * 30 + "." * 230 + "!" + "." * 700)
    assert len(world.all("Ring")) == 1


def test_timers_go_on_in_the_next_conversation(tmp_path, caplog):
    clock = SystemClock()
    with open_timers(clock, tmp_path / "state") as timers:
        box = Toolbox(timer_tools(timers))
        assert box.use(ToolCall("set_timer", {"minutes": 12, "name": "pasta"})).text == "Pasta timer set for 12 minutes."
        assert box.use(ToolCall("set_timer", {"seconds": 1})).text
        with caplog.at_level(logging.WARNING), open_timers(clock, tmp_path / "state") as others:
            assert len(others) == 0  # one rings them, not two
        assert "another edge-assistant" in caplog.text
    time.sleep(1.1)
    with open_timers(clock, tmp_path / "state") as timers:
        assert [entry.name for entry, _ in timers.running()] == ["", "pasta"]
        assert len(timers.due()) == 1
    with open_timers(clock, None) as timers:
        assert len(timers) == 0


def test_a_folder_that_cannot_be_written_is_said_and_timers_run_all_the_same(tmp_path):
    (tmp_path / "file").write_text("")
    with open_timers(SystemClock(), tmp_path / "file") as timers:
        box = Toolbox(timer_tools(timers))
        assert box.use(ToolCall("set_timer", {"minutes": 12})).values == {"minutes": 12}
        assert [due.text for due in timers.due()] == [UNKEPT]
        assert len(timers) == 1


def test_the_computers_clocks(tmp_path, monkeypatch):
    one, two = SystemClock()(), SystemClock()()
    assert two.elapsed_s >= one.elapsed_s
    assert one.boot == two.boot
    assert abs((one.local - datetime.now()).total_seconds()) < 5
    monkeypatch.setattr(wallclock, "synchronised", lambda: False)
    (tmp_path / "rtc").mkdir()
    for epoch, trusted in ((time.time(), True), (time.time() - 30, True), (0, False), (time.time() - 7200, False)):
        (tmp_path / "rtc" / "since_epoch").write_text(f"{int(epoch)}\n")
        assert SystemClock(tmp_path, tmp_path / "rtc")().trusted is trusted
    clock = SystemClock(tmp_path, tmp_path / "none")
    assert (clock().trusted, clock().boot) == (False, "")
    monkeypatch.setattr(wallclock, "synchronised", lambda: True)
    assert SystemClock(tmp_path, tmp_path / "none")().trusted


def test_the_zone_may_change_while_we_run(monkeypatch):
    monkeypatch.setattr(wallclock, "LOOK_S", 0.0)
    clock = SystemClock()
    try:
        for zone, hours in (("UTC0", 0), ("XYZ-5", 5)):
            monkeypatch.setenv("TZ", zone)
            now = clock()
            assert (
                round((now.local - datetime.fromtimestamp(now.wall_s, UTC).replace(tzinfo=None)).total_seconds() / 3600) == hours
            )
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_counted_clock():
    clock = counted_clock(lambda: 7.5, lambda: NOON)
    assert (clock().elapsed_s, clock().local, clock().trusted) == (7.5, NOON, True)
