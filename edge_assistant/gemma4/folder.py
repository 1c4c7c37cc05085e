"""A folder that appears under its name whole, or not at all."""

import fcntl
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
    check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # a sibling, so that taking the name is one rename within a file system
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    try:
        yield part
        _take_name(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def resuming(target: Path) -> Generator[Path]:
    """As `appearing`, but a run that is killed or interrupted leaves its hidden folder, and the next one gets it as it is.

    Raises UsageError when the name is taken, or while another process fills it.
    """
    check_free(target)
    part = unfinished(target)
    part.mkdir(parents=True, exist_ok=True)
    handle = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another edge-assistant is making {target}", "let it end, or stop it first") from None
        check_free(target)  # the other one may have ended since
        try:
            yield part
            _take_name(part, target)
        except KeyboardInterrupt:
            raise
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    finally:
        os.close(handle)


def unfinished(target: Path) -> Path:
    """Where `resuming` fills what will be the target."""
    return target.parent / f".{target.name}.part"


def check_free(target: Path) -> None:
    """Raises UsageError when the name is taken."""
    if target.exists():
        raise UsageError(f"{target} exists already", "choose another name or remove it first")


def _take_name(part: Path, target: Path) -> None:
    part.chmod(0o755)
    settle(part)
    part.rename(target)


def settle(folder: Path) -> None:
    """Everything in it on the disk before it gets its name: a Pi loses power without asking."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
