"""Timers and alarms in a world whose clocks are set, whose power is cut and whose processes are killed: each rings once, when the
rule says so, none is lost, none rings twice. The oracle knows true time and the rule, and nothing of how it is done."""

import itertools
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge_assistant.frames import Due
from edge_assistant.state import DirectKeeper, StateFile
from edge_assistant.tools import ToolError
from edge_assistant.tools.schedule import (
    ANSWERED_S,
    MOST,
    PAUSES_S,
    RINGS_S,
    UNKEPT,
    UNSURE,
    Alarm,
    Timer,
    Timers,
)
from edge_assistant.wallclock import Now

START = datetime(2026, 10, 20, 12, tzinfo=UTC).timestamp()
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "UTC"]
YEAR_S = 365 * 24 * 3600
TICK_S = 0.8
ACTS = "timer timer timer alarm alarm cancel prolong wait wait wait kill reboot reboot jump zone sync".split()  # noqa: SIM905


class Killed(BaseException):
    """The process is no more."""


class Memory:
    """A state file that may be the last thing a process touches."""

    def __init__(self):
        self.value, self.kill, self.saves = None, "", 0

    def save(self, value):
        kill, self.kill = self.kill, ""
        if kill == "before":
            raise Killed
        self.value = value
        self.saves += 1
        if kill == "after":
            raise Killed


@dataclass
class Clocks:
    """True time, and what the computer makes of it."""

    true_s: float = START
    booted_s: float = START - 100
    boots: int = 1
    wrong_s: float = 0.0
    trusted: bool = True
    zone: str = "Europe/Berlin"

    def __call__(self):
        wall_s = self.true_s + self.wrong_s
        local = datetime.fromtimestamp(wall_s, ZoneInfo(self.zone)).replace(tzinfo=None)
        return Now(self.true_s - self.booted_s, f"boot {self.boots}", wall_s, local, self.trusted)


@dataclass
class Expected:
    """What the oracle knows of one entry."""

    due_s: float | None
    """True time; None for an alarm."""
    at: datetime | None = None
    wall_due_s: float | None = None
    state: str = "running"  # ringing, over


class World:
    """One machine, and the oracle beside it."""

    def __init__(self, seed):
        self.random, self.clocks, self.memory = random.Random(seed), Clocks(), Memory()
        self.expected, self.names = {}, 0
        self.saved = None
        self.start()

    def start(self):
        """A process begins."""
        now, before = self.clocks(), self.saved
        self.alive_s = self.clocks.true_s
        for each in self.expected.values():
            if each.state == "running" and each.due_s is not None and before and before[0] != now.boot:
                _, saved_true_s, saved_wall_s, saved_trusted = before
                left_s, off_s = each.due_s - saved_true_s, now.wall_s - saved_wall_s
                if saved_trusted and now.trusted and off_s >= 0:
                    each.due_s = self.clocks.true_s + left_s - off_s
                else:
                    each.due_s = self.clocks.true_s + left_s
                    if saved_trusted and each.wall_due_s is None:
                        each.wall_due_s = saved_wall_s + left_s
        self.saves = self.memory.saves
        self.timers = Timers(self.clocks, DirectKeeper(self.memory), self.memory.value)
        self.note_saves()

    def note_saves(self):
        if self.memory.saves != self.saves:
            now = self.clocks()
            self.saves, self.saved = self.memory.saves, (now.boot, self.clocks.true_s, now.wall_s, now.trusted)

    def change(self, act, written):
        """Something is asked of the timers; a kill beside it makes it happen or not, and nothing else."""
        saves = self.memory.saves
        try:
            result = act()
        except Killed:
            if self.memory.saves != saves:
                written()
            self.note_saves()
            self.off(0)
            return None
        except ToolError:
            return None
        written()
        self.note_saves()
        return result

    def off(self, seconds):
        self.clocks.true_s += seconds
        self.start()

    def put_right(self):
        now = self.clocks()
        for each in self.expected.values():
            if now.trusted and each.wall_due_s is not None and each.due_s is not None:
                each.due_s = min(each.due_s, self.clocks.true_s + each.wall_due_s - now.wall_s)
                each.wall_due_s = None

    def late_s(self, each):
        """By the rule; negative before it is due."""
        if each.due_s is None:
            return (self.clocks().local - each.at).total_seconds()
        return self.clocks.true_s - each.due_s

    def tick(self, dt):
        self.clocks.true_s += dt
        self.put_right()
        try:
            told = self.timers.due()
        except Killed:
            self.note_saves()
            self.off(0)
            return
        self.note_saves()
        for due in told:
            name = next((name for name in self.expected if f" {name} " in f" {due.text} "), None)
            if name is None:
                assert due.text == UNSURE, due
                continue
            each = self.expected[name]
            assert each.state != "over", f"{name} rings again after it was stopped"
            assert each.state == "ringing" or self.late_s(each) >= -0.01, f"{name} rings too soon"
            each.state = "ringing"
            self.timers.sounded(due.text)
        for name, each in self.expected.items():
            assert each.state != "running" or self.late_s(each) < 0.2, f"{name} does not ring in time"
        if any(each.state == "ringing" for each in self.expected.values()) and self.random.random() < 0.5:
            self.maybe_kill(0.2)
            heard = {each.entry.name for each in self.timers._ringing}

            def stopped():
                for name, each in self.expected.items():
                    if each.state == "ringing" and name in heard:
                        each.state = "over"

            self.change(self.timers.answered, stopped)
            self.memory.kill = ""

    def maybe_kill(self, probability):
        if self.random.random() < probability:
            self.memory.kill = self.random.choice(["before", "after"])

    def advance(self, seconds, longest_s=600.0):
        until = self.clocks.true_s + seconds
        while self.clocks.true_s < until:
            now = self.clocks()
            left = [
                (each.at - now.local).total_seconds() if each.due_s is None else each.due_s - self.clocks.true_s
                for each in self.expected.values()
                if each.state == "running"
            ]
            calm = not any(each.state == "ringing" for each in self.expected.values())
            leap = min([*left, longest_s + 3.0]) - 3.0 if calm else 0.0
            self.maybe_kill(0.01)
            self.tick(max(TICK_S, min(leap, until - self.clocks.true_s)))
            self.memory.kill = ""

    def act(self):
        rng = self.random
        match rng.choice(ACTS):
            case "timer":
                length_s = rng.choice([rng.randint(1, 30), rng.randint(30, 600), rng.randint(600, 7200)])
                name, self.names = f"n{self.names}", self.names + 1
                due_s = self.clocks.true_s + length_s
                self.maybe_kill(0.1)
                self.change(
                    lambda: self.timers.add(lambda now: Timer(name, length_s, now.elapsed_s + length_s)),
                    lambda: self.expected.update({name: Expected(due_s)}),
                )
            case "alarm":
                ahead_s = rng.choice([rng.randint(5, 600), rng.randint(600, 86400)])
                at = (self.clocks().local + timedelta(seconds=ahead_s)).replace(microsecond=0)
                name, self.names = f"n{self.names}", self.names + 1
                self.maybe_kill(0.1)
                self.change(
                    lambda: self.timers.add(lambda now: Alarm(name, at)), lambda: self.expected.update({name: Expected(None, at)})
                )
            case "cancel" if self.expected:
                name = rng.choice(list(self.expected))
                self.maybe_kill(0.1)
                if self.expected[name].state == "running":
                    self.change(lambda: self.timers.cancel(name), lambda: setattr(self.expected[name], "state", "over"))
            case "prolong":
                running = [n for n, each in self.expected.items() if each.state == "running" and each.due_s is not None]
                if running:
                    name, by_s = rng.choice(running), rng.randint(1, 300)
                    each = self.expected[name]

                    def longer():
                        each.due_s += by_s
                        each.wall_due_s = None if each.wall_due_s is None else each.wall_due_s + by_s

                    self.maybe_kill(0.1)
                    self.change(lambda: self.timers.prolong(name, by_s), longer)
            case "wait":
                self.advance(rng.choice([rng.uniform(0, 20), rng.uniform(0, 600), rng.uniform(0, 4000)]))
            case "kill":
                self.clocks.wrong_s += rng.choice([0, 0, 0, YEAR_S, -YEAR_S, 600, -600])
                self.off(rng.choice([0.0, rng.uniform(0, 30), rng.uniform(0, 4000)]))
            case "reboot":
                self.clocks.true_s += rng.choice([rng.uniform(5, 60), rng.uniform(60, 5000)])
                self.clocks.boots += 1
                self.clocks.booted_s = self.clocks.true_s - rng.uniform(5, 30)
                if rng.random() < 0.5:  # no battery: it boots in the past
                    self.clocks.trusted = False
                    self.clocks.wrong_s -= rng.choice([3000, 50 * YEAR_S])
                self.start()
            case "jump":
                self.clocks.wrong_s += rng.choice([YEAR_S, -YEAR_S, 3600, -3600, 5, -5])
                self.tick(TICK_S)
            case "zone":
                self.clocks.zone = rng.choice(ZONES)
                self.tick(TICK_S)
            case "sync":
                self.clocks.wrong_s, self.clocks.trusted = 0.0, True
                self.tick(TICK_S)
        self.memory.kill = ""

    def finish(self):
        """All clocks are right, and nothing more happens: whatever runs must ring."""
        self.clocks.wrong_s, self.clocks.trusted = 0.0, True
        self.tick(TICK_S)
        for _ in range(800):  # an alarm may have been set in a year that is to come
            if all(each.state == "over" for each in self.expected.values()):
                break
            self.advance(24 * 3600.0, longest_s=6 * 3600.0)
        assert {each.state for each in self.expected.values()} <= {"over"}, self.expected
        self.advance(RINGS_S + 60, longest_s=30.0)  # and nothing rings any more
        assert len(self.timers) == 0


@pytest.mark.parametrize("block", range(10))
def test_a_thousand_schedules(block):
    for seed in range(100 * block, 100 * block + 100):
        world = World(seed)
        for _ in range(world.random.randint(5, 16)):
            world.act()
        world.finish()


def rung(timers):
    return [due.text for due in timers.due()]


class Kit:
    """Timers on clocks that the test sets."""

    def __init__(self, **clocks):
        self.clocks, self.memory = Clocks(**clocks), Memory()
        self.start()

    def start(self):
        self.timers = Timers(self.clocks, DirectKeeper(self.memory), self.memory.value)

    def timer(self, seconds, name=""):
        return self.timers.add(lambda now: Timer(name, seconds, now.elapsed_s + seconds))

    def alarm(self, at, name=""):
        return self.timers.add(lambda now: Alarm(name, at))

    def after(self, seconds):
        self.clocks.true_s += seconds
        return rung(self.timers)

    def reboot(self, off_s, **changed):
        self.clocks = replace(self.clocks, true_s=self.clocks.true_s + off_s, boots=self.clocks.boots + 1, **changed)
        self.clocks.booted_s = self.clocks.true_s - 20
        self.start()


def test_it_rings_until_it_is_answered_in_growing_pauses():
    kit = Kit()
    kit.timer(60)
    assert kit.after(59.9) == []
    text = "Your timer for 1 minute is done."
    assert kit.after(0.2) == [text]
    assert kit.after(30) == []  # nobody could hear it yet: it waits for its turn
    kit.timers.sounded(text)
    times = []
    for second in range(int(RINGS_S) + 100):
        times += [second] * len(kit.after(1))
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert pauses[:3] == [PAUSES_S[1], PAUSES_S[2], PAUSES_S[3]]
    assert set(pauses[4:]) == {PAUSES_S[-1]}
    assert times[-1] < RINGS_S
    assert kit.memory.value["ringing"] == []


def test_nothing_rings_again_while_somebody_speaks():
    kit = Kit()
    kit.timer(1)
    kit.timers.sounded(kit.after(1)[0])
    kit.clocks.true_s += 100
    assert kit.timers.due(at_rest=False) == []
    assert kit.timers.due(at_rest=True) == [Due("Your timer for 1 second is done.")]


def test_an_answer_stops_what_was_heard_and_stop_stops_all():
    kit = Kit()
    kit.timer(1, "eggs")
    kit.timer(2, "tea")
    kit.timers.sounded(kit.after(1)[0])
    assert kit.after(1) == ["Your tea timer is done."]
    kit.timers.answered()
    assert kit.after(10) == []  # the eggs are silent, the tea was not heard yet
    kit.timers.sounded("Your tea timer is done.")
    assert kit.after(10) == ["Your tea timer is done."]
    kit.timers.answered()
    kit.timer(1)
    kit.after(1)
    kit.timers.answered(unheard=True)
    assert kit.memory.value["ringing"] == []
    kit.start()
    assert kit.after(100) == []


def test_to_cancel_while_it_rings_is_to_cancel_what_rings():
    kit = Kit()
    kit.timer(1, "eggs")
    kit.timer(500, "bread")
    kit.timers.sounded(kit.after(1)[0])
    kit.timers.answered()  # "stop the timer" is an answer, too
    assert kit.timers.cancel() == 1
    assert len(kit.timers) == 1
    assert kit.timers.cancel() == 1
    kit.timer(1, "eggs")
    kit.timer(500, "bread")
    kit.timers.sounded(kit.after(1)[0])
    kit.timers.answered()
    kit.after(ANSWERED_S + 1)
    assert kit.timers.cancel() == 1  # by now it means the one that runs
    with pytest.raises(ToolError, match="no timer called tea"):
        kit.timers.cancel("tea")


def test_more_time():
    kit = Kit()
    kit.timer(60, "eggs")
    kit.timer(90)
    assert kit.timers.prolong("Eggs ", 60)[1] == 120
    assert kit.timers.prolong("", 10)[0].name == ""  # the next one
    kit.timers.sounded(kit.after(100)[0])
    kit.timers.answered()
    assert kit.timers.prolong("", 30)[1] == 30  # what rings is quiet for so long
    assert kit.after(20) == ["Your eggs timer is done."]
    assert kit.after(10) == ["Your timer for 30 seconds is done."]
    for name, what in (("tea", "no timer called tea"), ("", "no such timer")):
        with pytest.raises(ToolError, match=what):
            Kit().timers.prolong(name, 1)


def test_limits():
    kit = Kit()
    kit.timer(60, "Tea")
    with pytest.raises(ToolError, match="tea runs already"):
        kit.timer(60, "tea")
    for _ in range(MOST - 1):
        kit.timer(1)
    with pytest.raises(ToolError, match="too many"):
        kit.timer(1)


def test_what_was_missed_is_told():
    kit = Kit()
    kit.timer(600, "cake")
    kit.reboot(7200)
    assert kit.after(0) == ["Your cake timer was due 1 hour and 50 minutes ago."]
    kit = Kit()
    kit.alarm(datetime(2026, 10, 21, 7, 30))
    kit.reboot(3 * 24 * 3600)
    assert kit.after(0) == ["Your alarm for 7:30 was due 2 days ago."]


def test_a_clock_that_cannot_be_trusted_is_told_of_once_and_put_right():
    kit = Kit()
    kit.timer(600)
    kit.after(100)
    kit.reboot(300, trusted=False, wrong_s=-50 * YEAR_S)
    assert kit.after(1) == [UNSURE]
    assert kit.after(100) == []
    kit.start()
    assert kit.after(1) == []  # the same boot: it was told
    kit.clocks.wrong_s, kit.clocks.trusted = 0.0, True
    assert kit.after(97) == []
    assert kit.after(1) == ["Your timer for 10 minutes is done."]
    kit = Kit()
    kit.timer(600)
    kit.reboot(300, trusted=False)
    kit.after(1)
    assert kit.after(597) == []
    assert kit.after(2) == ["Your timer for 10 minutes is done."]  # nobody put it right: as if the power had never been off


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S, 3600, -3600])
def test_a_timer_does_not_care_for_the_wall(jump_s):
    kit = Kit()
    kit.timer(600)
    kit.clocks.wrong_s += jump_s
    assert kit.after(599) == []
    kit.start()
    kit.reboot(0.5)
    assert kit.after(0) == []
    assert kit.after(0.6) == ["Your timer for 10 minutes is done."]


def test_an_alarm_follows_the_wall_through_zones_and_summer_time():
    kit = Kit()  # 14:00 in Berlin
    kit.alarm(datetime(2026, 10, 20, 16, 0))
    kit.clocks.zone = "America/New_York"  # 8:00
    assert kit.after(2 * 3600) == []
    assert kit.after(6 * 3600) == ["This is your alarm for 16:00."]
    kit = Kit(true_s=datetime(2026, 10, 24, 23, 0, tzinfo=UTC).timestamp())  # 1:00; at 3:00 it is 2:00 again
    kit.alarm(datetime(2026, 10, 25, 2, 30))
    assert kit.after(5399) == []
    assert kit.after(1) == ["This is your alarm for 2:30."]
    kit.timers.answered(unheard=True)
    assert kit.after(3600) == []  # 2:30 again
    kit = Kit(true_s=datetime(2027, 3, 28, 0, 0, tzinfo=UTC).timestamp())  # 1:00; there is no 2:30
    kit.alarm(datetime(2027, 3, 28, 2, 30))
    assert kit.after(3599) == []
    assert kit.after(1) == ["Your alarm for 2:30 was due 30 minutes ago."]


def test_a_full_disk_is_told_of_once(tmp_path):
    kit = Kit()
    (tmp_path / "file").write_text("")
    kit.timers = Timers(kit.clocks, DirectKeeper(StateFile(tmp_path / "file" / "state")))
    kit.timer(60)
    assert kit.timers.due() == [Due(UNKEPT, "error")]
    kit.timer(50)
    assert len(kit.after(60)) == 2
    assert UNKEPT not in kit.after(1)


HALF = {"boot": "", "elapsed_s": 0, "wall_s": 0, "trusted": True, "running": [{}], "ringing": []}


@pytest.mark.parametrize("kept", [{}, [], "x", {"boot": 1}, HALF])
def test_what_cannot_be_read_is_left_alone(kept):
    clocks = Clocks()
    assert len(Timers(clocks, None, kept)) == 0
