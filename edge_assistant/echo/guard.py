"""Is the speech that is heard while we sound the user's, or our own? Pure: it counts frames and holds no clock.

Three tests, each fed by what the others cannot see; speech counts as the user's only if it passes all of them:

1. **Learned?** Until we have sounded for a while (`learn_ms`) nobody knows what the canceller leaves over.
2. **Louder than what is left over?** Of the frames in which we sounded, we keep how loud the cleaned sound was against what was
   played. Speech must stand out from nearly all of them by `margin_db`. What a bad canceller leaves over teaches a high mark,
   so a bad canceller ends in half duplex, never in an assistant that talks to itself; with headphones the mark is very low.
3. **Not our own words?** Whitened correlation (GCC-PHAT) of the cleaned sound with what was played: an echo that comes through,
   because somebody moved the loudspeaker, has a peak there; a user has none.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_assistant.echo.delay import find_lag
from edge_assistant.frames import FRAME_SAMPLES, frames
from edge_assistant.runtime import Pcm

VOICE_DB = -20.0
"""Level of our own voice as we play it."""


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Thresholds. Measured in simulated rooms with `make bench-echo`; see docs/echo.md."""

    half_duplex: bool = False
    """Nothing counts as the user's while we sound."""
    tail_ms: int = 416
    """How long after the last of our sound an echo may still be heard (a room of T60 0.4 s, and a delay measured wrongly)."""
    active_db: float = -55.0
    """Level of what we play, in dB of full scale, from which we sound. Our voice is at −20."""
    learn_below_db: float = 15.0
    """A frame teaches us that is at most so far below the loudest of late: in a weaker one, noise is louder than the echo. No
    fixed level would do: at a third of the volume our voice is at −39."""
    learn_ms: int = 2500
    """Our own sound before anything counts."""
    clean_ms: int = 800
    """The same, where the microphone hears nothing of it: headphones, or a server that cancels."""
    memory_ms: int = 8000
    """Our own sound that the mark is made of."""
    mark_quantile: float = 0.95
    low_quantile: float = 0.25
    spread_db: float = 10.0
    """The mark is at most so far above the low quantile: what is left of us spreads by 5 to 9 dB from there to the high one, and
    a user who spoke while nothing counted yet must not raise it out of reach."""
    margin_db: float = 4.0
    peak: float = 12.0
    """Peak of the whitened correlation against its root mean square: a user reaches 9 in 95 of 100 frames, an echo 20 to 60."""


class EchoGuard:
    """Lowers the speech probability to 0 where what was detected may be our own voice."""

    WINDOW = frames(256)
    """Frames that a level is taken over."""
    PEAK_WINDOW, PEAK_TAIL = frames(512), frames(256)
    """Frames of sound that are compared, and how much earlier they may have been played."""

    def __init__(self, config: GuardConfig | None = None) -> None:
        self.config = config or GuardConfig()
        self._left: deque[float] = deque(maxlen=self.WINDOW)
        self._played: deque[float] = deque(maxlen=frames(self.config.tail_ms))
        self._marks: deque[float] = deque(maxlen=frames(self.config.memory_ms))
        self._loud: deque[float] = deque(maxlen=frames(self.config.memory_ms))
        """Levels of what was played, as far as we sounded."""
        self._taught = 0
        self._echo_free = False
        self._far: deque[Pcm] = deque(maxlen=self.PEAK_WINDOW + self.PEAK_TAIL)
        self._cleaned: deque[Pcm] = deque(maxlen=self.PEAK_WINDOW)

    @property
    def trusted(self) -> bool:
        """May speech count at all while we sound?"""
        learn_ms = self.config.clean_ms if self._echo_free else self.config.learn_ms
        return not self.config.half_duplex and self._taught >= frames(learn_ms)

    def step(self, cleaned: Pcm, far: Pcm, probability: float, *, echo_free: bool = False) -> float:
        """Take one frame and the probability that `cleaned` is speech; return the probability that it is the user's.

        `echo_free`: as far as is known, the microphone does not hear what we play.
        """
        config = self.config
        self._echo_free = echo_free
        self._cleaned.append(cleaned)
        self._far.append(far)
        self._left.append(_power(cleaned))
        self._played.append(_power(far))
        played_db = _decibels(max(self._played))
        if played_db < config.active_db:
            return probability
        left_db = _decibels(sum(self._left) / len(self._left)) - played_db
        user = probability >= 0.5 and self.trusted and left_db > self.mark_db + config.margin_db and self.peak() < config.peak
        self._loud.append(played_db)
        if played_db > max(self._loud) - config.learn_below_db and not user:
            self._marks.append(left_db)
            self._taught += 1
        return probability if user else 0.0

    @property
    def mark_db(self) -> float:
        """What nearly all of our own sound stays below, cleaned against played, in dB."""
        if not self._marks:
            return 0.0
        low, high = np.quantile(self._marks, [self.config.low_quantile, self.config.mark_quantile])
        return float(min(high, low + self.config.spread_db))

    @property
    def user_db(self) -> float:
        """How loud the user must be to count, in dB of full scale, while we speak at `VOICE_DB`."""
        return VOICE_DB + self.mark_db + self.config.margin_db

    def peak(self) -> float:
        """How much the cleaned sound is like what was played: the peak of their whitened correlation against its RMS."""
        cleaned, far = np.concatenate(self._cleaned), np.concatenate(self._far)
        # Both end now, and `far` begins earlier: the cleaned sound is early by that, less the echo's own lateness.
        return find_lag(cleaned, far, len(cleaned) - len(far), 0).peak


def _power(pcm: Pcm) -> float:
    return float(np.dot(pcm, pcm)) / FRAME_SAMPLES


def _decibels(power: float) -> float:
    return 10 * float(np.log10(power + 1e-12))
