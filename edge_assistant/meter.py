"""What a microphone gives, in figures: level, clipping, noise floor."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_assistant.frames import FRAME_MS, frames
from edge_assistant.runtime import Pcm

SILENT_DB = -120.0
"""What digital silence is called, in dB of full scale."""
CLIPPED = 0.999
"""From this size on a sample was probably higher."""
FLOOR_MS = 3000
"""The noise floor is what the quietest tenth of the last frames stays below."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One frame, measured. Levels are dB of full scale."""

    at_ms: int
    """The frame's beginning on the microphone's clock."""
    level_db: float
    """Root mean square."""
    peak_db: float
    floor_db: float
    """Noise floor."""
    clipped: int
    """Samples at the limit, since the start."""
    lost: int
    """Frames that were skipped, since the start."""
    speech: float
    """Probability, 0 to 1."""


class Meter:
    """Measures frame by frame."""

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=frames(FLOOR_MS))
        self._clipped = self._lost = self._next = 0

    def read(self, number: int, pcm: Pcm, speech: float) -> Reading:
        """Measure frame `number` (shape [FRAME_SAMPLES]), of which a detector says `speech`."""
        self._lost += number - self._next
        self._next = number + 1
        size = np.abs(pcm)
        self._clipped += int(np.count_nonzero(size >= CLIPPED))
        level = decibels(float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))))
        self._levels.append(level)
        floor = float(np.percentile(np.array(self._levels), 10))
        return Reading(number * FRAME_MS, level, decibels(float(size.max())), floor, self._clipped, self._lost, speech)


def decibels(amplitude: float) -> float:
    """Of full scale."""
    return max(SILENT_DB, 20 * float(np.log10(max(amplitude, 1e-9))))


def advice(last: Reading, loudest_db: float) -> str:
    """What a person should do about what sounds, in a line; "" if nothing. `loudest_db`: the loudest frame so far."""
    if last.clipped > 100:
        return "it clips: turn the microphone's gain down (alsamixer, or pactl set-source-volume)"
    if last.floor_db > -35:
        return "it is loud here, or the gain is too high: speech will be hard to tell from noise"
    if loudest_db < -45:
        return "very quiet: speak, and if you did, turn the microphone's gain up (alsamixer, or pactl set-source-volume)"
    return ""
