"""A loudspeaker and a microphone that call back in real time, on two clocks, into a `Reference`; as fast as can be."""

import numpy as np
import soxr
from room import RATE_HZ

FRAME = 512


def run(reference, far, near, *, rate_hz=22_050, block=353, drift_ppm=0.0, jitter_ms=3.0, late_ms=0.0, seed=0, gaps=()):
    """What `reference.read` gives, shape as `near`: `far` (16 kHz on the loudspeaker's own clock) is handed over by the block.

    The loop takes each frame up to `late_ms` late; the loudspeaker does not run in `gaps` (begin, end, in seconds).
    """
    rng = np.random.default_rng(seed)
    played = far if rate_hz == RATE_HZ else soxr.resample(far, RATE_HZ, rate_hz).astype(np.float32)
    period_s = block / (rate_hz / (1 + drift_ppm * 1e-6))
    out, handed, t = [], 0, 0.0
    due = 0.0
    for frame in range(len(near) // FRAME):
        now = (frame + 1) * FRAME / RATE_HZ + rng.random() * late_ms / 1000
        while due <= now and handed < len(played):
            if not any(begin <= t < end for begin, end in gaps):
                reference.played(played[handed : handed + block], rate_hz)
                handed += block
            t += period_s
            due = t + rng.random() * jitter_ms / 1000
        pcm = near[frame * FRAME : (frame + 1) * FRAME]
        read = reference.read(frame)
        reference.listen(pcm, read)
        out.append(read)
    return np.concatenate(out)
