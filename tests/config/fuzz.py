"""Altered and invented configuration files: each is refused in one line, or means exactly what it says.

`make fuzz-config` tries 10,000 of them; the suite, 500.
"""

import random
import string
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from edge_assistant.config import Config, load_file, sections
from edge_assistant.config_text import default_text
from edge_assistant.errors import ConfigError
from edge_assistant.schema import keys, toml

ODD = [
    "",
    "none",
    "None",
    "true",
    "wake",
    "pocket",
    "a" * 600,
    "é",
    "\x00",
    "\u202e",
    "'",
    '"',
    "~",
    "/x",
    "${HOME}",
    "%s%n",
    "\\",
    "{x}",
    "nan",
]
NUMBERS = [
    "0",
    "-0",
    "+1",
    "27",
    "28",
    "-1",
    "1_000",
    "0x1F",
    "1e400",
    "-1e400",
    "inf",
    "nan",
    "1.0",
    "0.1",
    "9" * 30,
    "9" * 5000,
    "08",
]
OTHER = [
    "true",
    "false",
    "True",
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "2021-02-30",
    "[]",
    "[[]]",
    "{}",
    "[1, 'a']",
    '"""a\nb"""',
]
NOISE = [
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\x1b[2J",
    "ﬁ".encode(),
    b"[" * 3000,
    b"[[",
    b"]",
    b"=",
    b"\n",
    b"#",
    b'"""',
    b".",
    b"a." * 999,
]


def all_in_force() -> str:
    """The default file with every setting in force: what most mutations begin with."""
    lines = default_text().splitlines()
    return (
        "\n".join(line[2:] if line.startswith("# ") and (" = " in line or line.startswith("# [")) else line for line in lines)
        + "\n"
    )


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Alter it in a few places."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8, 40])):
        at, lines = rng.randrange(len(data) + 1), data.split(b"\n")
        line = rng.randrange(len(lines))
        match rng.randrange(10):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + data[at + rng.randrange(1, 30) :]
            case 2:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            case 3:
                data = data[:at] + rng.choice(NOISE) + data[at:]
            case 4:
                data = b"\n".join([*lines[:line], *lines[line + 1 :]])
            case 5:
                data = b"\n".join([*lines, lines[line]])
            case 6:
                lines[line] = random_line(rng).encode(errors="surrogatepass")
                data = b"\n".join(lines)
            case 7:
                other = rng.randrange(len(lines))
                lines[line], lines[other] = lines[other], lines[line]
                data = b"\n".join(lines)
            case 8:
                before, sign, _ = lines[line].partition(b"=")
                if sign:
                    lines[line] = before + b"= " + random_value(rng).encode(errors="surrogatepass")
                data = b"\n".join(lines)
            case _:
                before, sign, after = lines[line].partition(b"=")
                lines[line] = before[: rng.randrange(len(before) + 1)] + sign + after
                data = b"\n".join(lines)
    return data


def random_name(rng: random.Random) -> str:
    known = [section.name for section in sections()] + [
        key for section in sections() if section.kind is not bool for key in keys(section.kind)
    ]
    return rng.choice(
        [
            *known,
            *known,
            "pump",
            "x",
            '""',
            '"a b"',
            "'ü'",
            "A",
            "-",
            "".join(rng.choices(string.ascii_lowercase, k=rng.randrange(1, 60))),
        ]
    )


def random_value(rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return toml(rng.choice(ODD)) if rng.random() < 0.8 else f"'{rng.choice(ODD)}'"
    return rng.choice(
        (NUMBERS, OTHER, [f"[{random_value(rng)}]" if rng.random() < 0.5 else f"{{{random_name(rng)} = 1}}"])[kind - 1]
    )


def random_line(rng: random.Random) -> str:
    name = ".".join(random_name(rng) for _ in range(rng.choice([1, 1, 1, 2, 3])))
    return rng.choice([f"[{name}]", f"[[{name}]]", f"{name} = {random_value(rng)}", f"{name} = {random_value(rng)}", f"# {name}"])


def sensible(rng: random.Random) -> str:
    """A file that is right."""
    lines: list[str] = []
    for section in sections():
        if section.named:
            continue
        lines.append(f"[{section.name}]")
        for key in keys(section.kind).values():
            if rng.random() < 0.5 or key.name in ("barge_in", "end_min_ms", "talk_pin", "mute_pin", "led_pin"):
                continue
            value = key.default
            if key.choices:
                value = rng.choice(key.choices)
            elif key.between and key.kind is int:
                value = rng.randint(max(int(key.between.low), 5000), int(key.between.high))
            elif key.kind is bool:
                value = rng.random() < 0.5
            elif key.kind is str and key.many:
                value = tuple(rng.sample(["true", "a", "ü"], rng.randrange(4)))
            elif key.kind is str:
                value = "".join(rng.choices(string.ascii_letters + " üß'\"", k=rng.randrange(1, 30)))
            lines.append(f"{key.name} = {toml(value)}")
    lines += ["[tools]", *(f"tool{number} = {rng.choice(['true', 'false'])}" for number in range(rng.randrange(4)))]
    for pin in rng.sample(range(28), rng.randrange(4)):
        lines += [f"[switches.s{pin}]", f"pin = {pin}"]
    return "\n".join(lines) + "\n"


def means_what_it_says(tree: dict[str, Any], config: Config) -> bool:
    """Whether every value of the file is in the configuration, and all else is a default. By hand, not by the loader's means."""
    for section in sections():
        written, part = tree.get(section.name, {}), getattr(config, section.name)
        if section.kind is bool:
            if dict(part) != written:
                return False
        elif section.named:
            if set(part) != set(written) or not all(_same(written[name], thing) for name, thing in part.items()):
                return False
        elif not _same(written, part):
            return False
    return set(tree) <= {section.name for section in sections()}


def _same(written: dict[str, Any], part: object) -> bool:
    for field in fields(part):  # pyright: ignore
        value = getattr(part, field.name)
        if field.name not in written:
            if value != field.default:
                return False
        elif written[field.name] == "none" and field.default is None:
            if value is not None:
                return False
        elif isinstance(value, tuple | Path):
            if value != type(value)(written[field.name]):
                return False
        elif (value, type(value)) != (written[field.name], type(written[field.name])):
            return False
    return set(written) <= {field.name for field in fields(part)}  # pyright: ignore


def invent(rng: random.Random) -> Iterator[tuple[bytes, bool]]:
    """Files, and whether they are right for certain."""
    whole = all_in_force().encode()
    while True:
        yield sensible(rng).encode(), True
        yield mutate(rng, sensible(rng).encode()), False
        yield mutate(rng, whole), False
        yield mutate(rng, whole), False
        yield "\n".join(random_line(rng) for _ in range(rng.randrange(1, 30))).encode(errors="surrogatepass"), False


def check_refusal(line: str, path: Path, data: bytes, right: bool) -> None:
    """One clear line, that says where."""
    assert not right, (line, data)
    assert line.isprintable(), (line, data)
    assert len(line) < 700, (line, data)
    assert str(path) in line or "the same pin" in line, (line, data)


def fuzz(count: int, seed: int) -> Counter[str]:
    """Try so many. Raises AssertionError with the file in question."""
    rng = random.Random(seed)
    outcomes = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        for (data, right), _ in zip(invent(rng), range(count), strict=False):
            path.write_bytes(data)
            try:
                loaded = load_file(path)
            except ConfigError as error:
                check_refusal(str(error), path, data, right)
                outcomes["refused"] += 1
                continue
            assert means_what_it_says(tomllib.loads(data.decode()), loaded.config), data
            outcomes["right" if right else "altered, and still right"] += 1
    return outcomes


if __name__ == "__main__":
    began = time.monotonic()
    found = fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print(f"{dict(found)} in {time.monotonic() - began:.0f} s: no traceback, nothing half-read")
