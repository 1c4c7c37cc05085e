"""What the loudspeaker plays comes back from the walls: s16le mono at 48 kHz from stdin to stdout. LEVEL is its part."""

import sys

import numpy as np

RATE = 48_000
BLOCK = RATE // 50
T60_S = 0.4


def main() -> None:
    """Convolve block by block, for ever."""
    level = float(sys.argv[1])
    t = np.arange(RATE // 4) / RATE
    walls = np.random.default_rng(3).standard_normal(len(t)) * 10 ** (-3 * t / T60_S) * 0.02
    walls[0] = 1.0  # the straight way
    walls *= level / np.sqrt(np.sum(walls**2))
    size = len(walls) + BLOCK
    spectrum = np.fft.rfft(walls, size)
    tail = np.zeros(len(walls))
    while len(raw := sys.stdin.buffer.read(2 * BLOCK)) == 2 * BLOCK:
        heard = np.fft.irfft(np.fft.rfft(np.frombuffer(raw, "<i2") / 32768, size) * spectrum, size)
        heard[: len(tail)] += tail
        tail = heard[BLOCK:].copy()
        sys.stdout.buffer.write((np.clip(heard[:BLOCK], -1, 1) * 32767).astype("<i2").tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
