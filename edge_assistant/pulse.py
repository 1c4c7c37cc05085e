"""PulseAudio, and PipeWire in its clothes: what the server has, and streams to and from it.

Streams go through libpulse's simple interface. ALSA's `pulse` device under PortAudio would be one library less, but when the
server went away PortAudio 19.6 spun at a whole core, filled stderr and could not be stopped.
"""

import ctypes
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edge_assistant.errors import DeviceError
from edge_assistant.streams import LISTENING, SPEAKING, Heard, Pace, Play

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


class _SampleSpec(ctypes.Structure):
    _fields_ = [("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8)]


class _BufferAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")]


FLOAT32LE = 5
ANY = 0xFFFFFFFF
"""The server's choice."""


class PulseStream:
    """One stream, with a thread of its own that waits for the server."""

    def __init__(self, way: Direction, port: str, rate_hz: int, channels: int) -> None:
        """Connect to a port by name.

        Raises:
            DeviceError: it does not open.
        """
        self.rate_hz, self.channels = rate_hz, channels
        self.ended = False
        self._wanted = True
        self._lib = _libpulse()
        self._held_s = way.pace.held_ms / 1000
        self._bytes = 4 * channels * way.pace.samples(rate_hz)
        spec = _SampleSpec(FLOAT32LE, rate_hz, channels)
        # The server leaves half of what goes beyond two blocks to the device: if nothing does, both run as fast as they can.
        target = 4 * channels * (rate_hz * way.pace.held_ms // 1000)
        attr = _BufferAttr(ANY, target, ANY, self._bytes, self._bytes)
        fault = ctypes.c_int(0)
        self._simple: Any = self._lib.pa_simple_new(
            None, b"edge-assistant", way.stream, port.encode(), b"edge-assistant",
            ctypes.byref(spec), None, ctypes.byref(attr), ctypes.byref(fault),
        )  # fmt: skip
        if not self._simple:
            strerror = ctypes.CDLL("libpulse.so.0").pa_strerror
            strerror.restype = ctypes.c_char_p
            reason = strerror(fault).decode()
            raise DeviceError(f"pulse:{port} does not open ({reason})", "edge-assistant devices lists what is there")

    @classmethod
    def capture(cls, port: str, rate_hz: int, channels: int, heard: Heard) -> "PulseStream":
        """Hear what a source gives. Raises DeviceError."""
        stream = cls(CAPTURE, port, rate_hz, channels)
        stream._start(lambda: stream._read(heard))
        return stream

    @classmethod
    def playback(cls, port: str, rate_hz: int, play: Play) -> "PulseStream":
        """Play into a sink. Raises DeviceError."""
        stream = cls(PLAYBACK, port, rate_hz, 1)
        stream._start(lambda: stream._write(play))
        return stream

    @property
    def latency_s(self) -> float:
        """Sound under way between us and the device; asked on the stream's own thread, it is what the server says."""
        if threading.current_thread() is not self._thread:
            return self._held_s  # the server may keep an answer waiting, and the stream may end meanwhile
        return self._lib.pa_simple_get_latency(self._simple, None) / 1e6

    def close(self) -> None:
        """Nothing is heard or played from here on. A thread that the server keeps waiting is left to itself, and then ends."""
        self._wanted = False
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=0.3)

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            work()
            self.ended = True
            self._lib.pa_simple_free(self._simple)

        self._thread = threading.Thread(target=run, name="pulse", daemon=True)
        self._thread.start()

    def _read(self, heard: Heard) -> None:
        buffer = ctypes.create_string_buffer(self._bytes)
        while self._wanted and self._lib.pa_simple_read(self._simple, buffer, self._bytes, None) >= 0:
            if self._wanted:
                heard(np.frombuffer(buffer.raw, np.float32).reshape(-1, self.channels), self.rate_hz, False)

    def _write(self, play: Play) -> None:
        samples = self._bytes // 4
        while self._wanted:
            block = np.ascontiguousarray(play(samples), np.float32).tobytes()
            if self._lib.pa_simple_write(self._simple, block, self._bytes, None) < 0:
                return


@cache
def _libpulse() -> Any:
    try:
        lib = ctypes.CDLL("libpulse-simple.so.0")
    except OSError as error:
        raise DeviceError("libpulse is missing", "apt install libpulse0") from error
    pointer = ctypes.c_void_p
    lib.pa_simple_new.restype = pointer
    lib.pa_simple_new.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p] + 4 * [
        pointer
    ]
    lib.pa_simple_read.argtypes = lib.pa_simple_write.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t, pointer]
    lib.pa_simple_get_latency.restype = ctypes.c_uint64
    lib.pa_simple_get_latency.argtypes = [pointer, pointer]
    lib.pa_simple_free.restype = None
    lib.pa_simple_free.argtypes = [pointer]
    return lib


def _parse_port(entry: str) -> Port:
    """What stands behind `Source #`."""
    fields = _fields(entry)
    _, channels, rate = fields["Sample Specification"].split()
    index, name = int(entry.split(maxsplit=1)[0]), fields["Name"]
    return Port(index, name, fields.get("Description", ""), int(rate.removesuffix("Hz")), int(channels.removesuffix("ch")))


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
