"""A folder that appears under its name whole, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from edge_assistant.errors import UsageError


@contextmanager
def appearing(target: Path) -> Generator[Path]:
    """A hidden folder to fill, which takes the target's name at the end; after a failure nothing is left of it.

    Raises UsageError when the name is taken.
    """
    if target.exists():
        raise UsageError(f"{target} exists already", "choose another name or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    # a sibling, so that taking the name is one rename within a file system
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    try:
        yield part
        part.chmod(0o755)
        settle(part)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def settle(folder: Path) -> None:
    """Everything in it on the disk before it gets its name: a Pi loses power without asking."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
