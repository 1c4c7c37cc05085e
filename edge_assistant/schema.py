"""What a section of settings may hold, read from a frozen dataclass: types, ranges, defaults; the fields' docstrings document it.

    @dataclass(frozen=True, slots=True)
    class Service:
        led_pin: Annotated[int, Between(0, 27)] | None = None
        '''A light, by Broadcom's number of its pin.'''

A field is a `str`, `int`, `float`, `bool`, `Path`, a `Literal` of texts, a `tuple` of one of them (`tuple[str, ...]`), or any of
them `| None`; a number `Annotated` with `Between` has a range. TOML has no null: "none" stands for it.
"""

import ast
import inspect
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

Setting: TypeAlias = str | int | float | bool | Path | tuple[str | int | float | bool | Path, ...] | None

NONE = "none"
"""How a person writes that an optional setting is not set."""
LONGEST_TEXT = 500
"""Characters of a text."""
LONGEST_LIST = 100
_TRUTHS = {"true": True, "false": False}
_WORDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path from / or ~ on",
}
_SHOWN = 40
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True, slots=True)
class Between:
    """The least and the greatest number that is taken."""

    low: float
    high: float


class WrongValue(ValueError):
    """A value is not what a key takes; its text says what would be right."""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting of a section."""

    name: str
    kind: type
    """str, int, float, bool or Path; of a list, what is in it."""
    default: Setting = None
    required: bool = False
    """There is no default."""
    optional: bool = False
    """It may be "none"."""
    many: bool = False
    """It is a list."""
    choices: tuple[str, ...] = ()
    between: Between | None = None
    doc: str = ""

    @property
    def words(self) -> str:
        """What would be right, in words."""
        if self.choices:
            one = listed([toml(choice) for choice in self.choices], "or")
        else:
            one = _WORDS[self.kind] + (f" from {self.between.low:g} to {self.between.high:g}" if self.between else "")
        words = f"a list; in it, {one}" if self.many else one
        return f"{words}, or {toml(NONE)}" if self.optional else words

    @property
    def plain(self) -> bool:
        """What it takes is seen from its default."""
        return self.kind in (str, bool) and not (self.choices or self.optional or self.many)

    def check(self, value: object) -> Setting:
        """The value as the section wants it, from what TOML gave.

        Raises:
            WrongValue: it is not one.
        """
        if self.optional and (value is None or value == NONE):
            return None
        if not self.many:
            return self._check_one(value)
        parts = cast("list[object] | tuple[object, ...]", value) if isinstance(value, list | tuple) else None
        if parts is None or len(parts) > LONGEST_LIST:
            raise self._wrong(cast(object, value))
        return tuple(self._check_one(each) for each in parts)

    def parse(self, text: str) -> Setting:
        """The same from a text, as the environment and the command line have it; a list's parts are set off by commas.

        Raises:
            WrongValue: it is not one.
        """
        if self.optional and text == NONE:
            return None
        if self.many:
            return tuple(self._check_one(self._read(part.strip())) for part in text.split(",") if part.strip())
        return self._check_one(self._read(text))

    def _read(self, text: str) -> object:
        """What the text would be in TOML; the text itself where it is nothing."""
        if self.kind is bool:
            return _TRUTHS.get(text.lower(), text)
        if self.kind in (int, float) and len(text) <= _SHOWN:
            for number in (int, float) if self.kind is float else (int,):
                try:
                    return number(text)
                except ValueError:
                    continue
        return text

    def _check_one(self, value: object) -> str | int | float | bool | Path:
        if self.kind is bool or isinstance(value, bool):
            if self.kind is bool and isinstance(value, bool):
                return value
        elif self.kind in (int, float):
            if isinstance(value, int | float) and (self.kind is float or isinstance(value, int)) and self._fits(value):
                return self.kind(value)
        elif self.kind is Path and isinstance(value, Path):
            return value
        elif isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable():
            if self.kind is str and (not self.choices or value in self.choices):
                return value
            if self.kind is Path and value[0] in "/~":
                return _expand(value)
        raise self._wrong(value)

    def _fits(self, number: float) -> bool:
        if self.between is None:
            return abs(number) < 1 << 63  # neither inf nor nan
        return self.between.low <= number <= self.between.high

    def _wrong(self, value: object) -> WrongValue:
        close = nearest(value, self.choices) if isinstance(value, str) else ""
        return WrongValue(f"it takes {self.words}" + (f"; did you mean {toml(close)}?" if close else ""))


@cache
def keys(section: type[Any]) -> Mapping[str, Key]:
    """The keys of a section, in the order of its fields.

    Raises:
        TypeError: a field is of no type that a setting may have, or has no docstring.
    """
    hints, told_of = get_type_hints(section, include_extras=True), docs(section)
    found: dict[str, Key] = {}
    for each in fields(section):
        where = f"{section.__name__}.{each.name}"
        if not told_of.get(each.name):
            raise TypeError(f"{where}: a docstring must say what it is")
        default = None if each.default is MISSING else each.default
        found[each.name] = _key(where, each.name, hints[each.name], default, told_of[each.name], required=each.default is MISSING)
    return found


def _key(where: str, name: str, hint: object, default: Setting, doc: str, *, required: bool) -> Key:
    optional = many = False
    between: Between | None = None
    while True:
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            between = next((mark for mark in inner[1:] if isinstance(mark, Between)), None)
            hint = inner[0]
        elif origin in (Union, UnionType) and NoneType in inner and len(inner) == 2:
            hint, optional = next(each for each in inner if each is not NoneType), True
        elif origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
            hint, many = inner[0], True
        else:
            break
    choices: tuple[str, ...] = ()
    if origin is Literal and all(isinstance(choice, str) for choice in inner):
        choices, hint = inner, str
    if hint not in _WORDS:
        raise TypeError(f"{where}: {hint!r} is no type of a setting")
    return Key(name, cast(type, hint), default, required, optional, many, choices, between, doc)


def docs(section: type[Any]) -> dict[str, str]:
    """The docstring after each field: Python does not keep them, the source does. Without that, the names must do."""
    try:
        tree = ast.parse(inspect.cleandoc(inspect.getsource(section)))
    except (OSError, TypeError):
        return {each.name: each.name for each in fields(section)}
    body = cast(ast.ClassDef, tree.body[0]).body
    found: dict[str, str] = {}
    for before, after in pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[before.target.id] = " ".join(after.value.value.split())
    return found


def toml(value: Setting) -> str:
    """A setting as TOML writes it."""
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def told(value: object) -> str:
    """A wrong value, short and on one line, whatever it is."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return toml(value)
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else f'"{value}"' if isinstance(value, str) else ""
    if isinstance(value, int) and abs(value) >= 1 << 63:
        text = "a very large number"
    text = text or str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def nearest(name: str, names: tuple[str, ...]) -> str:
    """The name that was probably meant; "" if none was."""
    return next(iter(get_close_matches(name[:_SHOWN].lower(), names, 1, 0.6)), "")


def listed(words: list[str], last: str = "and") -> str:
    """One, two and three."""
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def _expand(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody's home
        return Path(text)
