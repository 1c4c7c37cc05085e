"""Where the loudspeaker's queue goes: a sound device, a file, or nowhere."""

import contextlib
import importlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.errors import DeviceError, UsageError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.speaker import Speaker

VOICE_RATE_HZ = 22_050
"""espeak-ng's own: a file needs no resampling."""
LATENCY_S = 0.08
"""Sound that the device holds: with 9 ms a busy board stuttered."""


class Sink(Protocol):
    """Drains a speaker's queue."""

    rate_hz: int

    def open(self) -> None:
        """Find out what it is: from here on `rate_hz` is true.

        Raises:
            DeviceError: there is no such thing.
        """
        ...

    def connect(self, speaker: Speaker) -> None:
        """Start to drain.

        Raises:
            DeviceError: it does not start.
        """
        ...

    def tick(self) -> None:
        """One frame of the clock has gone by."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class NullSink:
    """Nobody listens, but a sentence takes its time all the same."""

    rate_hz = VOICE_RATE_HZ

    def __init__(self) -> None:
        self._speaker: Speaker | None = None
        self._ticks = 0

    def open(self) -> None:
        """Nothing to find out."""

    def connect(self, speaker: Speaker) -> None:
        """Start to drain."""
        self._speaker = speaker

    def tick(self) -> None:
        """Take one frame's worth of sound (22,050 Hz: 705.6 samples, so 705 or 706)."""
        if self._speaker is not None:
            begin, end = (FRAME_SAMPLES * ticks * self.rate_hz // SAMPLE_RATE_HZ for ticks in (self._ticks, self._ticks + 1))
            self._ticks += 1
            self.take(self._speaker.pull(end - begin))

    def take(self, block: Any) -> None:
        """Do with it what there is to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class FileSink(NullSink):
    """A WAV file of the conversation: silence while the assistant listens, its voice where it spoke."""

    def __init__(self, path: Path) -> None:
        """Open the file, under another name until it is whole.

        Raises:
            UsageError: it cannot be written there.
        """
        super().__init__()
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        if path.is_dir():
            raise UsageError(f"{path} is a folder", "give --say the name of a WAV file")
        try:
            self._file = sf.SoundFile(self._part, "w", self.rate_hz, 1, "PCM_16", format="WAV")
        except (OSError, sf.LibsndfileError) as error:
            reason = "no such folder" if not path.parent.is_dir() else getattr(error, "error_string", error)
            raise UsageError(f"cannot write {path}: {str(reason).strip().rstrip('.')}") from error

    def take(self, block: Any) -> None:
        """Append it."""
        self._file.write(block)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the file its name if all went well, or was stopped by hand; remove it if not."""
        self._file.close()
        if kind is None or issubclass(kind, KeyboardInterrupt):
            os.replace(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)


class DeviceSink:
    """The default sound device, which keeps its own time."""

    rate_hz = VOICE_RATE_HZ

    def __init__(self) -> None:
        self._audio: Any = None
        self._stream: Any = None

    def open(self) -> None:
        """Find it.

        Raises:
            DeviceError: there is none.
        """
        try:
            self._audio = importlib.import_module("sounddevice")  # not above: it needs a library that may be missing
        except OSError as error:
            raise DeviceError("PortAudio is missing", "apt install libportaudio2") from error
        try:
            info = self._audio.query_devices(kind="output")
        except (self._audio.PortAudioError, ValueError) as error:
            raise DeviceError("no sound device to speak through") from error
        self.rate_hz = int(info["default_samplerate"])

    def connect(self, speaker: Speaker) -> None:
        """Open it and play.

        Raises:
            DeviceError: it does not open.
        """

        def play(out: Any, samples: int, _time: object, _status: object) -> None:
            out[:, 0] = np.clip(speaker.pull(samples), -1, 1)

        try:
            self._stream = self._audio.OutputStream(self.rate_hz, channels=1, dtype="float32", latency=LATENCY_S, callback=play)
            self._stream.start()
            speaker.delay(float(self._stream.latency))
        except self._audio.PortAudioError as error:
            raise DeviceError(f"the sound device does not open ({error})") from error

    def tick(self) -> None:
        """Nothing: the device asks for sound itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop at once."""
        if self._stream is not None:
            with contextlib.suppress(self._audio.PortAudioError):
                self._stream.abort()
                self._stream.close()


def choose_sink(say: Path | None, *, aloud: bool) -> Sink:
    """A file if one is named, else the sound device if the pace allows it.

    Raises:
        UsageError: the file cannot be written.
    """
    if say is not None:
        return FileSink(say)
    return DeviceSink() if aloud else NullSink()
