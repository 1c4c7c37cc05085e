"""What it hears and speaks with: devices, permissions, level, voice."""

import grp
import os
import queue
import stat
from collections.abc import Generator, Iterator
from pathlib import Path

from edge_assistant.devices import Kind, choose_device, find_devices, only_zeros
from edge_assistant.doctor.finding import Finding, Patient, Verdict, fault
from edge_assistant.errors import DeviceError, EdgeAssistantError
from edge_assistant.frames import FRAME_MS, Frame
from edge_assistant.meter import SILENT_DB, Meter, advice
from edge_assistant.microphone import Microphone
from edge_assistant.saying import say_aloud
from edge_assistant.voice import find_voice

LISTEN_MS = 2000
WAKE_MS = 5000
"""A device that slept may take so long until it delivers."""
SETTLE_MS = 300
"""Of what is heard first nothing counts: a device that is switched on clicks."""
QUIET_DB = -45
"""In a quiet room nothing is louder: that is no fault of the microphone's."""
SAID = "This is how I sound."


def check_permissions(patient: Patient) -> Iterator[Finding]:
    """May the service, or where it does not run this user, use the sound cards, and the pins that are configured?"""
    sound = sorted(patient.root.glob("dev/snd/pcm*"))
    yield _permission(patient, "group audio", sound, "/dev/snd", "no sound card")
    if patient.pins:
        yield _permission(patient, "group gpio", sorted(patient.root.glob("dev/gpiochip*")), "/dev/gpiochip*", "no pins here")


def _permission(patient: Patient, check: str, nodes: list[Path], looked: str, none: str) -> Finding:
    if not nodes:
        return Finding(check, Verdict.ABSENT, looked, none)
    pid = patient.service_pid
    whose = "the service" if pid else "this user"
    user, mend = ("edge-assistant", "start it again") if pid else ("$USER", "log in again")
    closed = [node for node in nodes if not (_may_service(patient, node) if pid else os.access(node, os.R_OK | os.W_OK))]
    if not closed:
        return Finding(check, Verdict.WELL, looked, f"{whose} may use all {len(nodes)}")
    group = _group(closed[0]) or check.removeprefix("group ")
    found = f"{whose} may not use {', '.join(node.name for node in closed)}"
    return Finding(check, Verdict.FAULT, looked, found, f"sudo usermod -aG {group} {user}, then {mend}")


def _may_service(patient: Patient, node: Path) -> bool:
    """By the user and the groups of its process."""
    words = [line.split() for line in patient.read(f"proc/{patient.service_pid}/status").splitlines()]
    told = {parts[0]: parts[1:] for parts in words if parts}
    user, groups, status = told.get("Uid:", ["", ""])[1], told.get("Groups:", []), node.stat()
    if user in ("0", str(status.st_uid)):
        return user == "0" or status.st_mode & 0o600 == 0o600
    return status.st_mode & 0o006 == 0o006 or (str(status.st_gid) in groups and status.st_mode & 0o060 == 0o060)


def _group(node: Path) -> str:
    try:
        status = node.stat()
        return grp.getgrgid(status.st_gid).gr_name if status.st_mode & stat.S_IRGRP else ""
    except (OSError, KeyError):
        return ""


def check_microphone(patient: Patient) -> Iterator[Finding]:
    """Is there one, and what does it give?"""
    name = patient.config.talk.microphone
    device = yield from _find("microphone", name)
    if not device or patient.quick:
        return
    looked = f"{device}, listened to for {LISTEN_MS / 1000:g} s"
    frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
    meter, loudest_db, reading = Meter(), SILENT_DB, None
    microphone = Microphone(device, frames.put)
    heard = first = 0  # frames that count; the number of the first one that the device delivered
    try:
        with microphone:
            while (frame := frames.get()) is not None and (frame.number - first) * FRAME_MS < (LISTEN_MS if first else WAKE_MS):
                if not microphone.used:
                    continue
                first = first or max(1, frame.number)
                if (frame.number - first) * FRAME_MS < SETTLE_MS:
                    continue
                heard += 1
                reading = meter.read(frame.number, frame.pcm, 0.0)
                loudest_db = max(loudest_db, reading.level_db)
    except DeviceError as error:
        yield _busy("microphone level", patient, looked, error)
        return
    if reading is None:
        yield Finding("microphone level", Verdict.FAULT, looked, "it delivers nothing", "unplug it and plug it in again")
        return
    told = f"{heard} frames, the loudest at {loudest_db:.0f} dB, the quietest tenth below {reading.floor_db:.0f} dB"
    told += f", {microphone.lost} lost" if microphone.lost else ""
    mend = advice(reading, loudest_db)
    if loudest_db <= SILENT_DB:
        yield fault("microphone level", looked, only_zeros(device))
    elif (mend and loudest_db >= QUIET_DB) or microphone.lost > heard // 10:
        yield Finding("microphone level", Verdict.WARNING, looked, told, mend or "it loses sound: try another USB port or hub")
    else:
        yield Finding("microphone level", Verdict.WELL, looked, told)


def check_loudspeaker(patient: Patient) -> Iterator[Finding]:
    """Is there one, and does it play what the voice says?"""
    name = patient.config.talk.loudspeaker
    device = yield from _find("loudspeaker", name)
    if not device or patient.quick:
        return
    looked = f"{device}, spoken through"
    try:
        say_aloud(SAID, find_voice(patient.config.talk.voice), device)
    except DeviceError as error:
        yield _busy("loudspeaker sound", patient, looked, error)
    except EdgeAssistantError:
        return  # the voice has a check of its own
    else:
        yield Finding("loudspeaker sound", Verdict.WELL, looked, f"it played “{SAID}”: if you did not hear it, turn it up")


def _find(kind: Kind, name: str) -> Generator[Finding, None, str]:
    """Tells of it; returns its stable name, "" if it is not there."""
    looked = "the sound server, /proc/asound"
    try:
        device = choose_device(kind, name)
    except DeviceError as error:
        yield fault(kind, looked, error)
        return ""
    others = len([each for each in find_devices(kind) if each.real and each.name != device.name])
    chosen = "the default" if name == "default" else "as configured"
    yield Finding(kind, Verdict.WELL, looked, f"{device.name}, {chosen}" + (f"; {others} more" if others else ""))
    return device.name


def _busy(check: str, patient: Patient, looked: str, error: DeviceError) -> Finding:
    """A device that the service holds is no fault."""
    if patient.service_pid:
        return Finding(check, Verdict.WELL, looked, f"in use by the service ({error.what})")
    return fault(check, looked, error)
