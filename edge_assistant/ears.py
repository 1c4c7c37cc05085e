"""A frame from the microphone in, what was heard in it out: echo taken away, speech found, the wake word noticed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from edge_assistant.echo import Echo
from edge_assistant.frames import Frame
from edge_assistant.runtime import Pcm
from edge_assistant.vad import Vad

Spot = Callable[[Pcm], bool]
"""Whether a word has just been completed in this frame (shape [FRAME_SAMPLES]). It remembers: frames are given in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What a frame holds."""

    pcm: Pcm
    """Without our own echo. Shape [FRAME_SAMPLES]."""
    speech: float
    """Probability, 0 to 1, that the user speaks."""
    woke: bool = False
    """The wake word has just been completed."""


class Ears(Protocol):
    """They remember: frames are given in order."""

    def __call__(self, frame: Frame) -> Heard: ...


class PlainEars:
    """Speech, and the wake word; whatever we play ourselves is heard as well."""

    def __init__(self, vad: Vad, wake: Spot | None = None) -> None:
        self._vad, self._wake = vad, wake

    def __call__(self, frame: Frame) -> Heard:
        """Hear a frame."""
        return self.hear(frame.pcm)

    def hear(self, pcm: Pcm) -> Heard:
        """Hear sound that follows on the sound before."""
        return Heard(pcm, self._vad(pcm), self._wake is not None and self._wake(pcm))


class EchoEars:
    """Ears in the same room as the loudspeaker."""

    def __init__(self, ears: PlainEars, echo: Echo) -> None:
        self._ears, self._echo = ears, echo

    def __call__(self, frame: Frame) -> Heard:
        """Hear a frame."""
        heard = self._ears.hear(self._echo.clean(frame.number, frame.pcm))
        return replace(heard, speech=self._echo.guard(heard.speech))
