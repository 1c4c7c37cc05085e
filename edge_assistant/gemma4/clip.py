"""One clip of sound on its way to soft tokens.

A clip's state is a value: hearing more gives a new one and leaves the old as it was, so going back is keeping it. Sound is
encoded in chunks of a fixed number of tokens, however it arrives: the same clip always makes the same soft tokens, bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.config import Config
from edge_assistant.gemma4.encoder import FRAMES_PER_TOKEN, state_shapes
from edge_assistant.gemma4.mel import Mel

Array = NDArray[np.float32]
State = dict[str, Array]
Encode = Callable[[Array, int, int, State], tuple[Array, State]]
"""(mel [4·C, bins], frames that are sound, tokens before, state) to (soft tokens [C, hidden], next state)."""


@dataclass(frozen=True, slots=True)
class Clip:
    """An open clip: sound that is not encoded yet, and what the encoder remembers."""

    pending: Array
    """Samples from the first that the next mel frame needs."""
    tokens: int
    """Soft tokens made so far."""
    state: State

    def heard(self, pcm: Array) -> "Clip":
        """With more sound at its end."""
        return replace(self, pending=np.concatenate([self.pending, pcm]))


class Hearing:
    """Turns clips into soft tokens, `chunk` tokens (of 40 ms) at a time."""

    def __init__(self, config: Config, encode: Encode, chunk: int) -> None:
        self._shapes = state_shapes(config)
        self._mel = Mel(config.mel)
        self._encode = encode
        self._chunk = chunk

    def begin(self) -> Clip:
        """A clip with nothing heard: silence before it, as the feature extractor wants."""
        zeros = {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}
        return Clip(np.zeros(self._mel.lead, np.float32), 0, zeros)

    def step(self, clip: Clip) -> tuple[Array, Clip] | None:
        """The next chunk's soft tokens and the clip after it; None while too little was heard."""
        frames = self._chunk * FRAMES_PER_TOKEN
        if len(clip.pending) < self._mel.span(frames):
            return None
        return self._run(clip, frames)

    def finish(self, clip: Clip) -> Array:
        """The soft tokens of what is left; the last is filled up with padding that counts as unheard. Shape [tokens, hidden]."""
        frames = self._mel.count(len(clip.pending))
        if not frames:
            return np.zeros((0, 0), np.float32)
        return self._run(clip, frames)[0]

    def left(self, clip: Clip) -> int:
        """How many soft tokens `finish` would give."""
        return -(-self._mel.count(len(clip.pending)) // FRAMES_PER_TOKEN)

    def _run(self, clip: Clip, frames: int) -> tuple[Array, Clip]:
        mel = self._mel.frames(clip.pending[: self._mel.span(frames)])
        padding = -frames % FRAMES_PER_TOKEN
        soft, state = self._encode(np.pad(mel, ((0, padding), (0, 0))), frames, clip.tokens, clip.state)
        rest = clip.pending[frames * self._mel.config.hop :]
        return soft, Clip(rest, clip.tokens + len(soft), state)
