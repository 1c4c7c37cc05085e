"""What every runtime keeps: a session over one model's cache, fed with sound and text, that answers in tokens.

One contract for all of them, kept by `tests/test_runtime_contract.py`: streaming equals batch for every split of the input;
cut and feed again equals never having fed; decoding can be left at any token.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.float32]
"""Sound: float32, mono, 16 kHz, −1 to 1. Shape [samples]."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The default is greedy."""

    temperature: float = 0.0
    """0 takes the likeliest token; otherwise logits are divided by it."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of tokens whose probability reaches this."""
    seed: int = 0
    max_tokens: int = 256
    """Longest reply, in tokens."""


@dataclass(frozen=True, slots=True)
class Token:
    """One decoded token."""

    id: int
    text: str
    """The piece of text that it adds, control tokens written out; "" while a character is incomplete."""
    probability: float
    """The model's own probability of it (temperature 1), 0 to 1."""
    stop: bool = False
    """It ends the reply: `<turn|>`, `<eos>`, or `<|tool_response>` after a tool call. It is in the cache when this is yielded."""


@dataclass(frozen=True, slots=True)
class Prompting:
    """What a model wants around a conversation; kept in the bundle's manifest."""

    system: bool = True
    """The system turn with its instructions and tool declarations is fed; a model with its tools trained in has none."""
    min_call_probability: float = 0.0
    """A tool call whose tokens' probability product is lower is not done but answered as not understood."""
    memory_turns: int = 0
    """Turns before the present one that the model was trained to bear; 0: as many as fit."""


class Stretch(Protocol):
    """A stretch of the cache as it was fed, so that it can be fed again elsewhere: ids, and soft tokens without their sound."""

    def __len__(self) -> int:
        """Tokens."""
        ...


class Session(Protocol):
    """One conversation in one model's cache. Owned by one thread."""

    @property
    def prompting(self) -> Prompting: ...

    @property
    def position(self) -> int:
        """Tokens in the cache."""
        ...

    @property
    def capacity(self) -> int:
        """Most tokens the cache can hold."""
        ...

    def feed_text(self, text: str) -> None:
        """Add text; control tokens such as `<|turn>` written in it become their ids."""
        ...

    def feed_ids(self, ids: list[int]) -> None: ...

    def encode(self, text: str, *, control: bool = True) -> list[int]:
        """Text to token ids. With `control=False` nothing in the text becomes a control token (for text from outside)."""
        ...

    def begin_audio(self) -> None:
        """Open an audio clip: feeds `<|audio>` and starts the encoder afresh."""
        ...

    def feed_audio(self, pcm: Pcm) -> None:
        """Add sound to the open clip: what is final goes to the cache at once, the rest waits for more."""
        ...

    def end_audio(self) -> None:
        """Close the clip: pads the rest to a whole soft token, feeds it and `<audio|>`."""
        ...

    def cut(self, position: int) -> None:
        """Forget every token from `position` on, in O(1). An audio clip that was open there is open again."""
        ...

    def copy(self, begin: int, end: int) -> Stretch:
        """What was fed from one position to the other, both outside clips."""
        ...

    def paste(self, stretch: Any) -> None:
        """Feed what `copy` of a session of this kind gave: as if it had been fed here first."""
        ...

    def decode(self, sampling: Sampling) -> Iterator[Token]:
        """Answer, a token at a time; may be left at any token (close the iterator)."""
        ...

    def shed(self) -> None:
        """Give back memory that only longer conversations, or going back in this one, would want."""
        ...

    def save_prefix(self, path: Path) -> None:
        """Keep the cache as it stands (system prompt, tool declarations) in a file."""
        ...

    def load_prefix(self, path: Path) -> bool:
        """Take the cache from a file; False if it is of another model, text or version."""
        ...
