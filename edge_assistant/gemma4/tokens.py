"""Text to token ids and back. Control tokens are looked up in the model's tokenizer; text from outside never becomes one."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from edge_assistant.errors import BundleError

CONTROL = {
    "bos": "<bos>",
    "eos": "<eos>",
    "turn": "<|turn>",
    "turn_end": "<turn|>",
    "audio": "<|audio>",
    "audio_end": "<audio|>",
    "tool_call": "<|tool_call>",
    "tool_call_end": "<tool_call|>",
    "tool_response": "<|tool_response>",
    "tool_response_end": "<tool_response|>",
}
"""Every control token the product speaks of, by its name here."""
_INCOMPLETE = "\ufffd"
_LONGEST_CHARACTER = 8
"""Tokens that may be needed for one character before it is given up as broken."""


@dataclass(frozen=True, slots=True)
class ControlIds:
    """Ids of the control tokens."""

    bos: int
    eos: int
    turn: int
    turn_end: int
    audio: int
    audio_end: int
    tool_call: int
    tool_call_end: int
    tool_response: int
    tool_response_end: int

    @property
    def stops(self) -> frozenset[int]:
        """Tokens that end a reply."""
        return frozenset((self.eos, self.turn_end, self.tool_response))


class Tokens:
    """The tokenizer of one model."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """`content` of a file that need not exist yet."""
        try:
            content = path.read_bytes() if content is None else content
            self._open = Tokenizer.from_buffer(content)
            self._plain = Tokenizer.from_buffer(content)
        except Exception as fault:
            raise BundleError(f"{path} cannot be read as a tokenizer: {fault}", "make the bundle again") from fault
        self._plain.encode_special_tokens = True
        found = {name: self._open.token_to_id(text) for name, text in CONTROL.items()}
        ids = {name: id_ for name, id_ in found.items() if id_ is not None}
        if missing := [text for name, text in CONTROL.items() if name not in ids]:
            raise BundleError(f"the tokenizer has no {', '.join(missing)}", "take the tokenizer of a Gemma 4")
        self.control = ControlIds(**ids)
        special = {id_: token.content for id_, token in self._open.get_added_tokens_decoder().items() if token.special}
        special |= {id_: CONTROL[name] for name, id_ in ids.items()}
        self._forbidden = frozenset(special)
        self._literals: list[str] = sorted(special.values(), key=len, reverse=True)

    def encode(self, text: str, *, control: bool = True) -> list[int]:
        """Text to ids, nothing added. With `control=False` what looks like a control token is spelt out in ordinary tokens."""
        if control:
            return list(self._open.encode(text, add_special_tokens=False).ids)
        ids = [id_ for piece in self._harmless(text) for id_ in self._plain.encode(piece, add_special_tokens=False).ids]
        if self._forbidden.isdisjoint(ids):
            return ids
        # a normaliser made a control token out of something else: letter by letter it cannot
        ids = [id_ for letter in text for id_ in self._plain.encode(letter, add_special_tokens=False).ids]
        return [id_ for id_ in ids if id_ not in self._forbidden]

    def _harmless(self, text: str) -> list[str]:
        """The text in pieces, cut after the first letter of everything that reads as a control token."""
        for literal in self._literals:
            at = text.find(literal)
            if at >= 0:
                return [*self._harmless(text[: at + 1]), *self._harmless(text[at + 1 :])]
        return [text] if text else []

    def decode(self, ids: list[int]) -> str:
        """Ids to text, control tokens written out."""
        return self._open.decode(ids, skip_special_tokens=False)


class Detokeniser:
    """Text of a growing row of tokens, piece by piece: the pieces joined are the text of the whole."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._context: list[int] = []
        self._pending: list[int] = []

    def add(self, id_: int) -> str:
        """The text this token completes; "" while a character is incomplete."""
        self._pending.append(id_)
        before = self._tokens.decode(self._context)
        whole = self._tokens.decode(self._context + self._pending)
        if whole.endswith(_INCOMPLETE) and len(self._pending) < _LONGEST_CHARACTER:
            return ""
        self._context, self._pending = self._pending, []
        return whole[len(before) :]
