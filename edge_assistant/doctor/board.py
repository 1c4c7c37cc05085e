"""The machine: memory, disk, heat, supply, clock."""

import os
import re
from collections.abc import Iterator
from datetime import datetime

from edge_assistant.doctor.finding import Finding, Patient, Verdict
from edge_assistant.health import RULES, TOO_HOT, Board
from edge_assistant.machine import read_machine
from edge_assistant.models import models_folder
from edge_assistant.places import state_folder

SPARE_BYTES = 256 << 20
"""Memory that sound, voice and the rest of the system want beside the model."""
LEAST_DISK_BYTES, LOW_DISK_BYTES = 16 << 20, 256 << 20
EARLIEST_YEAR, LATEST_YEAR = 2025, 2100
"""A clock that says another year has never been set."""
FLAT_UV = 2_000_000
"""A cell of 3 V gives less only when it is empty, or not there."""
_BEFORE_HOT_C = 7
_SINCE_BOOT = {16: "under-voltage", 17: "a capped frequency", 18: "throttling", 19: "the soft limit of temperature"}
"""Bits of the firmware's `get_throttled`: what has happened since the machine was started."""


def check_memory(patient: Patient, model_bytes: int, *, running: bool) -> Iterator[Finding]:
    """Is there room for a model of this size? `running`: the service has taken its own already."""
    machine = read_machine(models_folder(), patient.root)
    looked = "/proc/meminfo, /sys/fs/cgroup/memory.max"
    if not machine.memory_bytes or machine.available_bytes is None:
        yield Finding("memory", Verdict.ABSENT, looked, "the kernel does not tell")
        return
    need = model_bytes + SPARE_BYTES
    found = f"{_size(machine.available_bytes)} of {_size(machine.memory_bytes)} to be had, the model takes {_size(model_bytes)}"
    if machine.memory_bytes < need:
        yield Finding("memory", Verdict.FAULT, looked, found, "take a smaller model: `edge-assistant advise` names it")
    elif machine.available_bytes < (SPARE_BYTES if running else need):
        yield Finding("memory", Verdict.WARNING, looked, found, "end what else runs here, or take a smaller model")
    else:
        yield Finding("memory", Verdict.WELL, looked, found)


def check_disk(patient: Patient) -> Iterator[Finding]:
    """Is there room for what is kept, and may it be written?"""
    folder = state_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    looked = str(folder)
    free = read_machine(folder, patient.root).disk_bytes or 0
    if not os.access(there, os.W_OK):
        yield Finding(
            "disk", Verdict.WARNING, looked, f"{there} cannot be written: timers do not outlive a restart",
            "mount it writable, or see that this user may write it",
        )  # fmt: skip
    elif free < LOW_DISK_BYTES:
        verdict = Verdict.FAULT if free < LEAST_DISK_BYTES else Verdict.WARNING
        yield Finding("disk", verdict, looked, f"{_size(free)} free", "remove what is not needed: `edge-assistant models list`")
    else:
        yield Finding("disk", Verdict.WELL, looked, f"{_size(free)} free, and it can be written")


def check_heat_and_supply(patient: Patient) -> Iterator[Finding]:
    """Is it cool, and is the supply strong enough: now, and since the machine was started?"""
    board = Board(patient.root)
    reading = board.read()
    hot_c = next(rule.begins for rule in RULES if rule.condition == TOO_HOT)
    looked = "/sys/class/thermal"
    cooler = "give it a heat sink or a fan, and air"
    if reading.temperature_c is None:
        yield Finding("temperature", Verdict.ABSENT, looked, "no sensor")
    else:
        verdict = Verdict.WARNING if reading.temperature_c >= hot_c - _BEFORE_HOT_C else Verdict.WELL
        found = f"{reading.temperature_c:.0f} °C; from {hot_c:.0f} °C on replies are brief"
        yield Finding("temperature", verdict, looked, found, cooler if verdict is Verdict.WARNING else "")
    looked = "the firmware's get_throttled, /sys/class/hwmon (rpi_volt)"
    stronger = "use the supply that the board's maker sells, with its own short cable"
    since = [what for bit, what in _SINCE_BOOT.items() if (board.firmware() or 0) >> bit & 1]
    if reading.low_voltage is None and reading.throttled is None:
        yield Finding("supply", Verdict.ABSENT, looked, "this board does not tell")
    elif reading.low_voltage:
        yield Finding("supply", Verdict.FAULT, looked, "under-voltage now", stronger)
    elif reading.throttled:
        yield Finding("supply", Verdict.WARNING, looked, "throttled by heat now", cooler)
    elif since:
        mend = stronger if _SINCE_BOOT[16] in since else cooler
        yield Finding("supply", Verdict.WARNING, looked, f"well now; since it was started: {', '.join(since)}", mend)
    else:
        yield Finding("supply", Verdict.WELL, looked, "no under-voltage, no throttling, since it was started")


def check_clock(patient: Patient, now: datetime | None = None) -> Iterator[Finding]:
    """Can the time of day be trusted? `now`: of this machine, if not given."""
    now = now or datetime.now()
    clocks = sorted(path.name for path in patient.root.glob("sys/class/rtc/rtc*") if not _is_flat(patient, path.name))
    synchronised = (patient.root / "run/systemd/timesync/synchronized").exists() or _chrony(patient)
    sources = [*clocks, *(["set by the network"] if synchronised else [])]
    looked = "the year, /sys/class/rtc and its battery, /run/systemd/timesync, chronyc"
    set_it = "set it: sudo date -s '2026-01-31 12:34'"
    if not EARLIEST_YEAR <= now.year <= LATEST_YEAR:
        yield Finding("clock", Verdict.FAULT, looked, f"it says {now:%Y-%m-%d}: it was never set", set_it)
    elif not sources:
        yield Finding(
            "clock", Verdict.WARNING, looked, f"{now:%Y-%m-%d %H:%M}, but nothing keeps it while the power is off",
            f"fit a clock with a battery; until then, after each start {set_it}",
        )  # fmt: skip
    else:
        yield Finding("clock", Verdict.WELL, looked, f"{now:%Y-%m-%d %H:%M}, {', '.join(sources)}")


def _is_flat(patient: Patient, clock: str) -> bool:
    """A Raspberry Pi 5 has a clock, and no battery unless one was fitted; others do not tell."""
    microvolts = patient.read(f"sys/class/rtc/{clock}/battery_voltage").strip()
    return microvolts.isdigit() and int(microvolts) < FLAT_UV


def _chrony(patient: Patient) -> bool:
    return re.search(r"^Leap status\s*: Normal$", patient.run(("chronyc", "-n", "tracking")), re.MULTILINE) is not None


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
