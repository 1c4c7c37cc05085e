"""Gemma 4's conversation format: turns, tool declarations, tool calls and tool responses, written and read.

Source: the chat template that Google ships with the Gemma 4 instruction-tuned checkpoints. Strings stand between two
`<|"|>` tokens, numbers and booleans are bare, keys are sorted, types are upper case:

    <bos><|turn>system
    You are …<|tool>declaration:set_timer{description:<|"|>…<|"|>,parameters:{…}}<tool|><turn|>
    <|turn>user
    <|audio>…<audio|><turn|>
    <|turn>model
    <|tool_call>call:set_timer{minutes:12}<tool_call|><|tool_response>response:set_timer{minutes:12}<tool_response|>…<turn|>

The model hands over by writing `<|tool_response>`, one of its stop tokens. Thinking stays off: `<|think|>` is never written.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = "str | int | float | bool | None | Sequence[Value] | Mapping[str, Value]"

BOS = "<bos>"
QUOTE = '<|"|>'
TURN_CLOSE = "<turn|>"
USER_OPEN = "<|turn>user\n"
MODEL_OPEN = "<|turn>model\n"
CALL_OPEN, CALL_CLOSE = "<|tool_call>", "<tool_call|>"
RESPONSE_OPEN, RESPONSE_CLOSE = "<|tool_response>", "<tool_response|>"

INSTRUCTIONS = (
    "You are a voice assistant on a small computer without a network. Answer in one or two short spoken sentences, "
    "without lists, symbols or markup. Use a tool when one fits, and say only what its response says. "
    "When you did not understand, say so and do nothing."
)
TRANSCRIBE = (
    "Transcribe the following speech segment in English into English text.\n\n"
    "Follow these specific instructions for formatting the answer:\n"
    "* Only output the transcription, with no newlines.\n"
    "* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 instead of three.\n"
)
"""What Gemma 4's model card recommends for speech recognition; the sound comes after it."""
MAX_DEPTH = 16
"""Deepest nesting of values that is read; a model that opens more brackets has lost its way."""

_CONTROL = re.compile(r"<\|[^<>|\s]*\|?>|<[a-z_]+\|>|<(?:bos|eos|pad|unk|mask)>")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "None": None}


class MalformedCall(ValueError):
    """A tool call that does not follow the format. Its text says what was expected, and where."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model wants done."""

    name: str
    arguments: Mapping[str, Value] = field(default_factory=dict[str, Value])


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool."""

    type: str
    """JSON schema's name: `string`, `integer`, `number` or `boolean`."""
    description: str
    enum: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the model is told of a tool."""

    name: str
    description: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])


def harmless(text: str) -> str:
    """Text from outside, with nothing left in it that the tokenizer could take for a control token."""
    while (clean := _CONTROL.sub("", text)) != text:
        text = clean
    return text


def format_value(value: Value) -> str:
    """Write one value. Strings lose whatever looks like a control token, so no text can leave its quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"{QUOTE}{harmless(value)}{QUOTE}"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{harmless(key)}:{format_value(value[key])}" for key in sorted(value)) + "}"
    return "[" + ",".join(map(format_value, value)) + "]"


def format_call(call: ToolCall) -> str:
    """`<|tool_call>call:NAME{…}<tool_call|>`."""
    return f"{CALL_OPEN}call:{call.name}{format_value(call.arguments)}{CALL_CLOSE}"


def format_response(name: str, result: Mapping[str, Value]) -> str:
    """What follows the model's own `<|tool_response>`: `response:NAME{…}<tool_response|>`."""
    return f"response:{harmless(name)}{format_value(result)}{RESPONSE_CLOSE}"


def format_declaration(tool: Declaration) -> str:
    """`<|tool>declaration:NAME{…}<tool|>`, for the system turn."""
    schema: dict[str, Value] = {"type": "OBJECT"}
    if tool.parameters:
        schema["properties"] = {name: _parameter(p) for name, p in tool.parameters.items()}
        if required := [name for name, p in tool.parameters.items() if p.required]:
            schema["required"] = required
    body: dict[str, Value] = {"description": tool.description, "parameters": schema}
    return f"<|tool>declaration:{tool.name}{format_value(body)}<tool|>"


def _parameter(parameter: Parameter) -> dict[str, Value]:
    shape: dict[str, Value] = {"description": parameter.description, "type": parameter.type.upper()}
    if parameter.enum:
        shape["enum"] = list(parameter.enum)
    return shape


def format_system(instructions: str, tools: Sequence[Declaration]) -> str:
    """The system turn: instructions, then what can be called."""
    declarations = "".join(map(format_declaration, tools))
    return f"<|turn>system\n{harmless(instructions)}{declarations}{TURN_CLOSE}\n"


def parse_call(text: str) -> ToolCall | None:
    """Read the first tool call in a reply; None where there is none.

    Raises:
        MalformedCall: `<|tool_call>` was opened, but what follows is not a call.
    """
    start = text.find(CALL_OPEN)
    return None if start < 0 else _Reader(text, start + len(CALL_OPEN)).call()


class _Reader:
    """Reads one call, left to right."""

    def __init__(self, text: str, at: int) -> None:
        self._text, self._at = text, at

    def call(self) -> ToolCall:
        self._expect("call:")
        name = self._match(_NAME, "the name of a tool")
        arguments = self._mapping(0)
        self._expect(CALL_CLOSE)
        return ToolCall(name, arguments)

    def _mapping(self, depth: int) -> dict[str, Value]:
        self._expect("{")
        pairs: dict[str, Value] = {}
        while not self._take("}"):
            if pairs:
                self._expect(",")
            key = self._string() if self._take(QUOTE) else self._match(_NAME, "a key")
            if key in pairs:
                raise self._error(f"one value for {key!r}")
            self._expect(":")
            pairs[key] = self._value(depth + 1)
        return pairs

    def _list(self, depth: int) -> list[Value]:
        self._expect("[")
        items: list[Value] = []
        while not self._take("]"):
            if items:
                self._expect(",")
            items.append(self._value(depth + 1))
        return items

    def _value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} brackets in each other")
        if self._take(QUOTE):
            return self._string()
        if self._text.startswith("{", self._at):
            return self._mapping(depth)
        if self._text.startswith("[", self._at):
            return self._list(depth)
        for word, value in _WORDS.items():
            if self._take(word):
                return value
        return self._number()

    def _string(self) -> str:
        end = self._text.find(QUOTE, self._at)
        if end < 0:
            raise self._error(f"a closing {QUOTE}")
        text, self._at = self._text[self._at : end], end + len(QUOTE)
        return text

    def _number(self) -> int | float:
        number = self._match(_NUMBER, "a value")
        digits = number.removeprefix("-")
        if digits.isdigit():
            if len(digits) > 18:  # longer than any argument that means something; int() of thousands of digits raises
                raise self._error("a number of at most 18 digits")
            return int(number)
        if not math.isfinite(real := float(number)):
            raise self._error("a finite number")
        return real

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        self._skip()
        found = pattern.match(self._text, self._at)
        if not found:
            raise self._error(what)
        self._at = found.end()
        return found[0]

    def _take(self, mark: str) -> bool:
        self._skip()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise self._error(mark)

    def _skip(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _error(self, expected: str) -> MalformedCall:
        found = self._text[self._at : self._at + 20] or "the end"
        return MalformedCall(f"expected {expected} at character {self._at}, found {found!r}")
