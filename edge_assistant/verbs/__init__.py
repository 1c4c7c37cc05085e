"""What the command line can do: one file for each verb, with `HELP`, `EXAMPLE`, `add_arguments` and `run`.

A verb imports what is heavy only when it runs, so that `--help` is quick on a small computer.
"""

import argparse
import math

from edge_assistant.config import Config, load, sections
from edge_assistant.errors import UsageError
from edge_assistant.schema import Key, keys, toml


def check_seconds(seconds: float | None) -> None:
    """Of `--seconds`. Raises UsageError."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"--seconds is {seconds:g}", "give it a number of seconds, more than 0")


def add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare options for settings, by dotted name (`talk.barge_in` becomes `--barge-in`): what is given wins over every file."""
    kinds = {section.name: section.kind for section in sections()}
    for name in names:
        section, _, key_name = name.partition(".")
        key = keys(kinds[section])[key_name]
        default = toml(key.default).strip('"')
        text = f"{key.doc[0].lower()}{key.doc[1:].rstrip('.')} ({default})".replace("%", "%%")
        option = f"--{key.name.replace('_', '-')}"
        if key.kind is bool:
            parser.add_argument(option, dest=name, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(option, dest=name, metavar=_metavar(key), help=text)


def configuration(args: argparse.Namespace) -> Config:
    """The settings that hold, with the options that were given. Raises ConfigError."""
    return load({name: value for name, value in vars(args).items() if "." in name}).config


def _metavar(key: Key) -> str:
    if key.choices:
        return f"{{{','.join(key.choices)}}}"
    return "GPIO" if key.name.endswith("_pin") else "N" if key.kind in (int, float) else "NAME" if key.kind is str else "PATH"
