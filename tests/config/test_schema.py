"""What a section may hold."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from edge_assistant.schema import LONGEST_TEXT, Between, WrongValue, keys, nearest, told, toml


@dataclass(frozen=True)
class Kitchen:
    """A section with every type."""

    name: str = "stove"
    """A text."""
    plates: Annotated[int, Between(1, 6)] = 4
    """A whole number."""
    weight_kg: float = 40.5
    """A number."""
    gas: bool = False
    """Yes or no."""
    colour: Literal["white", "black"] = "white"
    """One of some."""
    manual: Path = Path("/usr/share/stove")
    """A path."""
    pots: tuple[str, ...] = ("small", "large")
    """A list."""
    sizes_cm: tuple[Annotated[int, Between(10, 40)], ...] = ()
    """A list of numbers in a range."""
    timer: Annotated[int, Between(0, 90)] | None = None
    """An optional number."""
    lid: Path | None = None
    """An optional path."""


KEYS = keys(Kitchen)

RIGHT = [
    ("name", "cooker", "cooker", "cooker"),
    ("plates", 6, 6, "6"),
    ("weight_kg", 3, 3.0, "3"),
    ("weight_kg", 1.5e-3, 0.0015, "1.5e-3"),
    ("gas", True, True, "true"),
    ("gas", False, False, "False"),
    ("colour", "black", "black", "black"),
    ("manual", "/a/b", Path("/a/b"), "/a/b"),
    ("pots", ["a", "b"], ("a", "b"), "a, b"),
    ("pots", [], (), ""),
    ("sizes_cm", [10, 40], (10, 40), "10,40"),
    ("timer", 90, 90, "90"),
    ("timer", "none", None, "none"),
    ("lid", "none", None, "none"),
]


@pytest.mark.parametrize(("key", "given", "meant", "text"), RIGHT)
def test_what_is_right(key, given, meant, text):
    for value in (KEYS[key].check(given), KEYS[key].parse(text)):
        assert value == meant
        assert type(value) is type(meant)


WRONG = [
    ("name", 3), ("name", ""), ("name", "a\nb"), ("name", "x" * (LONGEST_TEXT + 1)),
    ("name", ["a"]), ("name", None), ("name", "\x1b[31m"),
    ("plates", 0), ("plates", 7), ("plates", 2.0), ("plates", True), ("plates", "4"), ("plates", "none"),
    ("weight_kg", float("nan")), ("weight_kg", float("inf")), 
    ("weight_kg", "heavy"), ("weight_kg", False), ("weight_kg", 1 << 63),
    ("gas", 1), ("gas", "true"), ("colour", "red"), ("colour", 1), ("manual", "a/b"), ("manual", ""), ("manual", 3),
    ("pots", "a"), ("pots", ["a", 1]), ("pots", [["a"]]), ("pots", ["a"] * 101), 
    ("sizes_cm", [9]), ("timer", 91), ("timer", "never"), ("timer", False),
]  # fmt: skip


@pytest.mark.parametrize(("key", "given"), WRONG)
def test_what_is_wrong_names_what_is_right(key, given):
    with pytest.raises(WrongValue, match=r"^it takes ") as wrong:
        KEYS[key].check(given)
    assert KEYS[key].words in str(wrong.value)


WRONG_TEXTS = [
    ("plates", ""), ("plates", "four"), ("plates", "9" * 5000), ("gas", "ja"), ("weight_kg", "nan"), ("weight_kg", "1e999"),
    ("pots", "a,b\x00"), ("sizes_cm", "10,x"), ("timer", "None"), ("colour", "White"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "text"), WRONG_TEXTS)
def test_texts_that_are_wrong(key, text):
    with pytest.raises(WrongValue):
        KEYS[key].parse(text)


def test_words():
    assert KEYS["plates"].words == "a whole number from 1 to 6"
    assert KEYS["colour"].words == '"white" or "black"'
    assert KEYS["sizes_cm"].words == "a list; in it, a whole number from 10 to 40"
    assert KEYS["timer"].words == 'a whole number from 0 to 90, or "none"'


def test_a_near_miss_is_named():
    with pytest.raises(WrongValue, match='did you mean "white"'):
        KEYS["colour"].check("whit")
    assert nearest("PLATE", tuple(KEYS)) == "plates"
    assert nearest("zebra", tuple(KEYS)) == ""


def test_documentation_is_the_field_docstring():
    assert KEYS["weight_kg"].doc == "A number."


def test_a_field_without_a_docstring_is_refused():
    @dataclass(frozen=True)
    class Bare:
        """Nothing is said of it."""

        name: str = ""

    with pytest.raises(TypeError, match="docstring"):
        keys(Bare)


def test_without_its_source_names_must_do():
    made = {"__name__": "made"}
    exec(
        "from dataclasses import dataclass\n@dataclass\nclass Made:\n    'Of no file.'\n    name: str = 'x'\n    'A text.'", made
    )
    assert keys(made["Made"])["name"].doc == "name"


def test_a_field_of_another_type_is_refused():
    @dataclass(frozen=True)
    class Odd:
        """A section."""

        name: complex = 1j
        """Imaginary."""

    with pytest.raises(TypeError, match="no type of a setting"):
        keys(Odd)


@pytest.mark.parametrize("value", ['a "b" \\ ü', 3, -1.5, True, None, Path("/x"), ("a", "b"), ()])
def test_toml_is_read_back(value):
    import tomllib

    read = tomllib.loads(f"x = {toml(value)}")["x"]
    assert read == (
        "none" if value is None else list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    )


def test_a_wrong_value_is_told_in_one_short_line():
    deep: object = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for value in (deep, [deep], "x" * 10_000, "a\nb\x1b", 10**5000, 1.5, True, {}):
        assert len(told(value)) <= 40
        assert told(value).isprintable()
    while deep:  # taken apart here: Python's own way goes too deep for some versions
        deep = deep.pop("a")
