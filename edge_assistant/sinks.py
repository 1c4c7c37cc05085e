"""Where the loudspeaker's queue goes: a sound device, a file, or nowhere."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.devices import DEFAULT_RATE_HZ, Device, choose_device, open_playback
from edge_assistant.errors import DeviceError, UsageError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.line import Changed, Line
from edge_assistant.runtime import Pcm
from edge_assistant.speaker import Speaker
from edge_assistant.streams import SPEAKING, Play, Stream

log = logging.getLogger(__name__)

REST_S = 2.0
"""Silence after which the device rests, if it may."""
VOICE_RATE_HZ = 22_050
"""espeak-ng's own: a file needs no resampling."""


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
    """A loudspeaker, which keeps its own time; while it is unplugged, sentences take their time all the same."""

    def __init__(
        self,
        device: str | None = None,
        *,
        played: Callable[[Pcm, int], None] = lambda pcm, rate_hz: None,
        changed: Changed = lambda kind, present, name: None,
        lead_in_ms: int = 0,
        patient: bool = False,
        open_stream: Callable[[Device, int, Play], Stream] = open_playback,
    ) -> None:
        """`device`: a stable name, None for the default.

        `played` sees every block that the device takes, silence too, with its rate, on the device's thread; an empty one where
        it rests before it takes the next.
        `lead_in_ms` of hum go before the first word after a long silence, unless `wake` was called in time.
        With `patient`, a device that is not there when we start is waited for like one that was pulled out.
        """
        self.rate_hz = DEFAULT_RATE_HZ
        self._name, self._played, self._patient, self._open_playback = device, played, patient, open_stream
        self._line = Line("loudspeaker", device, self._open, lambda died: None, changed)
        self._amplifier = Amplifier(lead_in_ms)
        self._stock = Stock()
        self._speaker: Speaker | None = None
        self._stream_number = 0
        self._drained = 0.0
        """What of a sample `tick` still owes."""
        self._asked = 0
        self._still = 0
        """Samples since there was something to play."""
        self._rested_s: float | None = None
        """When it went to rest; None while it does not."""
        self._unhurried = False

    @property
    def used(self) -> str:
        """The stable name of the device that plays now; "" while there is none."""
        return self._line.used

    @property
    def unhurried(self) -> bool:
        """Nobody waits for a word: a device that is given nothing but silence may rest. Then nothing wakes for it."""
        return self._unhurried

    @unhurried.setter
    def unhurried(self, unhurried: bool) -> None:
        if unhurried is not self._unhurried:
            self._unhurried = unhurried
            if not unhurried:
                self._stir()

    def open(self) -> None:
        """Find it.

        Raises:
            DeviceError: there is none.
        """
        try:
            self.rate_hz = choose_device("loudspeaker", self._name).rate_hz
        except DeviceError:
            if not self._patient:
                raise

    def connect(self, speaker: Speaker) -> None:
        """Open it and play.

        Raises:
            DeviceError: it does not open.
        """
        self._speaker = speaker
        speaker.stirred = self._stir
        self._line.start(patient=self._patient)

    def tick(self) -> None:
        """The device asks for sound itself; while there is none, this takes one frame's worth."""
        if self._speaker is not None and not self._line.flowing:
            self._drained += FRAME_SAMPLES * self.rate_hz / SAMPLE_RATE_HZ
            whole = int(self._drained)
            self._drained -= whole
            self._speaker.pull(whole)

    def wake(self) -> None:
        """There will be something to say soon: an amplifier that fell asleep is woken meanwhile."""
        self._amplifier.wake()
        self._stir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop at once."""
        self._line.__exit__(kind, error, trace)

    def _open(self, device: Device) -> Stream:
        """On the line's thread."""
        assert self._speaker is not None
        speaker = self._speaker
        self._stream_number += 1
        number = self._stream_number

        def play(samples: int) -> Pcm:
            if number != self._stream_number:
                return np.zeros(samples, np.float32)  # a stream that was given up
            self._line.beat()
            now_s = time.monotonic()
            first = self._rested_s is not None
            if self._rested_s is not None:
                self._amplifier.rest(now_s - self._rested_s, self.rate_hz)
                self._played(np.zeros(0, np.float32), self.rate_hz)
                self._rested_s, self._still = None, 0
            if self._stock.ask(now_s, samples / self.rate_hz, speaking=speaker.waiting):
                log.warning("the loudspeaker ran dry in mid-sentence (%d times in all)", self._stock.dry)
            self._asked += samples
            if self._asked >= self.rate_hz:  # once a second
                self._asked = 0
                self._stock.held_s = max(self._stock.held_s, latency_s := self._line.latency_s)
                speaker.delay(latency_s)
            block = self._amplifier.hum(samples, self.rate_hz, speaking=speaker.waiting)
            if first:
                block = np.zeros(samples, np.float32)  # a stream that goes on may swallow its first milliseconds
            if block is None:
                speaking = speaker.waiting
                block = speaker.pull(samples)
                if speaking:
                    np.clip(block, -1, 1, out=block)
            self._played(block, self.rate_hz)
            self._still = 0 if block.any() else self._still + samples
            if self._may_rest():
                self._rested_s = now_s
                self._line.rest(True)
                if not self._may_rest():  # something came meanwhile
                    self._line.rest(False)
                    self._rested_s = None
            return block

        self._rested_s = None
        stream = self._open_playback(device, self.rate_hz, play)
        speaker.delay(stream.latency_s)
        return stream

    def _may_rest(self) -> bool:
        assert self._speaker is not None
        return self._unhurried and self._still >= REST_S * self.rate_hz and self._speaker.idle and not self._amplifier.woken

    def _stir(self) -> None:
        """There is something to play. From any thread."""
        if self._rested_s is not None:
            self._line.rest(False)


class Stock:
    """What the device still has to play when it asks for more: if nothing, it ran dry. A clock's reading is given to it."""

    SLOWEST = 1.001
    """By how much longer a block may last than it should: no quartz is so slow."""

    def __init__(self) -> None:
        self.held_s = SPEAKING.held_ms / 1000
        """What it holds when it is full."""
        self.dry = 0
        """How often it ran dry while we spoke."""
        self._left_s = 0.0
        self._asked_s = 0.0
        self._speaking = False

    def ask(self, now_s: float, block_s: float, *, speaking: bool) -> bool:
        """The device takes a block; True if it ran dry before it, in the midst of what we say."""
        self._left_s -= now_s - self._asked_s
        dry = self._left_s < 0 and self._speaking and speaking
        self.dry += dry
        self._left_s = min(max(self._left_s, 0.0) + block_s * self.SLOWEST, self.held_s)
        self._asked_s, self._speaking = now_s, speaking
        return dry


class Amplifier:
    """Many fall asleep when they are given silence, and swallow the first syllable while they wake: a hum goes before it."""

    SLEEP_S = 8.0
    """Silence after which it may be asleep."""
    LEVEL = 1e-4
    """-80 dB: not heard, and not nothing."""

    def __init__(self, lead_in_ms: int) -> None:
        self._lead_in_ms = lead_in_ms
        self._silent = self._hummed = 0
        """Samples since there was sound, and of the hum now under way."""
        self.woken = False
        """It is to hum."""
        self._asleep = True

    def wake(self) -> None:
        """Hum at the next block, if it may be asleep."""
        self.woken = self._asleep

    def rest(self, seconds: float, rate_hz: int) -> None:
        """It was given nothing at all for so long."""
        self._silent += round(seconds * rate_hz)
        self._asleep = self._asleep or self._silent >= self.SLEEP_S * rate_hz

    def hum(self, samples: int, rate_hz: int, *, speaking: bool) -> Pcm | None:
        """The hum in place of the next block (shape [samples]); None if the block may be played."""
        if not self._lead_in_ms:
            return None
        if self._asleep and (speaking or self.woken):
            self._hummed += samples
            if self._hummed >= self._lead_in_ms * rate_hz // 1000:
                self._asleep, self.woken, self._hummed, self._silent = False, False, 0, 0
            return np.resize(np.array([self.LEVEL, -self.LEVEL], np.float32), samples)
        if speaking:
            self._silent = 0
        else:
            self._silent += samples
            self._asleep = self._asleep or self._silent >= self.SLEEP_S * rate_hz
        return None


def choose_sink(say: Path | None, *, aloud: bool) -> Sink:
    """A file if one is named, else the sound device if the pace allows it.

    Raises:
        UsageError: the file cannot be written.
    """
    if say is not None:
        return FileSink(say)
    return DeviceSink() if aloud else NullSink()
