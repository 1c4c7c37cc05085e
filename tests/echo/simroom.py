"""A room made of numbers: a loudspeaker that overdrives, walls that ring, a microphone some way off on a clock of its own.

Everything at 16 kHz mono, shape [samples]; the same seed gives the same room.
"""

from dataclasses import dataclass

import numpy as np
import soxr
from scipy.signal import fftconvolve

RATE_HZ = 16_000


@dataclass(frozen=True)
class Room:
    delay_ms: float = 90.0
    """From the block handed to the device to its first sound in the microphone."""
    echo_db: float = -6.0
    """Level of the echo against what was played."""
    t60_s: float = 0.4
    drift_ppm: float = 0.0
    """The loudspeaker's clock runs this much slower than the microphone's."""
    clip: float = 0.5
    """Where the loudspeaker saturates (1: hardly ever)."""
    noise_db: float = -60.0
    """The microphone's own noise, in dB of full scale."""
    seed: int = 1

    def response(self):
        """Impulse response, shape [samples], energy 1 (Polack's model: a direct path, then noise that decays by 60 dB in t60)."""
        rng = np.random.default_rng(self.seed)
        t = np.arange(round(self.t60_s * RATE_HZ)) / RATE_HZ
        tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / self.t60_s)
        tail[: RATE_HZ // 500] = 0  # the first wall is 2 ms behind
        tail *= 0.5 / np.sqrt((tail**2).sum())
        tail[0] = np.sqrt(0.75)
        return tail

    def echo(self, far):
        """What of `far` comes back to the microphone, shape as `far`."""
        driven = self.clip * np.tanh(far / self.clip)
        if self.drift_ppm:
            driven = soxr.resample(driven.astype(np.float64), RATE_HZ, RATE_HZ * (1 + self.drift_ppm * 1e-6))
        rung = fftconvolve(driven, self.response())
        delay = round(self.delay_ms * RATE_HZ / 1000)
        out = np.zeros(len(far))
        rung = rung[: len(far) - delay]
        out[delay : delay + len(rung)] = rung
        return (10 ** (self.echo_db / 20) * out).astype(np.float32)

    def hear(self, far, near=None):
        """What the microphone gives: echo, the user, noise; shape as `far`."""
        rng = np.random.default_rng(self.seed + 1000)
        noise = 10 ** (self.noise_db / 20) * rng.standard_normal(len(far))
        heard = self.echo(far) + noise + (0 if near is None else near)
        return np.clip(heard, -1, 1).astype(np.float32)


def level_db(pcm):
    return 10 * np.log10(np.mean(np.square(pcm, dtype=np.float64)) + 1e-12)
