"""The configuration as text: the commented default file, and what holds now with where it comes from."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from typing import Any, cast

from edge_assistant.config import Config, Loaded, Section, sections
from edge_assistant.schema import Key, Setting, docs, keys, toml

WIDTH = 100
"""Columns of the default file."""
HEAD = """\
Settings of edge-assistant. What is commented out here is the default.

Read in this order, later ones win, key by key: the defaults, /etc/edge-assistant/config.toml, the user's
~/.config/edge-assistant/config.toml, the environment (EDGE_ASSISTANT_TALK_MODE=wake for mode under [talk]), the command line.
`edge-assistant config show` says where each value comes from; `edge-assistant config check FILE` what is wrong with a file."""


def default_text() -> str:
    """The commented default file."""
    return "\n".join(_default_lines()) + "\n"


def _default_lines() -> Iterator[str]:
    first, second = HEAD.split("\n\n")
    yield from (*_comment(first), "#", *_comment(second))
    for each, section in zip(fields(Config), sections(), strict=True):
        yield ""
        yield from _comment(_doc(section))
        if not section.named:
            yield f"[{section.name}]"
            yield from _key_lines(keys(section.kind))
        elif section.kind is bool:
            name, value = _example(each)
            yield f"[{section.name}]"
            yield f"# {name} = {toml(cast(bool, value))}"
        else:
            name, value = _example(each)
            yield f"# [{section.name}.{name}]"
            yield from _key_lines(keys(section.kind), value)


def _key_lines(known: Mapping[str, Key], example: object = None) -> Iterator[str]:
    for name, key in known.items():
        yield ""
        yield from _comment(key.doc if key.plain else f"{key.doc} Takes {key.words}.")
        yield f"# {name} = {toml(getattr(example, name) if example else key.default)}"


def _example(each: Field[Any]) -> tuple[str, object]:
    return each.metadata["example"]


def _doc(section: Section) -> str:
    return docs(Config)[section.name] if section.named else " ".join((section.kind.__doc__ or "").split())


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False, break_long_words=False)


def values(loaded: Loaded) -> Iterator[tuple[str, str, Setting, str]]:
    """Every value that holds: its table, its key, itself, its origin."""
    for section in sections():
        part = getattr(loaded.config, section.name)
        tables: dict[str, Any] = (
            {f"{section.name}.{name}": thing for name, thing in part.items()}
            if section.named and section.kind is not bool
            else {section.name: part}
        )
        for table, thing in tables.items():
            names = thing if section.kind is bool else keys(section.kind)
            for name in names:
                value = thing[name] if section.kind is bool else getattr(thing, name)
                yield table, name, value, loaded.origins.get(f"{table}.{name}", "default")


def show_text(loaded: Loaded) -> str:
    """What holds, as a TOML file whose comments say where each value comes from."""
    found = [(table, f"{name} = {toml(value)}", origin) for table, name, value, origin in values(loaded)]
    width = max(len(line) for _, line, _ in found)
    lines: list[str] = []
    before = ""
    for table, line, origin in found:
        if table != before:
            lines += ["", f"[{table}]"] if lines else [f"[{table}]"]
            before = table
        lines.append(f"{line:<{width}}  # {origin}")
    return "\n".join(lines) + "\n"


def show_json(loaded: Loaded) -> dict[str, dict[str, dict[str, object]]]:
    """The same for machines: table, key, then `value` (null: not set) and `origin`."""
    told: dict[str, dict[str, dict[str, object]]] = {}
    for table, name, value, origin in values(loaded):
        plain = list(value) if isinstance(value, tuple) else value
        told.setdefault(table, {})[name] = {
            "value": plain if isinstance(plain, int | float | list | None) else str(plain),
            "origin": origin,
        }
    return told
