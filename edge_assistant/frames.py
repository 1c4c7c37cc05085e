"""The vocabulary: one clock, and the events that travel on it.

The clock is the microphone. Its unit is the frame: 512 samples of 16 kHz mono, 32 ms. Nothing in the loop asks the computer
what time it is to decide anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_assistant.prompt import ToolCall, Value
from edge_assistant.runtime import Pcm

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 512
"""What Silero's detector asks for."""
FRAME_MS = 1000 * FRAME_SAMPLES // SAMPLE_RATE_HZ


def frames(ms: int) -> int:
    """Milliseconds to whole frames, rounded up: a wait is never shorter than asked."""
    return -(-ms // FRAME_MS)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame from the microphone. It keeps its number when one before it was lost, so that a gap shows."""

    number: int
    """Frames since the microphone opened."""
    pcm: Pcm
    """Shape [FRAME_SAMPLES]."""


# What the endpointer tells. `frame` is the frame number at which it was so, which is earlier than the one that showed it.


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks."""

    frame: int
    """The first frame of speech."""


@dataclass(frozen=True, slots=True)
class SpeechConfirmed:
    """It is long enough to be meant."""

    frame: int
    """The first frame of speech."""


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """It was a click or a cough."""

    frame: int
    """The first frame of silence."""


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """Silence, long enough to think on suspicion."""

    frame: int
    """The first frame of silence."""


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The pause was only a pause."""

    frame: int
    """The first frame of speech."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The turn is the assistant's."""

    frame: int
    """The first frame of silence."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """The turn is over, and was not heard well enough to be answered."""

    frame: int
    """The first frame of silence."""
    question: str
    """What to say about it; "" to be silent."""


# What the workers tell. Every attempt at a reply has a number of its own: news of one that was given up is late, and dropped.


@dataclass(frozen=True, slots=True)
class Token:
    """The model has decoded one token."""

    reply: int
    text: str
    """What of it is to be spoken; "" for a control token, or inside a tool call."""


@dataclass(frozen=True, slots=True)
class Called:
    """The model has stopped to have tools run."""

    reply: int
    calls: tuple[ToolCall, ...]


UNAVAILABLE = "not available here"
"""The error of a tool that is not there."""


@dataclass(frozen=True, slots=True)
class Response:
    """What one tool gave back."""

    name: str
    values: Mapping[str, Value]
    text: str = ""
    """The same as a short sentence to be spoken; "" if the tool has none."""
    hint: str = ""
    """The call was wrong: what would be right."""
    question: str = ""
    """Nothing was done: the tool wants a yes to this first."""
    caution: str = ""
    """A sentence that is to be heard with it, whatever the model makes of the rest."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The tools have run."""

    reply: int
    responses: tuple[Response, ...]


@dataclass(frozen=True, slots=True)
class DecodeEnded:
    """The model has nothing more to say."""

    reply: int


@dataclass(frozen=True, slots=True)
class Sounding:
    """The first sample of this reply has left the loudspeaker."""

    reply: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """The last sample of this sentence has left the loudspeaker."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker's job broke."""

    reply: int
    worker: str
    """brain, mouth, hands or microphone."""
    error: Exception


@dataclass(frozen=True, slots=True)
class EndJudged:
    """How the turn sounded that is being guessed at."""

    reply: int
    probability: float
    """That nothing more comes, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Commanded:
    """What is being said is a command that needs no language model, as far as it was said."""

    reply: int
    calls: tuple[ToolCall, ...]
    """What it wants done; none takes back what was told before: the speaker went on."""


@dataclass(frozen=True, slots=True)
class Due:
    """A timer rings, or there is something else to tell."""

    text: str
    """What to say about it."""
    sound: str = "bell"
    """What to sound before that."""


@dataclass(frozen=True, slots=True)
class Strained:
    """The board is too hot, or short of power or memory; or it no longer is."""

    spare: bool
    """Work less: reply briefly, and guess late."""
    shed: bool = False
    """Give memory back."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nobody has said yes or no for a while: that is a no."""


# What the user does without the model.


@dataclass(frozen=True, slots=True)
class Stopped:
    """The user pressed the stop key, or said “stop” and nothing else: be silent, and forget what is being said."""


@dataclass(frozen=True, slots=True)
class Woken:
    """The wake word was said, or the button pressed: speak."""

    held: bool = False
    """It is the button, and down until `Released`."""


@dataclass(frozen=True, slots=True)
class Released:
    """The button came up: if something was said meanwhile, it is over."""


@dataclass(frozen=True, slots=True)
class Muted:
    """The microphone was turned off, or on again."""

    off: bool


SpeechEvent = SpeechStarted | SpeechConfirmed | SpeechDropped | SpeechPaused | SpeechResumed | SpeechEnded | Unclear
WorkEvent = Token | Called | Returned | DecodeEnded | EndJudged | Sounding | Spoken | Failed | Commanded
UserEvent = Stopped | Woken | Released | Muted
Event = SpeechEvent | WorkEvent | Due | Unanswered | Strained | UserEvent
