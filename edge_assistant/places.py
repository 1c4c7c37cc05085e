"""Where things are kept, by the XDG base directory specification."""

import os
from pathlib import Path

_NAME = "edge-assistant"


def cache_folder() -> Path:
    """What can be made again: `$XDG_CACHE_HOME/edge-assistant`, or under `~/.cache`. May not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / _NAME
