"""Sound to log-mel frames, as Gemma 4's feature extractor makes them, a piece at a time.

A frame is a pure function of its own samples (each goes through the filter bank by itself, so the sums run in one order),
hence any splitting of the sound gives the same frames bit for bit. Source: transformers 5.23, `feature_extraction_gemma4.py`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.config import MelConfig

Frames = NDArray[np.float32]
"""Log-mel. Shape [frames, bins]."""


def filter_bank(config: MelConfig, transform: int) -> NDArray[np.float64]:
    """Triangular filters, evenly spaced on the HTK mel scale. Shape [transform / 2 + 1, bins]."""

    def mel(hz: float) -> float:
        return 2595.0 * math.log10(1.0 + hz / 700.0)

    edges_mel = np.linspace(mel(config.low_hz), mel(config.high_hz), config.bins + 2)
    edges_hz = 700.0 * (np.power(10, edges_mel / 2595.0) - 1.0)
    bins_hz = np.linspace(0, config.rate_hz // 2, transform // 2 + 1)
    widths = np.diff(edges_hz)
    slopes = edges_hz[None] - bins_hz[:, None]
    falling, rising = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    return np.maximum(0.0, np.minimum(falling, rising))


class Mel:
    """The frames of a clip. Frame f is final once hop·f + frame/2 + 1 samples of the clip exist: it looks one sample ahead."""

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self.lead = config.frame // 2
        """Zeros in front of a clip, in samples."""
        transform = 2 ** math.ceil(math.log2(config.frame)) * (2 if config.overdrive else 1)
        self._transform = transform
        self._window = np.hanning(config.frame + 1)[:-1].astype(np.float32)  # periodic
        self._filters = filter_bank(config, transform)

    def count(self, samples: int) -> int:
        """How many frames are final in so many samples, the leading zeros counted."""
        return max(0, (samples - self.config.frame - 1) // self.config.hop + 1)

    def span(self, frames: int) -> int:
        """How many samples, the leading zeros counted, make so many frames final."""
        return (frames - 1) * self.config.hop + self.config.frame + 1

    def frames(self, samples: NDArray[np.float32]) -> Frames:
        """Every final frame of the samples; the first begins at samples[0]. Shape [samples] to [frames, bins]."""
        count = self.count(len(samples))
        if not count:
            return np.zeros((0, self.config.bins), np.float32)
        if self.config.scale != 1.0:
            samples = samples * np.float32(self.config.scale)
        windows = np.lib.stride_tricks.sliding_window_view(samples, self.config.frame + 1)[:: self.config.hop][:count]
        spectrum = np.abs(np.fft.rfft(self._emphasise(windows) * self._window, n=self._transform, axis=-1))
        mel = np.log((spectrum[:, None, :] @ self._filters)[:, 0] + self.config.floor)
        if self.config.mean is not None:
            mel = mel - np.asarray(self.config.mean)
        if self.config.deviation is not None:
            mel = mel / np.asarray(self.config.deviation)
        return mel.astype(np.float32)

    def _emphasise(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """[frames, frame + 1] samples to [frames, frame]."""
        strength = np.float32(self.config.preemphasis)
        if not strength:
            return windows[:, :-1]
        if not self.config.preemphasis_htk:
            return np.subtract(windows[:, 1:], windows[:, :-1] * strength)
        first = windows[:, :1] * np.float32(1.0 - self.config.preemphasis)
        return np.concatenate([first, windows[:, 1:-1] - strength * windows[:, :-2]], axis=1)
