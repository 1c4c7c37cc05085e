"""Speech probabilities in, speech events out. Pure: it counts frames and holds no clock."""

from dataclasses import dataclass
from enum import Enum, auto

from edge_assistant.frames import SpeechEnded, SpeechEvent, SpeechPaused, SpeechResumed, SpeechStarted, frames


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """When speech begins, when it may be over, and when it is."""

    threshold: float = 0.5
    """Speech probability from which a frame is speech after silence (0 to 1)."""
    release: float = 0.35
    """Speech probability below which a frame is silence after speech: a fading vowel is not a pause."""
    start_ms: int = 96
    """Speech before a turn starts."""
    preroll_ms: int = 384
    """Sound kept from before the turn starts, so that its first syllable is not lost; `start_ms` is part of it."""
    pause_ms: int = 192
    """Silence before we begin to think, on suspicion."""
    end_ms: int = 608
    """Silence before the turn is over."""


class Mode(Enum):
    """What the endpointer believes."""

    SILENCE = auto()
    SPEECH = auto()
    PAUSE = auto()


class Endpointer:
    """Turns frames' speech probabilities into the events of a turn."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._start, self._pause, self._end = (frames(ms) for ms in (config.start_ms, config.pause_ms, config.end_ms))
        self._mode = Mode.SILENCE
        self._speech = False
        self._since = 0
        """The first frame of the run of speech or silence that we are in."""

    def step(self, frame: int, probability: float) -> SpeechEvent | None:
        """Take the speech probability of frame number `frame`; return the event that it causes."""
        config = self._config
        speech = probability >= (config.release if self._speech else config.threshold)
        if speech is not self._speech:
            self._speech, self._since = speech, frame
        run = frame + 1 - self._since
        match self._mode:
            case Mode.SILENCE if speech and run >= self._start:
                return self._enter(Mode.SPEECH, SpeechStarted(self._since))
            case Mode.SPEECH if not speech and run >= self._pause:
                return self._enter(Mode.PAUSE, SpeechPaused(self._since))
            case Mode.PAUSE if speech:
                return self._enter(Mode.SPEECH, SpeechResumed(self._since))
            case Mode.PAUSE if run >= self._end:
                return self._enter(Mode.SILENCE, SpeechEnded(self._since))
            case _:
                return None

    def _enter(self, mode: Mode, event: SpeechEvent) -> SpeechEvent:
        self._mode = mode
        return event
