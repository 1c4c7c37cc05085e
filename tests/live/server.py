"""A PulseAudio server of our own with virtual devices: what is plugged and unplugged here is a loaded module."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

INSTALLED = all(shutil.which(name) for name in ("pulseaudio", "pactl", "parec", "pacat"))

# A null sink hears for two seconds nothing after it was made: those that stand behind the devices stay when these are unplugged.
ROOM = "module-null-sink sink_name={room} rate={rate_hz} channels={channels} format=s16le"
MICROPHONE = "module-remap-source source_name={name} master={room}.monitor"
SPEAKER = "module-remap-sink sink_name={name} master={room} remix=no"


class Server:
    """Started on entering, stopped on leaving; `environment` is what its clients need, and set in this process meanwhile."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ea-pulse-"))
        self._devices: dict[str, str] = {}
        """Modules by the names of the devices that they are."""
        self._rooms: set[str] = set()
        self._before: dict[str, str | None] = {}
        self._process: subprocess.Popen[bytes] | None = None
        runtime = self._folder / "pulse"
        self.environment = {
            "XDG_RUNTIME_DIR": str(self._folder),
            "PULSE_RUNTIME_PATH": str(runtime),
            "PULSE_STATE_PATH": str(runtime),
            "PULSE_COOKIE": str(runtime / "cookie"),
            "PULSE_SERVER": f"unix:{runtime}/native",
            "XDG_STATE_HOME": str(self._folder / "state"),  # nobody's timers ring here, nor ours elsewhere
        }
        runtime.mkdir()

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        for key, value in self.environment.items():
            self._before[key] = os.environ.get(key)
            os.environ[key] = value
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, with no device but the null sink that it always has."""
        environment = {k: v for k, v in os.environ.items() if k != "PULSE_SERVER"}
        socket = self.environment["PULSE_SERVER"].removeprefix("unix:")
        self._process = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--realtime=no", "--high-priority=no",
             "-L", f"module-native-protocol-unix auth-anonymous=1 socket={socket}", "-L", "module-always-sink"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while subprocess.run(["pactl", "info"], capture_output=True, check=False).returncode:
            assert self._process.poll() is None, "pulseaudio does not start"
            assert time.monotonic() < deadline, "pulseaudio does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._devices.clear()
        self._rooms.clear()

    def plug_microphone(self, name: str = "mic", rate_hz: int = 16_000, channels: int = 1) -> None:
        """A microphone that hears what is played into `NAME_pipe`."""
        self._plug(MICROPHONE, name, f"{name}_pipe", rate_hz, channels)

    def plug_speaker(self, name: str = "speaker", rate_hz: int = 48_000, channels: int = 2) -> None:
        """A loudspeaker that is heard at `NAME_room.monitor`, unplugged or not."""
        self._plug(SPEAKER, name, f"{name}_room", rate_hz, channels)

    def unplug(self, name: str) -> None:
        """Take a device away; what stands behind it stays."""
        self.pactl("unload-module", self._devices.pop(name))

    def _plug(self, module: str, name: str, room: str, rate_hz: int, channels: int) -> None:
        if room not in self._rooms:
            self._rooms.add(room)
            self.pactl("load-module", *ROOM.format(room=room, rate_hz=rate_hz, channels=channels).split())
        self._devices[name] = self.pactl("load-module", *module.format(name=name, room=room).split())

    def pactl(self, *arguments: str) -> str:
        """Ask the server something."""
        return subprocess.run(["pactl", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    @contextlib.contextmanager
    def playing(self, pcm: np.ndarray, rate_hz: int, device: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Play float32 sound (shape [samples] or [samples, channels]) into a sink, meanwhile.

        A tenth of a second of silence goes before it: a null sink swallows the first milliseconds of a stream.
        """
        channels = 1 if pcm.ndim == 1 else pcm.shape[1]
        pcm = np.concatenate([np.zeros((rate_hz // 10, *pcm.shape[1:]), np.float32), pcm])
        path = self._folder / f"{device}.raw"
        path.write_bytes(np.round(np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())
        with path.open("rb") as file:
            process = subprocess.Popen(
                ["pacat", "--playback", "--raw", f"--device={device}", "--format=s16le", f"--rate={rate_hz}",
                 f"--channels={channels}", "--latency-msec=50"], stdin=file,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def recording(self, source: str, rate_hz: int) -> Iterator["Heard"]:
        """Record one channel of a source, meanwhile."""
        path = self._folder / f"{source}.heard"
        with path.open("wb") as file:
            process = subprocess.Popen(
                ["parec", "--raw", f"--device={source}", "--format=s16le", f"--rate={rate_hz}", "--channels=1",
                 "--latency-msec=10"], stdout=file,
            )  # fmt: skip
        heard = Heard(path, rate_hz)
        try:
            deadline = time.monotonic() + 5
            while not path.stat().st_size:
                assert time.monotonic() < deadline, f"nothing comes from {source}"
                time.sleep(0.01)
            yield heard
        finally:
            process.kill()
            process.wait()


class Heard:
    """A recording under way."""

    def __init__(self, path: Path, rate_hz: int) -> None:
        self._path, self.rate_hz = path, rate_hz

    @property
    def pcm(self) -> np.ndarray:
        """Float32, shape [samples]: what was heard so far."""
        raw = self._path.read_bytes()
        return np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float32) / 32768
