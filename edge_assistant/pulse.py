"""PulseAudio, and PipeWire in its clothes: what the server has."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from edge_assistant.streams import LISTENING, SPEAKING, Pace

PATIENCE_S = 3
"""For an answer from the server."""


@dataclass(frozen=True, slots=True)
class Port:
    """A source or a sink."""

    index: int
    name: str
    description: str
    rate_hz: int
    channels: int
    hardware: bool = False
    muted: bool = False
    master: str = ""
    """The port that this one takes its sound from, where it is made of another."""

    @property
    def real(self) -> bool:
        """Sound comes in or goes out here: it is no monitor of a sink, and not the sink that stands in where there is none."""
        return not self.name.endswith(".monitor") and self.name != "auto_null"


@dataclass(frozen=True, slots=True)
class Direction:
    """What pactl and libpulse call things, one way."""

    ports: str
    default: str
    streams: str
    port: str
    stream: int
    """pa_stream_direction_t"""
    pace: Pace


CAPTURE = Direction("sources", "Default Source", "source-outputs", "Source", 2, LISTENING)
PLAYBACK = Direction("sinks", "Default Sink", "sink-inputs", "Sink", 1, SPEAKING)


def pactl(*arguments: str) -> str | None:
    """Ask the server; None if there is none, or no pactl."""
    program = shutil.which("pactl")
    if program is None:
        return None
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        asked = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, env=environment, check=False
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    return None if asked.returncode else asked.stdout


def find_ports(way: Direction) -> list[Port]:
    """What the server has; nothing if it does not run."""
    entries = re.split(rf"^{way.port} #", pactl("list", way.ports) or "", flags=re.MULTILINE)[1:]
    return [_parse_port(entry) for entry in entries]


def must_sound(source: str) -> bool:
    """Do zeros from this source mean that something is off? A program may well send silence, a converter does not, and what is
    muted is."""
    ports = {port.name: port for port in find_ports(CAPTURE)}
    while port := ports.pop(source, None):
        if port.hardware or port.muted:
            return True
        source = port.master
    return False


def find_default(way: Direction) -> str:
    """The name of the server's default; "" if there is none."""
    return _fields(pactl("info") or "").get(way.default, "")


def find_attached(way: Direction, process: int) -> str:
    """The port that this process's stream is attached to now, wherever the server has moved it; "" if there is none."""
    names = {str(port.index): port.name for port in find_ports(way)}
    attached = ""
    for entry in (pactl("list", way.streams) or "").split("\n\n"):
        fields = _fields(entry)
        if fields.get("application.process.id", "").strip('"') == str(process) and "edge-assistant" in entry:
            attached = names.get(fields.get(way.port, ""), "")
    return attached


def subscribe() -> "subprocess.Popen[str] | None":
    """A process that writes a line for every change at the server, and ends with it."""
    program = shutil.which("pactl")
    if program is None:
        return None
    return subprocess.Popen(
        [program, "subscribe"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )


def _parse_port(entry: str) -> Port:
    """What stands behind `Source #`."""
    fields = _fields(entry)
    _, channels, rate = fields["Sample Specification"].split()
    index, name = int(entry.split(maxsplit=1)[0]), fields["Name"]
    volume = fields.get("Volume", "")
    return Port(
        index,
        name,
        fields.get("Description", ""),
        int(rate.removesuffix("Hz")),
        int(channels.removesuffix("ch")),
        hardware="HARDWARE" in fields.get("Flags", "").split(),
        muted=fields.get("Mute") == "yes" or ("%" in volume and not re.search(r"[1-9]\d*%", volume)),
        master=fields.get("device.master_device", "").strip('"'),
    )


def _fields(text: str) -> dict[str, str]:
    """`Key: value` and `key = value`, line by line."""
    pairs = list(_pairs(text))
    return dict(reversed(pairs))  # the first of a name counts


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        for mark in (": ", " = "):
            key, found, value = line.strip().partition(mark)
            if found:
                yield key, value
                break
