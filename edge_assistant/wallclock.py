"""The computer's clocks, and whether the one on the wall can be trusted.

A Raspberry Pi without a clock battery boots in the past, and nobody tells it the time where there is no network. So what lasts a
while is measured by the time since boot, sleep included, and the wall is asked only for hours of the day, and across reboots.
"""

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""
RTC_TOLERANCE_S = 60.0
LOOK_S = 1.0
"""How often to look at what seldom changes."""


@dataclass(frozen=True, slots=True)
class Now:
    """What every clock says."""

    elapsed_s: float
    """Since boot; goes on in sleep, and is never set."""
    boot: str
    """Names the boot; "" if nobody knows."""
    wall_s: float
    """Since 1970, UTC, as far as anybody knows."""
    local: datetime
    """The same on a clock on the wall; without a zone."""
    trusted: bool
    """Something keeps the clock right: a time server, or a clock with a battery."""


Clock = Callable[[], Now]


class SystemClock:
    """This computer's."""

    def __init__(self, proc: Path = Path("/proc"), rtc: Path = Path("/sys/class/rtc/rtc0")) -> None:
        self._rtc = rtc
        self._boot = _text(proc / "sys/kernel/random/boot_id")
        self._trusted, self._looked_s = False, -LOOK_S

    def __call__(self) -> Now:
        """Look at every clock."""
        elapsed_s, wall_s = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        if elapsed_s - self._looked_s >= LOOK_S:
            self._looked_s = elapsed_s
            time.tzset()  # the zone may have been changed
            self._trusted = synchronised() or self._battery_agrees(wall_s)
        return Now(elapsed_s, self._boot, wall_s, datetime.fromtimestamp(wall_s), self._trusted)

    def _battery_agrees(self, wall_s: float) -> bool:
        """One without a battery starts in 1970; whoever puts the clock right after that leaves it there."""
        since = _text(self._rtc / "since_epoch")
        return since.isdigit() and abs(int(since) - wall_s) < RTC_TOLERANCE_S


def synchronised() -> bool:
    """Does the kernel say that a time server keeps its clock right?"""
    try:
        return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) not in (UNSYNCHRONISED, -1)
    except (AttributeError, OSError):
        return False


def counted_clock(elapsed_s: Callable[[], float], local: Callable[[], datetime]) -> Clock:
    """A clock for a conversation that keeps no state: time is what the caller counts."""
    return lambda: Now(elapsed_s(), "", local().timestamp(), local(), True)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
