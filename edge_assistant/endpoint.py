"""Speech probabilities in, speech events out. Pure: it counts frames and holds no clock.

    SILENCE -> DOUBT -> SPEECH <-> PAUSE -> SILENCE
                 '-> SILENCE (a cough)       '-> DEAF (never a pause) -> SILENCE

The wait for the end of a turn adapts to the speaker: it is longer than every pause inside their last turns.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from edge_assistant.frames import (
    FRAME_MS,
    SpeechConfirmed,
    SpeechDropped,
    SpeechEnded,
    SpeechEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    frames,
)


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """When speech begins, when it may be over, and when it is."""

    threshold: float = 0.5
    """Speech probability from which a frame is speech after silence (0 to 1)."""
    release: float = 0.35
    """Speech probability below which a frame is silence after speech: a fading vowel is not a pause."""
    start_ms: int = 96
    """Speech before a turn starts."""
    confirm_ms: int = 160
    """Speech before a turn is meant: less is a click or a cough, and gets no reply."""
    barge_ms: int = 300
    """The same while the assistant speaks: less lets it go on where it was."""
    preroll_ms: int = 384
    """Sound kept from before the turn starts, so that its first syllable is not lost; `start_ms` is part of it."""
    pause_ms: int = 192
    """Silence before we begin to think, on suspicion."""
    end_ms: int = 608
    """Silence before the turn is over, for a speaker we have not heard yet."""
    end_min_ms: int = 448
    """The shortest such wait, for one who never pauses."""
    end_max_ms: int = 1216
    """The longest, for one who pauses long."""
    longest_ms: int = 120_000
    """A turn that long is over whatever is heard: a television never pauses."""


class Patience:
    """How long to wait for the end of a turn: a margin longer than the longest pause inside the last turns."""

    TURNS = 8
    MARGIN_MS = 224
    REGRET_MS = 416
    """Who goes on so soon after the end of a turn was cut off."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._longest_ms = deque([config.end_ms - self.MARGIN_MS], maxlen=self.TURNS)
        """For each of the last turns, its longest pause."""
        self._pause_ms = 0
        self._wait_ms = config.end_ms

    @property
    def wait_ms(self) -> int:
        """Silence after which the present turn is over."""
        return self._wait_ms

    def paused(self, ms: int) -> None:
        """The speaker went on after a pause of this length."""
        self._pause_ms = max(self._pause_ms, ms)
        self._wait_ms = self._bound(max(self._wait_ms, ms + self.MARGIN_MS))

    def ended(self) -> None:
        """The turn is over."""
        self._longest_ms.append(self._pause_ms)
        self._pause_ms = 0
        self._wait_ms = self._bound(max(self._longest_ms) + self.MARGIN_MS)

    def regret(self, ms: int) -> None:
        """The last turn was not over: the speaker went on, `ms` after the sound had stopped."""
        self._longest_ms[-1] = max(self._longest_ms[-1], ms)
        self._wait_ms = self._bound(max(self._longest_ms) + self.MARGIN_MS)

    def _bound(self, ms: int) -> int:
        return min(max(ms, self._config.end_min_ms), self._config.end_max_ms)


class Mode(Enum):
    """What the endpointer believes."""

    SILENCE = auto()
    DOUBT = auto()
    SPEECH = auto()
    PAUSE = auto()
    DEAF = auto()
    """Until the sound that is on has stopped once."""


class Endpointer:
    """Turns frames' speech probabilities into the events of a turn."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._start, self._pause, self._longest = (frames(ms) for ms in (config.start_ms, config.pause_ms, config.longest_ms))
        self._guess = self._pause
        """Silence before we begin to think, in frames."""
        self.patience = Patience(config)
        self._mode = Mode.SILENCE
        self._speech = False
        self._since = 0
        """The first frame of the run of speech or silence that we are in."""
        self._began = self._spoken = self._paused = 0
        """The first frame of the turn, its frames of speech, and the first frame of its last pause."""
        self._over: int | None = None
        """The first frame of the silence that ended the last turn."""
        self._hinted_ms: int | None = None

    @property
    def wait_ms(self) -> int:
        """Silence after which the present turn is over."""
        return self.patience.wait_ms if self._hinted_ms is None else self._hinted_ms

    def hint(self, wait_ms: int) -> None:
        """Wait this long in the present pause: what was said sounds finished, or does not."""
        if self._mode is Mode.PAUSE:
            self._hinted_ms = min(max(wait_ms, self._config.end_min_ms), self._config.end_max_ms)

    def guess_late(self, late: bool) -> None:
        """Begin to think only when the turn may be over at any moment: fewer guesses are in vain."""
        self._guess = frames(self._config.end_min_ms) if late else self._pause

    def reset(self) -> None:
        """Whatever is being said is no turn any more; the next one begins after a silence."""
        self._mode = Mode.DEAF if self._speech else Mode.SILENCE

    def restart(self, frame: int) -> None:
        """The wake word ended in this frame: what is said after it is a turn, even without a silence between."""
        self._mode, self._since = Mode.SILENCE, frame + 1

    def confirm(self) -> SpeechConfirmed | None:
        """What is being said was understood: it is meant, however short it is. Returns the event that this causes."""
        if self._mode is not Mode.DOUBT:
            return None
        event = SpeechConfirmed(self._began)
        self._enter(Mode.SPEECH, event)
        return event

    def finish(self, frame: int) -> list[SpeechEvent]:
        """The speaker lets the button go: what was said is over, without a wait. Returns the events that it causes."""
        events: list[SpeechEvent] = []
        if self._mode is Mode.SPEECH:
            events.append(self._enter(Mode.PAUSE, SpeechPaused(frame)))
        if self._mode is Mode.PAUSE:
            self._over = None
            events.append(self._enter(Mode.DEAF if self._speech else Mode.SILENCE, SpeechEnded(self._paused)))
        return events

    def step(self, frame: int, probability: float, *, over_reply: bool = False) -> SpeechEvent | None:
        """Take the speech probability of frame number `frame`; return the event that it causes.

        `over_reply`: the assistant speaks, so that it takes more to be meant.
        """
        config = self._config
        speech = probability >= (config.release if self._speech else config.threshold)
        if speech is not self._speech:
            self._speech, self._since = speech, frame
        run = frame + 1 - self._since
        self._spoken += speech
        match self._mode:
            case Mode.SILENCE if speech and run >= self._start:
                self._began, self._spoken = self._since, run
                if self._over is not None and (self._since - self._over) * FRAME_MS <= self.wait_ms + Patience.REGRET_MS:
                    self.patience.regret((self._since - self._over) * FRAME_MS)
                return self._enter(Mode.DOUBT, SpeechStarted(self._since))
            case Mode.DOUBT if self._spoken >= frames(config.barge_ms if over_reply else config.confirm_ms):
                return self._enter(Mode.SPEECH, SpeechConfirmed(self._began))
            case Mode.DOUBT if not speech and run >= self._pause:
                return self._enter(Mode.SILENCE, SpeechDropped(self._since))
            case Mode.SPEECH if not speech and run >= self._guess:
                return self._enter(Mode.PAUSE, SpeechPaused(self._since))
            case Mode.SPEECH if frame - self._began >= self._longest:
                return self._enter(Mode.PAUSE, SpeechPaused(frame))
            case Mode.PAUSE if frame - self._began > self._longest or (not speech and run >= frames(self.wait_ms)):
                self._over = self._since if not speech else None
                self.patience.ended()
                return self._enter(Mode.DEAF if speech else Mode.SILENCE, SpeechEnded(frame if speech else self._since))
            case Mode.PAUSE if speech:
                self.patience.paused((self._since - self._paused) * FRAME_MS)
                return self._enter(Mode.SPEECH, SpeechResumed(self._since))
            case Mode.DEAF if not speech and run >= self._pause:
                self._mode = Mode.SILENCE
                return None
            case _:
                return None

    def _enter(self, mode: Mode, event: SpeechEvent) -> SpeechEvent:
        self._mode, self._hinted_ms, self._paused = mode, None, event.frame
        return event
