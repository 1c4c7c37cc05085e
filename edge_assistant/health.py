"""How the board is: heat, supply voltage, memory; and what follows from that. Read rarely, told once per onset.

| condition       | begins at                              | ends at    | what follows                                     |
|-----------------|----------------------------------------|------------|--------------------------------------------------|
| too hot         | 82 °C, or the firmware throttles       | 75 °C      | brief replies, guesses only late in a pause      |
| low voltage     | the firmware or its sensor says so     | it stops   | the same: a busy core draws the most             |
| short of memory | a fifth of the time waited for, 95 % used | 2 %, 90 % | the same; earlier turns go, their memory is freed |

Each ends only after a minute on the good side of its limit: a value that flaps is told once.
"""

import logging
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

EVERY_S = 10.0
"""Between two looks."""
CALM_LOOKS = 6
"""Good looks in a row that end a condition."""
_VCGENCMD_S = 2.0
_LOW_VOLTAGE, _THROTTLED, _SOFT_LIMIT = 1 << 0, 1 << 2, 1 << 3
"""Bits of the firmware's `get_throttled`: what is so now."""

TOO_HOT, LOW_VOLTAGE, SHORT_OF_MEMORY = "too hot", "low voltage", "short of memory"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read; None is what this board does not tell."""

    temperature_c: float | None = None
    """The hottest zone."""
    throttled: bool | None = None
    """The firmware slows the processor because of heat."""
    low_voltage: bool | None = None
    pressure: float | None = None
    """Percentage of the last ten seconds in which somebody had to wait for memory."""
    memory_used: float | None = None
    """Share of the memory that is neither free nor can be freed, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a condition begins, and below what it ends."""

    condition: str
    value: Callable[[Reading], float | None]
    begins: float
    ends: float


RULES = (
    Rule(TOO_HOT, lambda reading: reading.temperature_c, 82.0, 75.0),
    Rule(TOO_HOT, lambda reading: reading.throttled, 1, 0.5),
    Rule(LOW_VOLTAGE, lambda reading: reading.low_voltage, 1, 0.5),
    Rule(SHORT_OF_MEMORY, lambda reading: reading.pressure, 20.0, 2.0),
    Rule(SHORT_OF_MEMORY, lambda reading: reading.memory_used, 0.95, 0.90),
)

SAID = {
    TOO_HOT: "It is too hot here. I answer more briefly until it is cooler.",
    LOW_VOLTAGE: "The power supply is too weak. I answer more briefly.",
    SHORT_OF_MEMORY: "I am short of memory. I forget what we talked about earlier.",
}


@dataclass
class Health:
    """The conditions that hold. Pure: `step` is its only door."""

    conditions: frozenset[str] = frozenset()
    _holds: dict[int, int] = field(default_factory=dict[int, int])
    """Of each rule that holds, the good looks in a row."""

    def step(self, reading: Reading) -> frozenset[str]:
        """Take a reading; return the conditions that have begun with it."""
        for number, rule in enumerate(RULES):
            value = rule.value(reading)
            if value is not None and value >= rule.begins:
                self._holds[number] = 0
            elif number in self._holds and (value is None or value < rule.ends):
                self._holds[number] += 1
                if self._holds[number] >= CALM_LOOKS:
                    del self._holds[number]
            elif number in self._holds:
                self._holds[number] = 0
        before, self.conditions = self.conditions, frozenset(RULES[number].condition for number in self._holds)
        return self.conditions - before


class Board:
    """Reads how this board is, from files; the firmware's tool is asked only where no file tells."""

    def __init__(self, root: Path = Path("/"), vcgencmd: str | None = None) -> None:
        """`vcgencmd` is that tool; None looks for it."""
        self._root = root
        self._zones = sorted(root.glob("sys/class/thermal/thermal_zone*/temp"))
        self._throttled = next(root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled"), None)
        sensors = [path.parent for path in root.glob("sys/class/hwmon/hwmon*/name") if _read(path).strip() == "rpi_volt"]
        self._alarm = sensors[0] / "in0_lcrit_alarm" if sensors else None
        self._vcgencmd = None if self._throttled else vcgencmd or shutil.which("vcgencmd")
        group = re.search(r"^0::(/.+)$", _read(root / "proc/self/cgroup"), re.MULTILINE)
        own = [root / "sys/fs/cgroup" / group[1].lstrip("/") / "memory.pressure"] if group else []
        self._pressures = [root / "proc/pressure/memory", *own]

    def read(self) -> Reading:
        """How it is now."""
        bits = self.firmware()
        alarm = _read(self._alarm).strip() if self._alarm else ""
        low = None if bits is None and not alarm else alarm == "1" or bool((bits or 0) & _LOW_VOLTAGE)
        hot = None if bits is None else bool(bits & _SOFT_LIMIT) or bool(bits & _THROTTLED and not bits & _LOW_VOLTAGE)
        zones = [_read(zone).strip() for zone in self._zones]
        return Reading(
            temperature_c=max((int(zone) / 1000 for zone in zones if zone.lstrip("-").isdigit()), default=None),
            throttled=hot,
            low_voltage=low,
            pressure=self._pressure(),
            memory_used=self._memory_used(),
        )

    def firmware(self) -> int | None:
        """The bits of its `get_throttled`; None if it does not tell."""
        text = _read(self._throttled) if self._throttled else self._ask()
        found = re.search(r"(?:0x)?([0-9a-f]+)\s*$", text)
        return int(found[1], 16) if found else None

    def _ask(self) -> str:
        if self._vcgencmd is None:
            return ""
        try:
            command = [self._vcgencmd, "get_throttled"]
            asked = subprocess.run(command, capture_output=True, text=True, timeout=_VCGENCMD_S, check=False)
        except subprocess.TimeoutExpired:
            return ""  # a busy board: the next time, perhaps
        except OSError:
            asked = None
        if asked is None or asked.returncode:
            self._vcgencmd = None  # not for this user: it would not be otherwise the next time
            return ""
        return asked.stdout

    def _pressure(self) -> float | None:
        found = [re.search(r"^some avg10=([\d.]+)", _read(path)) for path in self._pressures]
        return max((float(each[1]) for each in found if each), default=None)

    def _memory_used(self) -> float | None:
        sizes = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", _read(self._root / "proc/meminfo"), re.MULTILINE))
        return 1 - int(sizes["MemAvailable"]) / int(sizes["MemTotal"]) if len(sizes) == 2 else None


class HealthWatch:
    """Looks every few seconds, on a thread of its own."""

    def __init__(
        self,
        changed: Callable[[frozenset[str], frozenset[str]], None],
        read: Callable[[], Reading] | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        """`changed` is told, on that thread, the conditions that hold now, and which of them have just begun."""
        self._changed, self._read, self._every_s = changed, read or Board().read, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        health = Health()
        while not self._stop.wait(self._every_s):
            before = health.conditions
            reading = self._read()
            begun = health.step(reading)
            if health.conditions != before:
                log.warning("the board is %s (%s)", " and ".join(sorted(health.conditions)) or "well again", _told(reading))
                self._changed(health.conditions, begun)


def _told(reading: Reading) -> str:
    parts = [
        "" if reading.temperature_c is None else f"{reading.temperature_c:.0f} °C",
        "throttled" if reading.throttled else "",
        "under-voltage" if reading.low_voltage else "",
        "" if reading.pressure is None else f"memory pressure {reading.pressure:.0f} %",
        "" if reading.memory_used is None else f"memory used {100 * reading.memory_used:.0f} %",
    ]
    return ", ".join(part for part in parts if part)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
