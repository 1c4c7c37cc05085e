"""The microphone: any device at any rate becomes numbered frames of 16 kHz mono, and the clock never stops.

    device's thread: copy, post ──► bounded queue ──► microphone's thread: resample, cut, number ──► post

While there is no sound, because it is muted or unplugged, frames of silence come at the pace of real time: timers still ring, and
replies come to their end. Sound that was lost shows as numbers that are skipped.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge_assistant.devices import Device, must_sound, only_zeros, open_capture
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from edge_assistant.line import Changed, Line
from edge_assistant.resample import Resampler
from edge_assistant.runtime import Pcm
from edge_assistant.streams import Heard, Stream
from edge_assistant.zeros import Change, Zeros

log = logging.getLogger(__name__)

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
RESTING_S = 4 * FRAME_S
"""Sound that comes at a time while nobody is heard."""
QUEUE_S = 2.0
"""Sound that may wait for the microphone's thread."""
SILENCE: Pcm = np.zeros(FRAME_SAMPLES, np.float32)


class Cutter:
    """Blocks of a device's sound in, frames out. Holds no clock."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler = self._make_resampler()
        self._rest: Pcm = np.zeros(0, np.float32)
        self._first = True

    def cut(self, block: NDArray[np.float32]) -> list[Pcm]:
        """Take a block (shape [samples, channels]); return the frames (shape [FRAME_SAMPLES]) that it completes."""
        mono: Pcm = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        sound: Pcm = mono if self._resampler is None else self._resampler(mono)
        if self._resampler is not None and self._first and len(sound):
            # The resampler holds 2 ms back. With as much silence in front, every block completes a frame, none waits.
            self._rest, self._first = np.zeros(-len(sound) % FRAME_SAMPLES, np.float32), False
        sound = np.concatenate([self._rest, sound])
        whole = len(sound) // FRAME_SAMPLES
        self._rest = sound[whole * FRAME_SAMPLES :]
        return list(sound[: whole * FRAME_SAMPLES].reshape(whole, FRAME_SAMPLES))

    def break_off(self) -> int:
        """Sound is missing here: begin anew. Returns the samples (16 kHz) that were held and are lost too."""
        lost, self._rest, self._first = len(self._rest), self._rest[:0], True
        self._resampler = self._make_resampler()
        return lost

    def _make_resampler(self) -> Resampler | None:
        return None if self._rate_hz == SAMPLE_RATE_HZ else Resampler(self._rate_hz)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """What the device's thread posts."""

    number: int
    """Of the stream that it came from."""
    sound: NDArray[np.float32]
    """Shape [samples, channels]."""
    rate_hz: int
    unqueued: int
    """Samples before it that found the queue full."""
    overflowed: bool
    """The device lost sound before it, and does not say how much."""
    at_s: float
    """When it came."""

    def missing_after(self, last: "_Block") -> int:
        """Samples lost between `last` and this block."""
        if not self.overflowed:
            return self.unqueued
        late = round((self.at_s - last.at_s) * self.rate_hz) - len(self.sound)
        return max(self.unqueued + len(self.sound), late)


class Microphone:
    """Posts a frame every 32 ms from entering to leaving, then None."""

    def __init__(
        self,
        device: str | None,
        post: Callable[[Frame | None], None],
        *,
        changed: Changed = lambda kind, present, name: None,
        zeros: Callable[[Change], None] = lambda change: None,
        patient: bool = False,
        open_stream: Callable[[Device, Heard], Stream] = open_capture,
    ) -> None:
        """`device`: a stable name, None for the default. `post` is called on the microphone's own thread, `changed` on another.

        `zeros` is told, on the first of them, when a device that is there gives nothing but zeros, and when it gives sound again;
        not of silence that a program sends, which is only logged.

        With `patient`, a device that is not there when we start is waited for like one that was pulled out.
        """
        self._post, self._patient, self._open_capture = post, patient, open_stream
        self._line = Line("microphone", device, self._open, self._close, changed)
        self._blocks: queue.SimpleQueue[_Block | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._stop = False
        self._stream_number = 0
        self._died = False
        """The last stream was not closed on purpose."""
        self._unqueued = 0
        """Samples that found the queue full; only the device's thread writes it."""
        self._number = 0
        self._lost = 0
        self._owed = 0
        """Samples (16 kHz) lost that are less than a frame."""
        self._next = 0.0
        """When the next frame is due."""
        self._told_zeros = zeros
        self._zeros = Zeros()
        self._zeros_of: str = ""
        """The device of which they are counted."""
        self._zeros_told = False
        self.muted = False
        self._unhurried = False

    @property
    def lost(self) -> int:
        """Frames that were skipped so far."""
        return self._lost

    @property
    def used(self) -> str:
        """The stable name of the device that is heard now; "" while there is none."""
        return self._line.used

    @property
    def gives_zeros(self) -> bool:
        """It has given nothing else for some seconds; the log has it."""
        return self._zeros.only

    @property
    def unhurried(self) -> bool:
        """Nobody is heard yet: frames may come four at a time, for a quarter of the wakings. They are as many, and the same."""
        return self._unhurried

    @unhurried.setter
    def unhurried(self, unhurried: bool) -> None:
        if unhurried is not self._unhurried:
            self._unhurried = unhurried
            self._line.rest(unhurried)

    @property
    def explained(self) -> bool:
        """Sound comes, or it is known why none does: muted, unplugged, busy. If not, capture is stuck."""
        return self.muted or self._line.flowing or self._line.missing

    def mute(self) -> None:
        """Stop capture for real: the device is let go."""
        self.muted = True
        self._line.want(False)

    def unmute(self) -> None:
        """Hear again."""
        self.muted = False
        self._line.want(True)

    def __enter__(self) -> Self:
        """Open.

        Raises:
            DeviceError: there is no such device, or it does not open.
        """
        self._line.start(patient=self._patient)
        self._next = time.monotonic() + FRAME_S
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close; no frame comes afterwards."""
        self._line.__exit__(kind, error, trace)
        self._stop = True
        self._blocks.put(None)
        self._thread.join()
        self._post(None)

    def _open(self, device: Device) -> Stream:
        """On the line's thread."""
        self._stream_number += 1
        number = self._stream_number
        kept: list[_Block] = []

        def heard(sound: NDArray[np.float32], rate_hz: int, overflowed: bool) -> None:
            if number != self._stream_number:
                return  # a stream that was given up
            self._line.beat()
            if self._blocks.qsize() * len(sound) > QUEUE_S * rate_hz:
                self._unqueued += len(sound)
                return
            unqueued, self._unqueued = self._unqueued, 0
            kept.append(_Block(number, sound, rate_hz, unqueued, overflowed, time.monotonic()))
            if self._unhurried and sum(len(block.sound) for block in kept) < round(RESTING_S * rate_hz):
                return
            for block in kept:
                self._blocks.put(block)
            kept.clear()

        stream = self._open_capture(device, heard)
        stream.rest(self._unhurried)
        return stream

    def _close(self, died: bool) -> None:
        """On the line's thread."""
        self._stream_number += 1
        self._died = died
        if died:
            self._zeros_of = ""  # whoever comes back is looked at anew
        self._blocks.put(None)

    def _run(self) -> None:
        cutter: Cutter | None = None
        last: _Block | None = None
        while not self._stop:
            block = self._get(None if cutter else max(0.0, self._next - time.monotonic()))
            if block is None:
                if cutter is not None and last is not None and last.number != self._stream_number:
                    cutter = last = None  # the stream was closed; if it had died, that took time
                    if self._died:
                        self._skip_to_now()
                if cutter is None:
                    self._fill()
                continue
            if cutter is None or last is None or block.number != last.number:
                self._fill()
                cutter = Cutter(block.rate_hz)
            elif missing := block.missing_after(last):
                self._skip(cutter.break_off() + round(missing * SAMPLE_RATE_HZ / block.rate_hz))
            last = block
            self._notice_zeros(block)
            for pcm in cutter.cut(block.sound):
                self._emit(pcm)

    def _get(self, timeout_s: float | None) -> "_Block | None":
        """The next block; None if the stream was closed, or none comes within this time."""
        try:
            return self._blocks.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _emit(self, pcm: Pcm) -> None:
        self._post(Frame(self._number, pcm))
        self._number += 1
        self._next = time.monotonic() + FRAME_S

    def _fill(self) -> None:
        """Silence, up to now."""
        while self._next <= time.monotonic():
            due = self._next
            self._emit(SILENCE)
            self._next = due + FRAME_S

    def _skip_to_now(self) -> None:
        """Until now nobody knew that nothing came."""
        late = int((time.monotonic() - self._next) / FRAME_S + 1)
        self._next += late * FRAME_S
        self._lose(late)

    def _skip(self, samples: int) -> None:
        """So much sound (16 kHz) was lost."""
        frames, self._owed = divmod(self._owed + samples, FRAME_SAMPLES)
        self._lose(frames)

    def _lose(self, frames: int) -> None:
        if frames > 0:
            self._number += frames
            self._lost += frames
            log.warning("the microphone lost %d frames (%d in all)", frames, self._lost)

    def _notice_zeros(self, block: "_Block") -> None:
        used = self.used
        if not used:
            return  # it has only begun
        if used != self._zeros_of:
            self._zeros, self._zeros_of, self._zeros_told = Zeros(), used, False
        change = self._zeros.step(bool(block.sound.any()), len(block.sound) / block.rate_hz)
        if change is None:
            return
        found = only_zeros(used) if change.zeros else f"{used} gives sound again"
        log.log(logging.WARNING if change.news else logging.INFO, "the microphone %s", found)
        if change.zeros:
            self._zeros_told = must_sound(used)
        if self._zeros_told:
            self._told_zeros(change)
