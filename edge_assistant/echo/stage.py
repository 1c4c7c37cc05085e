"""Reference, canceller and guard together: what the loop needs against our own echo."""

import numpy as np

from edge_assistant.echo.canceller import CANCELLERS, Canceller
from edge_assistant.echo.guard import EchoGuard, GuardConfig
from edge_assistant.echo.reference import Reference
from edge_assistant.errors import UsageError
from edge_assistant.frames import FRAME_SAMPLES, frames
from edge_assistant.runtime import Pcm

STRATEGIES = tuple(CANCELLERS)
AUDIBLE = 1e-3
"""Peak of what is played below which it is the hum that keeps an amplifier awake."""
REST = frames(1000)
"""Frames of silence from the loudspeaker after which the canceller rests: nobody can hear an echo of so long ago."""
QUIET = frames(320)
"""Frames in which nobody speaks, after which it may stop to hold sound back: the 16 ms that it holds are dropped."""
SPEECH = 0.2
"""Probability from which somebody may speak."""


class Echo:
    """Owned by the deciding thread; only `played` may be called from another."""

    def __init__(
        self, strategy: str, *, delay_ms: float = 60.0, drift_ppm: float = 0.0, guard: GuardConfig | None = None
    ) -> None:
        """Load the strategy; `delay_ms` and `drift_ppm` are what `echo-test` measured.

        Raises:
            EchoError: it is not installed.
            UsageError: there is no such strategy.
        """
        if strategy not in CANCELLERS:
            raise UsageError(f"there is no echo strategy {strategy}", f"use one of {', '.join(STRATEGIES)}")
        self.strategy = strategy
        self.reference = Reference(delay_ms, drift_ppm)
        self._canceller: Canceller = CANCELLERS[strategy]()
        self._guard = EchoGuard(guard or GuardConfig(half_duplex=strategy == "half-duplex"))
        self._late = np.zeros(self._canceller.delay_samples, np.float32)
        self._silent = self._quiet = 0
        """Frames since we were heard, and since the user was."""
        self._prompt = False
        """It rests, and holds nothing back."""
        self._cleaned = self._far = np.zeros(FRAME_SAMPLES, np.float32)

    def played(self, pcm: Pcm, rate_hz: int) -> None:
        """Take a block that the loudspeaker was given, shape [samples]. From any one thread: copies and posts."""
        self.reference.played(pcm, rate_hz)

    def clean(self, number: int, near: Pcm) -> Pcm:
        """Frame `number` of the microphone, shape [FRAME_SAMPLES], without what we said ourselves."""
        self._far = self.reference.read(number)
        self.reference.listen(near, self._far)
        self._silent = 0 if np.abs(self._far).max() > AUDIBLE else self._silent + 1
        resting = self._silent > REST
        self._prompt = resting and (self._prompt or self._quiet >= QUIET)
        late = np.concatenate([self._late, near])
        self._late = late[FRAME_SAMPLES:]
        self._cleaned = near if self._prompt else late[:FRAME_SAMPLES] if resting else self._canceller(near, self._far)
        return self._cleaned

    def guard(self, probability: float) -> float:
        """The probability that the frame cleaned last is the user's speech, from the probability that it is speech."""
        self._quiet = 0 if probability >= SPEECH else self._quiet + 1
        return self._guard.step(self._cleaned, self._far, probability, echo_free=self.reference.echo_free)

    @property
    def trusted(self) -> bool:
        """May the user speak over us? Not in half duplex, nor before we have heard how much of us is left over."""
        return self._guard.trusted

    @property
    def user_db(self) -> float:
        """How loud the user must be to be heard over us, in dB of full scale."""
        return self._guard.user_db
