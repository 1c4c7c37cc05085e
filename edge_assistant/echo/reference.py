"""What the loudspeaker really played, on the microphone's clock.

The loudspeaker's thread posts each block that it handed to the device; the loop reads, for each frame of the microphone, what
must have been in the air. Two things stand between them: a delay (buffers, air) and two quartzes that differ by up to 100 ppm,
6 ms a minute, which a linear canceller does not survive. So the echo itself is listened to: once a second of our own sound the
delay is measured, a delay that a canceller could not bear is corrected at once, and the slope of the delays is the drift, by
which the reading is stretched.
"""

import itertools
import math
from collections import deque

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.echo.delay import find_lag
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ, frames
from edge_assistant.runtime import Pcm

RING = 3 * SAMPLE_RATE_HZ
"""Samples that are kept."""
TAPS = 16
"""Of the filter that reads between two samples."""


class Ring:
    """The last samples of an endless sound, read at any position, also between two samples."""

    def __init__(self) -> None:
        self.end = 0
        """Samples so far."""
        self._kept = np.zeros(RING, np.float32)

    def append(self, pcm: Pcm) -> None:
        """Add to its end."""
        self.end += len(pcm)
        pcm = pcm[-len(self._kept) :]
        self._kept = np.concatenate([self._kept[len(pcm) :], pcm])

    def read(self, begin: float, samples: int, stretch: float = 0.0) -> Pcm:
        """Shape [samples]: sample i from position begin + i·(1 + stretch); silence where there is none."""
        pieces = (min(FRAME_SAMPLES, samples - done) for done in range(0, samples, FRAME_SAMPLES))
        return np.concatenate(
            [self._read(begin + number * FRAME_SAMPLES * (1 + stretch), piece, stretch) for number, piece in enumerate(pieces)]
        )

    def _read(self, begin: float, samples: int, stretch: float) -> Pcm:
        """A piece so short that it is stretched by less than a sample: between its first sample and its last we cross-fade."""
        whole = math.floor(begin)
        piece = self._cut(whole - TAPS // 2 + 1, samples + TAPS - 1)
        if not piece.any():
            return np.zeros(samples, np.float32)
        first = np.correlate(piece, _between(begin - whole))
        if not stretch:
            return first
        fade = np.arange(samples, dtype=np.float32) / samples
        last = np.correlate(piece, _between(begin - whole + samples * stretch))
        return (first + fade * (last - first)).astype(np.float32)

    def _cut(self, begin: int, samples: int) -> Pcm:
        """Whole samples from a whole position."""
        oldest = self.end - len(self._kept)
        cut = self._kept[max(0, begin - oldest) : max(0, begin + samples - oldest)]
        before = min(samples, max(0, oldest - begin))
        return np.pad(cut, (before, samples - before - len(cut)))


def _between(fraction: float) -> Pcm:
    """The filter that reads so far behind a sample (−0.3 to 1.3): a windowed sinc, shape [TAPS]."""
    t = np.arange(TAPS) - TAPS // 2 + 1 - fraction
    return (np.sinc(t) * np.cos(np.pi * np.clip(t / TAPS, -0.5, 0.5)) ** 2).astype(np.float32)


class Reference:
    """Owned by the loop's thread; only `played` may be called from another."""

    EARLIEST, LATEST = -SAMPLE_RATE_HZ // 10, SAMPLE_RATE_HZ * 6 // 10
    """Samples by which an echo may come otherwise than expected."""
    WINDOW = frames(768)
    """Frames of our own sound that a delay is measured on."""
    EVERY = frames(640)
    """Frames from one measurement to the next."""
    AUDIBLE_PEAK = 14.0
    """Below this there is no echo to measure."""
    INAUDIBLE_PEAK = 9.0
    """Below this twice in a row, the microphone does not hear us."""
    LEAD = SAMPLE_RATE_HZ * 12 // 1000
    """The reference is put this far before the echo: a filter needs its cause before its effect."""
    BEAR = range(SAMPLE_RATE_HZ * 3 // 1000, SAMPLE_RATE_HZ * 40 // 1000)
    """Samples between reference and echo that stay as they are: each correction makes the canceller learn anew."""
    ASTRAY = SAMPLE_RATE_HZ * 30 // 1000
    """Samples of far end counted more or less than expected: the device has stopped, started or skipped."""
    SETTLE = frames(512)
    """Frames that a jump of the count must last."""
    STRAY = 16.0
    """Samples: a delay that differs so much from the one before was measured wrongly, or is another one."""
    FORGOTTEN_S = RING / SAMPLE_RATE_HZ + 0.1
    """Silence after which nothing else is in the ring, nor in the resampler."""
    IDLE_BLOCKS = 64
    """Blocks of silence that may wait for the ring."""
    STEEPEST = 500e-6
    """No two quartzes differ more."""

    def __init__(self, delay_ms: float = 60.0, drift_ppm: float = 0.0) -> None:
        """Start from what `echo-test` measured, or from nothing."""
        self.delay = delay_ms * SAMPLE_RATE_HZ / 1000 - self.LEAD
        """Samples from the block handed over to what `read` gives."""
        self.drift = drift_ppm * 1e-6
        """Far-end samples more than microphone samples, as a share."""
        self.corrections = 0
        """How often the delay had to be put right at once."""
        self._posted: deque[tuple[Pcm, int]] = deque(maxlen=2048)
        self._waiting: list[Pcm] = []
        """Taken, and not in the ring yet."""
        self._silent_s = 0.0
        """How long what was handed over has been silent."""
        self._ring = Ring()
        self._rate_hz = SAMPLE_RATE_HZ
        self._resampler: soxr.ResampleStream | None = None
        self._handed = 0.0
        """Far-end samples posted, at 16 kHz."""
        self._offset: float | None = None
        """Far-end position minus microphone position, at the next frame; None while nothing plays."""
        self._seen: deque[float] = deque(maxlen=frames(2000))
        self._frame = 0
        self._near: deque[Pcm] = deque(maxlen=self.WINDOW)
        self._loud: deque[bool] = deque(maxlen=self.WINDOW)
        self._wait = 0
        self._strays = self._inaudible = 0
        self._kept_late = 0.0
        """How late after `read` the canceller has learned to expect the echo, in samples."""
        self._pull = 0.0
        """Added to the drift until the echo is there again."""
        self._lags: deque[tuple[float, float]] = deque(maxlen=24)
        """Microphone sample, and by how much its position is greater than that of its echo's source in the far end."""

    def played(self, pcm: Pcm, rate_hz: int) -> None:
        """Take a block that the device was given, shape [samples]; an empty one: it has rested, and goes on from here.

        From the loudspeaker's thread: copies and posts.
        """
        self._posted.append((np.array(pcm, np.float32), rate_hz))

    def read(self, frame: int) -> Pcm:
        """What was in the air when the microphone heard frame number `frame`, shape [FRAME_SAMPLES]. Frames come in order."""
        self._anchor(frame, self._take_posted())
        self._frame = frame
        if self._offset is None or self._silent_s > self.FORGOTTEN_S:
            return np.zeros(FRAME_SAMPLES, np.float32)
        return self._ring.read(frame * FRAME_SAMPLES + self._offset - self.delay, FRAME_SAMPLES, self.drift)

    def listen(self, near: Pcm, far: Pcm) -> None:
        """Take the frame that the microphone heard beside the one that `read` gave: this is how delay and drift are found."""
        self._near.append(near)
        self._loud.append(float(np.dot(far, far)) > 1e-4 * FRAME_SAMPLES)
        self._wait -= 1
        if self._wait <= 0 and sum(self._loud) >= self.WINDOW // 2 and self._offset is not None:
            self._wait = self.EVERY
            self._measure()

    @property
    def echo_free(self) -> bool:
        """Has the microphone heard nothing of what was played last?"""
        return self._inaudible >= 2

    def _take_posted(self) -> bool:
        came = bool(self._posted)
        while self._posted:
            pcm, rate_hz = self._posted.popleft()
            if not len(pcm):
                self._break_off()
            if rate_hz != self._rate_hz:
                self._fill_ring()
                self._rate_hz, self._offset, self._handed = rate_hz, None, float(self._ring.end)
                self._resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="MQ")
            self._take(pcm)
        # In a long silence, `read` asks for nothing: the ring is filled seldom, which is cheaper, and the same.
        if self._silent_s <= self.FORGOTTEN_S or len(self._waiting) >= self.IDLE_BLOCKS:
            self._fill_ring()
        return came

    def _take(self, pcm: Pcm) -> None:
        self._handed += len(pcm) * SAMPLE_RATE_HZ / self._rate_hz
        self._silent_s = 0.0 if pcm.any() else self._silent_s + len(pcm) / self._rate_hz
        self._waiting.append(pcm)

    def _fill_ring(self) -> None:
        if self._waiting:
            pcm = np.concatenate(self._waiting)
            self._ring.append(pcm if self._resampler is None else self._resampler.resample_chunk(pcm))
            self._waiting.clear()

    def _anchor(self, frame: int, came: bool) -> None:
        """Which far-end position belongs to this frame: by what was handed over until now, and by the drift from then on."""
        seen = self._handed - (frame + 1) * FRAME_SAMPLES
        if self._offset is None:
            if came:
                self._offset = seen
                self._seen.clear()
                self._lags.clear()
            return
        self._offset += (self.drift + self._pull) * FRAME_SAMPLES * (frame - self._frame)
        # A loop that is late sees too much, never too little: the least is the truth.
        self._seen.append(seen - self._offset)
        if len(self._seen) < self.SETTLE:
            self._offset += min(0.0, self._seen[-1])
        elif max(itertools.islice(reversed(self._seen), self.SETTLE)) < -self.ASTRAY:
            self._break_off()
        elif len(self._seen) == self._seen.maxlen and min(self._seen) > self.ASTRAY:
            self._offset += min(self._seen)
            self._seen.clear()
            self._lags.clear()

    def _break_off(self) -> None:
        """The device has not gone on as it should: what comes next does not follow on what was before."""
        self._offset = None
        self._take(np.zeros(self._rate_hz, np.float32))

    def _measure(self) -> None:
        assert self._offset is not None
        near = np.concatenate(self._near)
        now = (self._frame + 1) * FRAME_SAMPLES
        begin = now + self._offset - self.delay - (len(near) + self.LATEST) * (1 + self.drift)
        far = self._ring.read(begin, len(near) + self.LATEST - self.EARLIEST, self.drift)
        lag = find_lag(near, far, self.EARLIEST - self.LATEST, 0)
        self._inaudible = self._inaudible + 1 if lag.peak < self.INAUDIBLE_PEAK else 0
        if lag.peak < self.AUDIBLE_PEAK:
            return
        late = lag.samples + self.LATEST
        self._follow(now - len(near) / 2, self.delay + late - self._offset + self.drift * len(near) / 2, late)

    def _follow(self, at: float, lag: float, late: float) -> None:
        """Take a measurement: at this microphone sample the echo's source was `lag` behind, `late` behind `read`."""
        if self._lags and abs(lag - self._lags[-1][1] + self.drift * (at - self._lags[-1][0])) > self.STRAY:
            self._strays += 1
            if self._strays < 3:
                return
            self._lags.clear()
        self._strays = 0
        self._lags.append((at, lag))
        if len(self._lags) == 2 and not self.BEAR.start <= late < self.BEAR.stop:
            self.delay += late - self.LEAD
            self.corrections += 1
            late = self.LEAD
        if len(self._lags) <= 2:
            self._kept_late, self._pull = late, 0.0
            return
        slopes = [(b - a) / (t - s) for (s, a), (t, b) in itertools.combinations(self._lags, 2) if t - s >= 2 * SAMPLE_RATE_HZ]
        if len(slopes) >= 3:
            self.drift = max(-self.STEEPEST, min(self.STEEPEST, -float(np.median(slopes))))
        creep = late - self._kept_late
        self._pull = -max(-2.0, min(2.0, creep)) / (8 * SAMPLE_RATE_HZ) if abs(creep) > 0.25 else 0.0
