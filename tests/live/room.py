"""A room on a PulseAudio server. User and loudspeaker are recorded on one clock: left what the user says, right the reply."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from server import Server

RATE = 48_000
Sound = NDArray[np.float32]
LEFT, RIGHT = "front-left", "front-right"


class Room(Server):
    """Devices of the assistant: source `mic`, sink `speaker`. The user speaks into the sink `user`."""

    def furnish(self) -> None:
        """Bring in the furniture."""
        self.pactl(
            "load-module", "module-null-sink", "sink_name=air", f"rate={RATE}", "channels=2", f"channel_map={LEFT},{RIGHT}"
        )
        self.plug("user")
        self.plug("speaker")
        self.plug("mic")
        self.pactl("set-default-sink", "speaker")
        self.pactl("set-default-source", "mic")

    def plug(self, name: str) -> None:
        """Plug a device in."""
        side = RIGHT if name == "speaker" else LEFT
        kind, master = ("source", "air.monitor") if name == "mic" else ("sink", "air")
        self._devices[name] = self.pactl(
            "load-module", f"module-remap-{kind}", f"{kind}_name={name}", f"master={master}", "channels=1", "channel_map=mono",
            f"master_channel_map={side}", "remix=no",
        )  # fmt: skip

    @contextmanager
    def echo(self, level: float, latency_ms: int) -> Iterator[None]:
        """Meanwhile the microphone hears the loudspeaker too, from the walls, at this part of its level."""
        self._devices["ear"] = self.pactl(
            "load-module", "module-remap-source", "source_name=ear", "master=air.monitor", "channels=1", "channel_map=mono",
            f"master_channel_map={RIGHT}", "remix=no",
        )  # fmt: skip
        form = f"--raw --format=s16le --rate={RATE} --channels=1 --latency-msec={latency_ms}"
        walls = f"{sys.executable} {Path(__file__).with_name('walls.py')} {level}"
        command = f"parec --device=ear {form} | {walls} | pacat --playback --device=user {form}"
        process = subprocess.Popen(["bash", "-c", command], start_new_session=True)
        time.sleep(1.5)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.unplug("ear")

    def say(self, pcm: Sound, rate_hz: int) -> "subprocess.Popen[bytes]":
        """Begin to say something; shape [samples]."""
        process = subprocess.Popen(
            ["pacat", "--playback", "--raw", "--device=user", "--format=float32le", f"--rate={rate_hz}", "--channels=1",
             "--latency-msec=30"], stdin=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(pcm.astype("<f4").tobytes())
        process.stdin.close()
        return process

    @contextmanager
    def tape(self, path: Path) -> Iterator["Tape"]:
        """Record both sides."""
        with path.open("wb") as file:
            process = subprocess.Popen(
                [
                    "parec",
                    "--raw",
                    "--device=air.monitor",
                    "--format=s16le",
                    f"--rate={RATE}",
                    "--channels=2",
                    "--latency-msec=20",
                ],
                stdout=file,
            )
        tape = Tape(path)
        try:
            while not path.stat().st_size:
                time.sleep(0.01)
            yield tape
        finally:
            process.kill()
            process.wait()


class Tape:
    """A recording, also while it is made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def seconds(self) -> float:
        """So far."""
        return self._path.stat().st_size / 4 / RATE

    def read(self, begin_s: float = 0.0, end_s: float | None = None) -> tuple[Sound, Sound]:
        """The user's side and the assistant's, shape [samples] each."""
        begin, end = (None if at is None else round(at * RATE) * 4 for at in (begin_s, end_s))
        with self._path.open("rb") as file:
            file.seek(begin or 0)
            raw = file.read() if end is None else file.read(max(0, end - (begin or 0)))
        both = np.frombuffer(raw[: len(raw) // 4 * 4], "<i2").reshape(-1, 2).astype(np.float32) / 32768
        return both[:, 0], both[:, 1]


def first_sound(pcm: Sound, level: float) -> int | None:
    """The first sample that is louder."""
    loud = np.flatnonzero(np.abs(pcm) > level)
    return int(loud[0]) if len(loud) else None


def last_sound(pcm: Sound, level: float) -> int | None:
    """The last sample that is louder."""
    loud = np.flatnonzero(np.abs(pcm) > level)
    return int(loud[-1]) if len(loud) else None
