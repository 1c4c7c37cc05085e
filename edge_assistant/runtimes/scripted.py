"""A session that follows a script instead of a model: for tests of the loop."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_assistant.errors import ContextFull
from edge_assistant.runtime import Pcm, Prompting, Sampling, Token

_PIECE = re.compile(r"<\|[^<>|\s]*\|?>|<[a-z_]+\|>|<bos>|<eos>|\s*[^\s<]+|\s+|<")
STOPS = ("<turn|>", "<eos>", "<|tool_response>")
SAMPLES_A_TOKEN = 640


@dataclass(frozen=True)
class Pieces:
    """A stretch of a scripted cache."""

    cache: list[str]
    sounds: list[tuple[int, list[Pcm]]]
    """Where its clips begin, counted from its beginning, and what they hold."""

    def __len__(self) -> int:
        return len(self.cache)


@dataclass
class ScriptedSession:
    """Keeps its cache as a list of pieces of text, sound as ♪, so that a test can read what the model would remember."""

    replies: Sequence[str]
    """What is decoded, one after the other: after every turn, and after every tool response."""
    prompting: Prompting = field(default_factory=Prompting)
    capacity: int = 4096
    probability: float = 1.0
    """Of every token."""
    cache: list[str] = field(default_factory=list[str])
    sound: list[Pcm] = field(default_factory=list[Pcm])
    """All that was fed and not cut off, in order."""
    _audio: bool = False
    _samples: int = 0
    """Of the open clip."""
    _marks: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    _clips: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Where clips begin: in the cache, and in the sound."""

    @property
    def position(self) -> int:
        """Tokens in the cache."""
        if self._audio:
            self._marks[len(self.cache)] = (self._samples, len(self.sound))
        return len(self.cache)

    @property
    def text(self) -> str:
        """The cache, readable: every clip is one ♪."""
        return re.sub("♪+", "♪", "".join(self.cache))

    def feed_text(self, text: str) -> None:
        """Add text."""
        assert not self._audio, "text inside a clip"
        for piece in _PIECE.findall(text):
            self._add(piece)

    def feed_ids(self, ids: list[int]) -> None:
        """Add tokens, which are characters here."""
        self.feed_text("".join(map(chr, ids)))

    def encode(self, text: str, *, control: bool = True) -> list[int]:
        """Characters."""
        return list(map(ord, text))

    def begin_audio(self) -> None:
        """Open a clip."""
        assert not self._audio, "a clip inside a clip"
        self._clips.append((len(self.cache), len(self.sound)))
        self._add("<|audio>")
        self._audio, self._samples = True, 0

    def feed_audio(self, pcm: Pcm) -> None:
        """Add sound to the open clip."""
        assert self._audio, "sound outside a clip"
        self.sound.append(pcm)
        whole = self._samples // SAMPLES_A_TOKEN
        self._samples += len(pcm)
        for _ in range(self._samples // SAMPLES_A_TOKEN - whole):
            self._add("♪")

    def end_audio(self) -> None:
        """Close the clip."""
        assert self._audio, "no clip is open"
        if self._samples % SAMPLES_A_TOKEN:
            self._add("♪")
        self._audio = False
        self._add("<audio|>")

    def cut(self, position: int) -> None:
        """Forget every token from `position` on."""
        assert 0 <= position <= len(self.cache), (position, len(self.cache))
        closed = len(self.cache[:position]) and self.cache[position - 1] not in ("♪", "<|audio>")
        self.cache = self.cache[:position]
        while self._clips and self._clips[-1][0] >= position:
            self.sound = self.sound[: self._clips.pop()[1]]
        self._audio = not closed and bool(self.cache)
        if self._audio:
            self._samples, kept = self._marks[position]
            self.sound = self.sound[:kept]

    def copy(self, begin: int, end: int) -> Pieces:
        """What was fed from one position to the other."""
        ends = [sound for _, sound in self._clips[1:]] + [len(self.sound)]
        clips = [
            (place - begin, self.sound[a:b]) for (place, a), b in zip(self._clips, ends, strict=True) if begin <= place < end
        ]
        return Pieces(self.cache[begin:end], clips)

    def paste(self, stretch: Pieces) -> None:
        """Feed it again."""
        for place, sound in stretch.sounds:
            self._clips.append((len(self.cache) + place, len(self.sound)))
            self.sound += sound
        for piece in stretch.cache:
            self._add(piece)

    def decode(self, sampling: Sampling) -> Iterator[Token]:
        """The line of the script that the cache calls for: one for every model turn in it, and one for every tool response."""
        line = self.text.count("<|turn>model") + self.text.count("<|tool_response>") - 1
        reply = self.replies[line] if 0 <= line < len(self.replies) else "<turn|>"
        for number, piece in enumerate(_PIECE.findall(reply)):
            if number == sampling.max_tokens:
                return
            self._add(piece)
            yield Token(number, piece, self.probability, stop=piece in STOPS)

    def shed(self) -> None:
        """There is none to give back."""

    def save_prefix(self, path: Path) -> None:
        """Keep the cache in a file."""
        path.write_text("\0".join(self.cache))

    def load_prefix(self, path: Path) -> bool:
        """Take the cache from a file."""
        self.cache = path.read_text().split("\0")
        return True

    def _add(self, piece: str) -> None:
        if len(self.cache) >= self.capacity:
            raise ContextFull(f"the conversation no longer fits {self.capacity} tokens")
        self.cache.append(piece)
