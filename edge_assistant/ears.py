"""A frame from the microphone in, what was heard in it out: echo taken away, speech found, the wake word and “stop” noticed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from edge_assistant.echo import Echo
from edge_assistant.frames import Frame
from edge_assistant.runtime import Pcm
from edge_assistant.vad import Vad

Spot = Callable[[Pcm], bool]
"""Whether a word has just been completed in this frame (shape [FRAME_SAMPLES]). It remembers: frames are given in order."""


SpotSaid = Callable[[Pcm, float], bool]
"""The same for something that is said between silences: it is told the probability of speech as well."""

CLIPPED = 0.999
"""Samples beyond it are at the end of the scale, whatever the width of the microphone's."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What a frame holds."""

    pcm: Pcm
    """Without our own echo. Shape [FRAME_SAMPLES]."""
    speech: float
    """Probability, 0 to 1, that the user speaks."""
    woke: bool = False
    """The wake word has just been completed."""
    stopped: bool = False
    """So has “stop”, or another word for it, and nothing else was said."""
    power: float = 0.0
    """Mean square of `pcm`, 0 to 1."""
    clipped: float = 0.0
    """Share of the microphone's samples at the end of the scale, 0 to 1."""


class Ears(Protocol):
    """They remember: frames are given in order."""

    def __call__(self, frame: Frame) -> Heard: ...


class PlainEars:
    """Speech, the wake word and “stop”; whatever we play ourselves is heard as well."""

    def __init__(self, vad: Vad, wake: Spot | None = None, stop: SpotSaid | None = None) -> None:
        self._vad, self._wake, self._stop = vad, wake, stop

    def __call__(self, frame: Frame) -> Heard:
        """Hear a frame."""
        return self.hear(frame.pcm, frame.pcm)

    def hear(self, pcm: Pcm, raw: Pcm) -> Heard:
        """Hear sound that follows on the sound before; `raw` is what the microphone gave for it."""
        speech = self._vad(pcm)
        woke = self._wake is not None and self._wake(pcm)
        stopped = self._stop is not None and self._stop(pcm, speech)
        return Heard(pcm, speech, woke, stopped, float(np.mean(np.square(pcm))), float(np.mean(np.abs(raw) >= CLIPPED)))


class EchoEars:
    """Ears in the same room as the loudspeaker."""

    def __init__(self, ears: PlainEars, echo: Echo) -> None:
        self._ears, self._echo = ears, echo

    def __call__(self, frame: Frame) -> Heard:
        """Hear a frame."""
        heard = self._ears.hear(self._echo.clean(frame.number, frame.pcm), frame.pcm)  # a canceller takes the ends off the scale
        return replace(heard, speech=self._echo.guard(heard.speech))
