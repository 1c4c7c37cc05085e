"""A stream of sound to or from a device that has been chosen, and PortAudio's: what hardware without a sound server has."""

import importlib
import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import DeviceError
from edge_assistant.runtime import Pcm

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How sound goes to or from a device. We may be late by `held_ms` less `block_ms` before some of it is lost."""

    block_ms: int
    """At a time."""
    held_ms: int
    """By the device, and on the way there."""

    def samples(self, rate_hz: int) -> int:
        """Of a block, rounded up: at 44.1 kHz, a block less than a frame would make every frame wait for the next."""
        return -(-rate_hz * self.block_ms // 1000)


LISTENING = Pace(32, 64)
"""A block is a frame: half as much would cost twice the wakings, and gain nothing."""
SPEAKING = Pace(16, 48)
"""The first word waits behind what is held. With 9 ms in all a busy board stuttered."""
CLOSING_S = 1.0
"""A device that was pulled out may not even close."""

Heard = Callable[[NDArray[np.float32], int, bool], None]
"""Takes a block (shape [samples, channels]), its rate in Hz, and whether sound was lost before it. On the device's thread:
post, return."""
Play = Callable[[int], Pcm]
"""Gives the next block, of so many samples. On the device's thread."""


class Stream(Protocol):
    """Open, and running."""

    rate_hz: int
    channels: int
    ended: bool
    """It broke: nothing comes any more."""
    paused: bool
    """It rests, and asks for nothing: it gives no sign of life."""

    @property
    def latency_s(self) -> float:
        """Sound under way between us and the device. Exact on the device's thread."""
        ...

    def rest(self, resting: bool) -> None:
        """Nobody waits for sound, or somebody does again: meanwhile a microphone may give more at a time, and a loudspeaker
        need not ask for silence. From any thread, at any time."""
        ...

    def close(self) -> None:
        """Stop at once, and let the device go."""
        ...


RATES_HZ = (48_000, 44_100, 16_000, 32_000, 96_000, 8_000)
"""In the order in which they are tried."""
DEV_SND = Path("/dev/snd")
BUSY, FORBIDDEN, REFUSED = ("-9985", "ALSA error -16]"), ("ALSA error -13]", "ALSA error -1]"), "-9993"
"""PortAudio's and ALSA's codes, as they stand in PortAudio's faults. The last is all that it tells of whatever else keeps ALSA
from opening a device."""
MAY = "sudo usermod -aG audio $USER, then log in again"
"""What lets a user use the sound cards."""
PCM_VARIABLES = {"microphone": "EDGE_PCM_MICROPHONE", "loudspeaker": "EDGE_PCM_LOUDSPEAKER"}
"""What alsa.conf reads."""
_opening = threading.Lock()
"""PortAudio opens and closes one stream at a time."""


class PortAudioStream:
    """A stream that PortAudio's thread serves."""

    def __init__(
        self, kind: str, pcm: str, name: str, rates_hz: tuple[int, ...], callback: Callable[[int], Callable[..., None]]
    ) -> None:
        """Open the ALSA device `pcm`, which people know by `name`; `callback` makes PortAudio's from the rate.

        Raises:
            DeviceError: it is busy, forbidden, or does not open.
        """
        self.ended = self.paused = False
        self._audio = _portaudio()
        make, pace = (self._audio.InputStream, LISTENING) if kind == "microphone" else (self._audio.OutputStream, SPEAKING)
        fault = DeviceError(f"{name} does not open")
        for channels, rate_hz in product((1, 2), rates_hz):
            try:
                with _opening, _quiet():
                    os.environ[PCM_VARIABLES[kind]] = pcm
                    self._stream: Any = make(
                        rate_hz, pace.samples(rate_hz), _device(self._audio, kind), channels, "float32",
                        pace.held_ms / 1000, callback=callback(rate_hz), finished_callback=self._end,
                    )  # fmt: skip
                    self._stream.start()
                self.rate_hz, self.channels = rate_hz, channels
                return
            except self._audio.PortAudioError as error:
                fault = explain(name, str(error))
                if any(code in str(error) for code in (*BUSY, *FORBIDDEN, REFUSED)):
                    break  # it would be so at any rate
        raise fault

    @classmethod
    def capture(cls, pcm: str, name: str, heard: Heard) -> "PortAudioStream":
        """Hear what a device gives. Raises DeviceError."""

        def callback(rate_hz: int) -> Callable[..., None]:
            def take(block: Any, _samples: int, _time: object, status: Any) -> None:
                heard(block.copy(), rate_hz, bool(status.input_overflow))

            return take

        return cls("microphone", pcm, name, RATES_HZ, callback)

    @classmethod
    def playback(cls, pcm: str, name: str, rate_hz: int, play: Play) -> "PortAudioStream":
        """Play into a device. Raises DeviceError."""

        def give(block: Any, samples: int, _time: object, _status: object) -> None:
            block[:] = play(samples)[:, np.newaxis]

        return cls("loudspeaker", pcm, name, (rate_hz,), lambda _: give)

    @property
    def latency_s(self) -> float:
        """Sound under way between us and the device."""
        return float(self._stream.latency)

    def rest(self, resting: bool) -> None:
        """The hardware keeps its pace."""

    def close(self) -> None:
        """Stop at once; a device that does not let go is left behind."""

        def close() -> None:
            with _opening:
                try:
                    self._stream.abort()
                    self._stream.close()
                except self._audio.PortAudioError as error:
                    log.info("closing: %s", error)

        thread = threading.Thread(target=close, name="closing", daemon=True)
        thread.start()
        thread.join(CLOSING_S)

    def _end(self) -> None:
        self.ended = True


@cache
def _portaudio() -> Any:
    """sounddevice, started with our devices in its list."""
    ours = str(Path(__file__).with_name("alsa.conf"))
    os.environ["ALSA_CONFIG_PATH"] = f"{os.environ.get('ALSA_CONFIG_PATH', '/usr/share/alsa/alsa.conf')}:{ours}"
    try:
        with _quiet():
            audio: Any = importlib.import_module("sounddevice")  # not above: it needs a library that may be missing
    except OSError as error:
        raise DeviceError("PortAudio is missing", "apt install libportaudio2") from error
    return audio


def _device(audio: Any, kind: str) -> int | None:
    """Our own device in PortAudio's list; where there is no ALSA, PortAudio's default."""
    names = [info["name"] for info in audio.query_devices()]
    wanted = f"edge_assistant_{kind}"
    return names.index(wanted) if wanted in names else None


@contextmanager
def _quiet() -> Generator[None]:
    """ALSA and PortAudio write what does not open to stderr, past any logging: for these milliseconds nobody reads it."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def explain(name: str, fault: str) -> DeviceError:
    """PortAudio's fault in a line that says what to do."""
    if any(code in fault for code in BUSY):
        return DeviceError(f"{name} is busy: another program holds it", "sudo fuser -v /dev/snd/* tells which; end it")
    if any(code in fault for code in FORBIDDEN) or (REFUSED in fault and forbidden()):
        return DeviceError(f"{name} is forbidden to this user", MAY)
    reason = "ALSA refuses it" if REFUSED in fault else fault
    return DeviceError(f"{name} does not open ({reason})", "edge-assistant devices lists what is there")


def forbidden(folder: Path = DEV_SND) -> bool:
    """Are there sound cards, and may this user use none of them?"""
    nodes = list(folder.glob("pcm*"))
    return bool(nodes) and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes)
