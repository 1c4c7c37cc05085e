"""Whether speech may open a turn now. Pure: it counts frames and holds no clock.

open      always
wake      for a while after the wake word
button    for a while after the button, and while it is held

In the last two also for a while after each reply, so that one can follow up without the wake word.
"""

from dataclasses import dataclass

from edge_assistant.frames import frames
from edge_assistant.turn import State

MODES = ("open", "wake", "button")
BARGE_INS = ("speech", "wake")


@dataclass(frozen=True, slots=True)
class AttentionConfig:
    """When it listens."""

    mode: str = "open"
    """One of MODES."""
    barge_in: str = "speech"
    """What interrupts a reply: any speech, or only the wake word and the buttons."""
    window_ms: int = 8000
    """After the wake word or the button, for speech to begin."""
    follow_up_ms: int = 6000
    """After a reply, for speech to begin without the wake word."""


class Attention:
    """Asked once a frame."""

    def __init__(self, config: AttentionConfig) -> None:
        self._config = config
        self._until = -1
        """The last frame in which speech may open a turn."""
        self._before = State.IDLE
        self.held = False
        """The button is down."""

    def call(self, frame: int) -> None:
        """The wake word, or the button: listen from the next frame on."""
        self._until = frame + frames(self._config.window_ms)

    def listens(self, frame: int, state: State) -> bool:
        """May speech in this frame count?"""
        before, self._before = self._before, state
        if state is State.IDLE and before in (State.REPLYING, State.INTERRUPTED):
            self._until = max(self._until, frame + frames(self._config.follow_up_ms))
        match state:
            case State.HEARING | State.GUESSING | State.INTERRUPTED:
                return True  # what has begun goes on
            case State.REPLYING:
                return self._config.barge_in == "speech"
            case State.IDLE:
                return self._config.mode == "open" or self.held or frame <= self._until
