"""How the machine is: heat, battery, power supply, disk, memory, and how long it runs. Read from files of the kernel's."""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_assistant.health import Board, Reading
from edge_assistant.prompt import Value
from edge_assistant.tools.contract import Result, Tool, ToolError, tool
from edge_assistant.tools.schedule import spoken_duration

What = Literal["all", "temperature", "battery", "power", "disk", "memory", "uptime", "volume"]
NO_SENSOR = "no sensor"


@dataclass(frozen=True, slots=True)
class Battery:
    """One that feeds this machine: its own, or an uninterruptible power supply."""

    percent: int
    """0 to 100."""
    charging: bool | None
    """None if it does not say."""


def read_batteries(root: Path = Path("/")) -> list[Battery]:
    """Those that the kernel knows. One on the I²C bus is there once its driver is loaded (`dtoverlay=i2c-sensor,max17040`)."""
    found: list[Battery] = []
    for folder in sorted(root.glob("sys/class/power_supply/*")):
        if _read(folder / "type") not in ("Battery", "UPS") or _read(folder / "scope") == "Device":  # that is a mouse's
            continue
        percent = _percent(folder)
        if percent is not None:
            state = _read(folder / "status")
            charging = {"Charging": True, "Full": True, "Discharging": False, "Not charging": False}.get(state)
            found.append(Battery(percent, charging))
    return found


def _percent(folder: Path) -> int | None:
    if (share := _number(folder / "capacity")) is not None:
        return min(max(share, 0), 100)
    for kind in ("charge", "energy"):
        now, full = _number(folder / f"{kind}_now"), _number(folder / f"{kind}_full")
        if now is not None and full:
            return min(max(round(100 * now / full), 0), 100)
    return None


class Machine:
    """This one, or a folder that looks like it."""

    def __init__(self, root: Path = Path("/"), folder: Path | None = None, board: Callable[[], Reading] | None = None) -> None:
        """`folder` is on the disk that is asked for; None takes the root."""
        self._root, self._folder = root, folder or root
        self._board = board or Board(root).read

    def read(self, what: What, volume: Callable[[], int] | None = None) -> Result:
        """Raises ToolError if nothing here tells."""
        match what:
            case "all":
                return self._all()
            case "temperature":
                degrees = self._degrees()
                return Result({"temperature_celsius": degrees}, f"The temperature is {degrees} degrees.")
            case "battery":
                percent = self._battery().percent
                return Result({"battery_percent": percent}, f"The battery is at {percent} percent.")
            case "power":
                return self._power()
            case "disk":
                return self._disk()
            case "memory":
                used = self._board().memory_used
                if used is None:
                    raise ToolError(NO_SENSOR)
                return Result({"used_percent": round(100 * used)}, f"{round(100 * used)} percent of the memory are in use.")
            case "uptime":
                seconds = re.match(r"\d+", _read(self._root / "proc/uptime"))
                if not seconds:
                    raise ToolError(NO_SENSOR)
                words = _long(int(seconds[0]))
                return Result({"uptime": words}, f"I have been running for {words}.")
            case "volume":
                if volume is None:
                    raise ToolError("no loudspeaker")
                return Result({"volume_percent": volume()}, f"The volume is at {volume()} percent.")

    def _all(self) -> Result:
        values: dict[str, Value] = {}
        said: list[str] = []
        for what in ("battery", "temperature"):
            try:
                one = self.read(what)
            except ToolError:
                continue
            values |= one.values
            said.append(one.text)
        if not values:
            raise ToolError(NO_SENSOR)
        return Result(values, " ".join(said))

    def _degrees(self) -> int:
        degrees = self._board().temperature_c
        if degrees is None:
            raise ToolError(NO_SENSOR)
        return round(degrees)

    def _battery(self) -> Battery:
        batteries = read_batteries(self._root)
        if not batteries:
            raise ToolError("no battery")
        return min(batteries, key=lambda each: each.percent)

    def _power(self) -> Result:
        reading = self._board()
        charging = next((each.charging for each in read_batteries(self._root) if each.charging is not None), None)
        facts: Mapping[str, tuple[bool | None, str, str]] = {
            "supply_too_weak": (reading.low_voltage, "The power supply is too weak.", "The power supply is strong enough."),
            "slowed_by_heat": (reading.throttled, "The processor is slowed down by heat.", ""),
            "charging": (charging, "The battery is being charged.", "The battery is not being charged."),
        }
        values: dict[str, Value] = {name: value for name, (value, _, _) in facts.items() if value is not None}
        if not values:
            raise ToolError(NO_SENSOR)
        said = [yes if value else no for value, yes, no in facts.values() if value is not None]
        return Result(values, " ".join(sentence for sentence in said if sentence))

    def _disk(self) -> Result:
        there = next((path for path in (self._folder, *self._folder.parents) if path.exists()), self._root)
        try:
            usage = shutil.disk_usage(there)
        except OSError as error:
            raise ToolError("the disk does not answer") from error
        free = usage.free / 1e9
        words = f"{free:.0f}" if free >= 10 else f"{free:.1f}"
        return Result({"free_gigabytes": round(free, 1)}, f"{words} gigabytes of the disk are free.")


def status_tools(machine: Machine, volume: Callable[[], int] | None = None) -> list[Tool]:
    """`get_status`. `volume` tells how loud the assistant speaks, in percent."""

    def get_status(what: What = "all") -> Result:
        """How this machine is. Changes nothing.

        Args:
            what: What of it.
        """
        return machine.read(what, volume)

    return [tool(get_status)]


def _long(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    if not days:
        return spoken_duration(max(seconds, 1))
    hours = rest // 3600
    parts = [(days, "day"), (hours, "hour")]
    return " and ".join(f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n)


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
