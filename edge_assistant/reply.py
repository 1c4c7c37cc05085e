"""Reads a model's tokens: what is to be spoken, what calls a tool, what is a thought. Pure."""

from dataclasses import dataclass, field
from enum import Enum, auto

from edge_assistant.prompt import CALL_CLOSE, CALL_OPEN
from edge_assistant.runtime import Token


class Part(Enum):
    """Where in a reply we are."""

    SPEECH = auto()
    CALL = auto()
    THOUGHT = auto()


OPENS = {CALL_OPEN: Part.CALL, "<|channel>": Part.THOUGHT}
CLOSES = {CALL_CLOSE: Part.CALL, "<channel|>": Part.THOUGHT}


@dataclass
class ReplyReader:
    """One stretch of decoding, up to its stop token."""

    calls: list[str] = field(default_factory=list[str])
    """Every tool call that was opened, as written, from `<|tool_call>` to `<tool_call|>`."""
    call_probability: float = 1.0
    """Product of the probabilities of all tokens of the calls."""
    probability: float = 1.0
    """Product of the probabilities of all tokens."""
    spoken: str = ""
    part: Part = Part.SPEECH

    def push(self, token: Token) -> str:
        """Take a token; return what of it is to be spoken."""
        self.probability *= token.probability
        if token.stop:
            return ""
        if token.text in OPENS and self.part is Part.SPEECH:
            self.part = OPENS[token.text]
            if self.part is Part.CALL:
                self.calls.append("")
        spoken = token.text if self.part is Part.SPEECH else ""
        self.spoken += spoken
        if self.part is Part.CALL:
            self.calls[-1] += token.text
            self.call_probability *= token.probability
        if CLOSES.get(token.text) is self.part:
            self.part = Part.SPEECH
        return spoken
