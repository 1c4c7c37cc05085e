"""The contract of a tool: a typed function with a docstring, and what the model is told of it.

    def set_volume(percent: Annotated[int, Between(0, 100)], change: Literal["up", "down"] | None = None) -> Result:
        '''Set the volume.

        Args:
            percent: How loud.
            change: Instead of a percentage: which way.
        '''
        ...
        return Result({"percent": percent}, f"The volume is at {percent} percent.")

    volume = tool(set_volume)

Parameters may be `str`, `int`, `float`, `bool`, a `Literal` of strings, `Annotated` with `Between` or `OneOf`, and any of them
`| None` with a default. Two kinds are not declared: one annotated `Cancel` is told when nobody waits any more, one annotated
`Transcript` is what the user said, word for word. What is wrong with a function is said when it is made a tool; what is wrong
with a call, before anything runs.
"""

import inspect
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from edge_assistant.prompt import Declaration, Parameter, Value, harmless

LIMIT_S = 5.0
"""Seconds that a tool may take, if it does not say so itself."""
LONGEST_LIMIT_S = 60.0
LONGEST_TEXT = 500
"""Characters of a text that the model gives a tool."""
LONGEST_TRANSCRIPT = 4000
"""Characters of what the user said: some minutes of speech."""

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Example|Examples|Note|Notes):\s*$", re.MULTILINE)
_ENTRY = re.compile(r"^\s+(\w+):\s*(.*)$")
_NAME = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)


class ToolError(Exception):
    """A tool says no; its text, a few plain words, is told to the model."""


class WrongCall(ToolError):
    """The call is not what was declared."""


class Risk(Enum):
    """What a tool may do unasked."""

    HARMLESS = auto()
    """Runs when it is called."""
    ASKS = auto()
    """Runs after a spoken yes to its question."""
    OFF = auto()
    """Is not there until the configuration switches it on; with a question, it asks even then."""


@dataclass(frozen=True, slots=True)
class Between:
    """The least and the greatest number that is taken."""

    low: float
    high: float


class OneOf:
    """The texts that are taken, where they are known only at the start: the switches that were configured."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices


class Cancel(threading.Event):
    """Set when nobody waits for the result any more."""


class Transcript(str):
    """What the user said in this turn, by the model's own speech recognition; "" if it could not be had."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool gives back."""

    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    """For the model."""
    text: str = ""
    """The same as a short sentence to be spoken. It says that something was done only if it was."""
    caution: str = ""
    """A sentence at the end of that text that is to be heard whatever the model makes of the rest: that a clock may be wrong."""


Outcome: TypeAlias = Result | Mapping[str, Value] | str | None
"""What a tool's function returns: data and text, only data, only text, or nothing."""


@dataclass(frozen=True, slots=True)
class Argument:
    """What one parameter takes."""

    kind: type
    """str, int, float or bool."""
    choices: tuple[str, ...] = ()
    between: Between | None = None

    @property
    def words(self) -> str:
        """What would be right, in words."""
        if self.choices:
            return " or ".join(self.choices)
        span = f" from {self.between.low:g} to {self.between.high:g}" if self.between else ""
        return _WORDS[self.kind] + span

    def check(self, value: Value) -> Value:
        """The value as the function wants it; None if it is not one."""
        if isinstance(value, str):
            text = harmless(value)
            return text if self.kind is str and len(text) <= LONGEST_TEXT and (not self.choices or text in self.choices) else None
        if isinstance(value, bool):
            return value if self.kind is bool else None
        if not isinstance(value, int | float) or self.kind not in (int, float) or not isfinite(value):
            return None
        if self.kind is int and not isinstance(value, int):
            return None
        if self.between and not self.between.low <= value <= self.between.high:
            return None
        return self.kind(value)


@dataclass(frozen=True, slots=True)
class Tool:
    """One thing that the model can call. `tool` makes it."""

    declaration: Declaration
    function: Callable[..., Outcome]
    arguments: Mapping[str, Argument]
    risk: Risk = Risk.HARMLESS
    question: str = ""
    """What to ask before it runs; "" for nothing."""
    limit_s: float = LIMIT_S
    cancel: str = ""
    """The parameter that takes the cancel token."""
    transcript: str = ""
    """The parameter that takes the user's words."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self.declaration.name

    @property
    def usage(self) -> str:
        """What a right call looks like."""
        parameters = self.declaration.parameters
        parts = [f"{name}{'' if parameters[name].required else '?'}: {each.words}" for name, each in self.arguments.items()]
        return f"{self.name}{{{', '.join(parts)}}}"

    def check(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """The arguments of a call, as the function wants them.

        Raises:
            WrongCall: they are not what was declared.
        """
        if unknown := sorted(given.keys() - self.arguments.keys() - {self.transcript}):
            raise WrongCall(f"no argument {unknown[0]}")
        checked: dict[str, Value] = {}
        if self.transcript:
            checked[self.transcript] = Transcript(harmless(str(given.get(self.transcript, "")))[:LONGEST_TRANSCRIPT])
        for name, argument in self.arguments.items():
            required = self.declaration.parameters[name].required
            value = given.get(name)
            if value is None:
                if required:
                    raise WrongCall(f"{name} is missing")
                continue
            right = argument.check(value)
            if right is None:
                raise WrongCall(f"{name} must be {argument.words}")
            checked[name] = right
        return checked


def tool(
    function: Callable[..., Outcome],
    *,
    name: str = "",
    description: str = "",
    risk: Risk = Risk.HARMLESS,
    question: str = "",
    limit_s: float = LIMIT_S,
) -> Tool:
    """Make a tool of a typed function with a docstring; the other arguments say what the function cannot.

    Raises:
        TypeError: the function does not keep the contract.
    """
    called = name or getattr(function, "__name__", "")
    if not _NAME.fullmatch(called):
        raise TypeError(f"{called!r} is no name of a tool")
    if risk is Risk.ASKS and not question:
        raise TypeError(f"{called}: which question asks for the yes?")
    if not 0 < limit_s <= LONGEST_LIMIT_S:
        raise TypeError(f"{called}: a limit of {limit_s} s is not from 0 to {LONGEST_LIMIT_S:g}")
    told, entries = _read_docstring(inspect.getdoc(function) or "")
    if not (description or told):
        raise TypeError(f"{called}: a docstring must say what it does")
    hints = get_type_hints(function, include_extras=True)
    arguments: dict[str, Argument] = {}
    parameters: dict[str, Parameter] = {}
    cancel = transcript = ""
    for parameter in inspect.signature(function).parameters.values():
        each = parameter.name
        if hints.get(each) is Cancel:
            cancel = each
            continue
        if hints.get(each) is Transcript:
            transcript = each
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) or not _NAME.fullmatch(each):
            raise TypeError(f"{called}: {each} cannot be given by name")
        if each not in entries:
            raise TypeError(f"{called}: the docstring must say under Args: what {each} is")
        argument = _argument(f"{called}: {each}", hints.get(each))
        required = parameter.default is parameter.empty
        arguments[each] = argument
        told_range = f" {argument.words[0].upper()}{argument.words[1:]}." if argument.between else ""
        parameters[each] = Parameter(_NAMES[argument.kind], entries[each] + told_range, argument.choices, required)
    declaration = Declaration(called, description or told, parameters)
    return Tool(declaration, function, arguments, risk, question, limit_s, cancel, transcript)


def _argument(where: str, hint: object) -> Argument:
    marks: list[object] = []
    while True:
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            hint, marks = inner[0], [*marks, *inner[1:]]
        elif origin in (Union, UnionType):
            kinds = [each for each in inner if each is not NoneType]
            if len(kinds) != 1:
                raise TypeError(f"{where} may be of one type only")
            hint = kinds[0]
        else:
            break
    choices = tuple(choice for mark in marks if isinstance(mark, OneOf) for choice in mark.choices)
    if origin is Literal:
        choices, hint = inner, str
    if any(not isinstance(choice, str) for choice in cast(Sequence[object], choices)):
        raise TypeError(f"{where}: only texts can be listed")
    if hint not in _NAMES:
        raise TypeError(f"{where}: {hint!r} is not str, int, float, bool or a Literal")
    between = next((mark for mark in marks if isinstance(mark, Between)), None)
    return Argument(cast(type, hint), choices, between)


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first section, and what `Args:` says of each parameter."""
    first = _SECTION.search(text)
    description = " ".join(text[: first.start() if first else None].split())
    entries: dict[str, str] = {}
    inside = name = ""
    for line in text[first.start() :].splitlines() if first else []:
        if section := _SECTION.match(line):
            inside, name = section[1], ""
        elif inside == "Args" and (entry := _ENTRY.match(line)):
            name = entry[1]
            entries[name] = entry[2].strip()
        elif inside == "Args" and name and line.strip():
            entries[name] = f"{entries[name]} {line.strip()}"
    return description, entries


def plain(outcome: Any) -> Result:
    """What a function returned, as data that the model can be given: a copy, so nobody changes it later.

    Raises:
        TypeError: it is no such data.
    """
    match outcome:
        case None:
            return Result({"done": True})
        case str():
            return Result({"result": outcome}, harmless(outcome))
        case Result(values, text, caution):
            return Result(_plain_mapping(values, 0), harmless(text), harmless(caution))
        case _:
            return Result(_plain_mapping(outcome, 0))


def _plain_mapping(values: Any, depth: int) -> dict[str, Value]:
    if not isinstance(values, Mapping):
        raise TypeError(f"{type(values).__name__} is no mapping")
    return {_key(key): _plain_value(value, depth + 1) for key, value in cast(Mapping[Any, Any], values).items()}


def _key(key: Any) -> str:
    if not isinstance(key, str) or not _NAME.fullmatch(key):
        raise TypeError(f"{key!r:.40} is no name of a value")
    return key


def _plain_value(value: Any, depth: int) -> Value:
    if depth > 8:
        raise TypeError("too many brackets in each other")
    match value:
        case None | bool() | int():
            return value
        case str():
            return str(value)
        case float() if isfinite(value):
            return value
        case Mapping():
            return _plain_mapping(value, depth)
        case list() | tuple():
            return [_plain_value(each, depth + 1) for each in cast(Sequence[Any], value)]
        case _:
            raise TypeError(f"{value!r:.40} is no data")
