"""How late an echo comes. Pure."""

from dataclasses import dataclass

import numpy as np

from edge_assistant.frames import SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm

LOWEST_HZ, HIGHEST_HZ = 200, 6000
"""The band that is compared: what small loudspeakers play and speech has."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Where two sounds are most alike."""

    samples: float
    """How much later the first holds what the second does; between two samples, a parabola decides."""
    peak: float
    """The correlation there against its root mean square: noise stays below 6, an echo in a room has 20 to 60."""


def whitened(near: Pcm, far: Pcm, size: int) -> Pcm:
    """GCC-PHAT: the correlation of two sounds whose spectra were made flat, shape [size]; `size` holds both, and is a power of 2.

    Index k tells how alike they are if `near` is k samples late; size - k, if it is k samples early (Knapp and Carter, 1976).
    """
    cross = np.fft.rfft(near * np.hanning(len(near)), size) * np.conj(np.fft.rfft(far, size))
    cross /= np.abs(cross) + 1e-9 * size
    cross[: LOWEST_HZ * size // SAMPLE_RATE_HZ] = 0
    cross[HIGHEST_HZ * size // SAMPLE_RATE_HZ :] = 0
    return np.fft.irfft(cross, size).astype(np.float32)


def find_lag(near: Pcm, far: Pcm, earliest: int, latest: int) -> Lag:
    """Where in `far` the sound of `near` is, if it is from `earliest` to `latest` samples late; both begin at the same time."""
    longest = max(len(far), len(near) + max(0, latest), len(near) - min(0, earliest))
    correlation = whitened(near, far, 1 << (longest - 1).bit_length())
    rms = float(np.sqrt(np.mean(correlation**2))) + 1e-12
    alike = np.abs(np.take(correlation, np.arange(earliest - 1, latest + 2), mode="wrap"))
    best = 1 + int(alike[1:-1].argmax())
    before, here, after = alike[best - 1 : best + 2]
    curve = before - 2 * here + after
    between = 0.5 * float(before - after) / float(curve) if curve else 0.0
    return Lag(earliest - 1 + best + max(-0.5, min(0.5, between)), float(here) / rms)
