"""Any rate to 16 kHz while the sound comes in, held back by 2 ms.

Why not soxr, which turns whole sounds elsewhere: its stream gives out in bursts and holds up to 40 ms back, and a conversation
waits for the last frame of speech.
"""

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edge_assistant.frames import SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm

CROSSINGS = 32
"""Of zero by the filter, on either side: it passes up to 7 kHz, and is 70 dB down from 8.2 kHz on (at 48 kHz)."""
CUTOFF = 0.95
"""Of half the lower rate: where the filter has half its height."""
KAISER_BETA = 6.8
PIECE = 64
"""Outputs at a time: what that needs stays in the cache, and is not asked of the system anew for every frame."""

_correlate: Any = np.correlate  # numpy's own type of it is not wholly known


class Resampler:
    """A polyphase filter. The output for input time 0 comes first: what it gives is not shifted, only late."""

    def __init__(self, rate_hz: int) -> None:
        common = math.gcd(rate_hz, SAMPLE_RATE_HZ)
        self._up, self._down = SAMPLE_RATE_HZ // common, rate_hz // common
        band = CUTOFF * min(1.0, SAMPLE_RATE_HZ / rate_hz)
        self._half = math.ceil(CROSSINGS / band)
        # taps[phase]: the filter around an output that lies phase/up of a sample behind an input sample.
        phases = np.arange(self._up)[:, np.newaxis] / self._up
        distance = np.arange(1 - self._half, self._half + 1) - phases
        window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / self._half) ** 2, 0, None))) / np.i0(KAISER_BETA)
        taps = np.sinc(band * distance) * window
        self._taps: Pcm = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
        self._held: Pcm = np.zeros(self._half - 1, np.float32)
        self._next = 0
        """The next output's place behind the first held sample that is its centre, in input samples times `up`."""

    def __call__(self, pcm: Pcm) -> Pcm:
        """The next piece of sound (shape [samples]); returns what is ready of it at 16 kHz."""
        sound = np.concatenate([self._held, pcm])
        span = 2 * self._half
        reach = (len(sound) - span + 1) * self._up
        if reach <= self._next:
            self._held = sound
            return np.zeros(0, np.float32)
        places = np.arange(self._next, reach, self._down)
        whole, phase = np.divmod(places, self._up)
        out = self._filter_whole(sound, whole) if self._up == 1 else self._filter(sound, whole, phase)
        done, self._next = divmod(int(places[-1]) + self._down, self._up)
        self._held = sound[done:]
        return out

    def _filter(self, sound: Pcm, places: NDArray[np.int64], phases: NDArray[np.int64]) -> Pcm:
        windows = sliding_window_view(sound, 2 * self._half)
        out = np.empty(len(places), np.float32)
        for begin in range(0, len(places), PIECE):
            piece = slice(begin, begin + PIECE)
            np.einsum("ij,ij->i", windows[places[piece]], self._taps[phases[piece]], out=out[piece])
        return out

    def _filter_whole(self, sound: Pcm, places: NDArray[np.int64]) -> Pcm:
        """Where the input's rate is a multiple: every `down`th sample with every `down`th tap, which needs no copies."""
        sound, taps, count = sound[places[0] :], self._taps[0], len(places)
        out: Pcm = np.zeros(count, np.float32)
        for offset in range(min(self._down, len(taps))):
            branch = taps[offset :: self._down]
            out += _correlate(sound[offset :: self._down][: count + len(branch) - 1], branch, "valid")
        return out
