"""A reply on its way from the model to the ear. Pure."""

from dataclasses import dataclass, field

from edge_assistant.prompt import ToolCall
from edge_assistant.sentences import Sentences

NOT_UNDERSTOOD = "Sorry, I did not understand that."


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that wants a yes, and what is done then."""

    question: str
    call: ToolCall


@dataclass
class Answer:
    """One reply on its way: decoded, not yet sent to the voice, sent, heard."""

    sentences: Sentences = field(default_factory=Sentences)
    ready: list[str] = field(default_factory=list[str])
    prepared: bool = False
    """The first sentence is being made ready."""
    said: int = 0
    heard: list[str] = field(default_factory=list[str])
    before: int = 0
    """Sentences that came before the last tool response."""
    claims: list[str] = field(default_factory=list[str])
    """Sentences that say that something was done, and what follows them: they wait until it is."""
    done: bool = False
    """A tool has done what it was called for."""
    calls: tuple[ToolCall, ...] = ()
    """Wait for the user's turn to be over."""
    used: tuple[ToolCall, ...] = ()
    confirmed: bool = False
    asks: Asked | None = None
    """What the reply ends with."""
    cautions: list[str] = field(default_factory=list[str])
    """Sentences of its tools that are to be heard, as long as the model has not said them."""
    instead: str = NOT_UNDERSTOOD
    """What to say if the model has no words: what its tools told."""
    written: str = ""
    """What the user said, as the model wrote it down, where that is a yes or a no."""
    ring: bool = False
    """It is a timer's, or a command's: the model knows nothing of it."""
    ended: bool = False
    broken: bool = False
    """What is heard is not what was decoded."""
