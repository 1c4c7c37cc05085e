"""What the user set by voice and finds again after a restart: how loud, and how fast."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from edge_assistant.errors import StorageError
from edge_assistant.state import Forgetful, Keeper, Keeps, StateFile

log = logging.getLogger(__name__)


class Preferences:
    """Whole numbers by name. Any thread may ask and set."""

    def __init__(self, keeper: Keeps | None = None, kept: Any = None) -> None:
        """`kept` is what the keeper was given last; what is no number in it counts as never set."""
        self._keeper = keeper or Forgetful()
        pairs = cast(dict[Any, Any], kept).items() if isinstance(kept, dict) else ()
        self._values = {str(name): value for name, value in pairs if type(value) is int}
        self._lock = threading.Lock()

    def get(self, name: str, otherwise: int, low: int, high: int) -> int:
        """The number that was set, within what it may be."""
        return min(max(self._values.get(name, otherwise), low), high)

    def set(self, name: str, value: int) -> None:
        """Keep it from here on."""
        with self._lock:
            self._values = self._values | {name: value}
            self._keeper.keep(self._values)


@contextmanager
def open_preferences(folder: Path | None) -> Generator[Preferences]:
    """Those that the folder keeps; changes are kept only by the first program that opens them, and only if there is a folder."""
    if folder is None:
        yield Preferences()
        return
    file = StateFile(folder / "preferences.json")
    if not _claimed(file):
        yield Preferences(kept=file.load())
        return
    try:
        with Keeper(file) as keeper:
            yield Preferences(keeper, file.load())
    finally:
        file.release()


def _claimed(file: StateFile) -> bool:
    try:
        return file.claim()
    except StorageError as error:
        log.error("%s", error)
        return False
