"""Where things are kept, by the XDG base directory specification, and by systemd where that started us."""

import os
from pathlib import Path

_NAME = "edge-assistant"


def config_file() -> Path:
    """The user's settings: `$XDG_CONFIG_HOME/edge-assistant/config.toml`, or under `~/.config`. May not exist."""
    return _base("XDG_CONFIG_HOME", ".config") / "config.toml"


def cache_folder() -> Path:
    """What can be made again: `$XDG_CACHE_HOME/edge-assistant`, or under `~/.cache`. May not exist yet."""
    return _base("XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """What is kept, models above all: `$XDG_DATA_HOME/edge-assistant`, or under `~/.local/share`. May not exist yet."""
    return _base("XDG_DATA_HOME", ".local/share")


def state_folder() -> Path:
    """What must outlive a restart, timers above all: systemd's `$STATE_DIRECTORY`, `$XDG_STATE_HOME/edge-assistant`, or under
    `~/.local/state`. May not exist yet.
    """
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given) if os.path.isabs(given) else _base("XDG_STATE_HOME", ".local/state")


def _base(variable: str, otherwise: str) -> Path:
    base = os.environ.get(variable, "")
    return (Path(base) if os.path.isabs(base) else Path.home() / otherwise) / _NAME
