"""Small things that must outlive us: timers, alarms, what was switched. A power cut at any moment costs at most the last change.

A file holds one JSON value, sealed with a number that grows and a checksum. A change goes to NAME.new, which is synced before it
takes the place of NAME; what stood there becomes NAME.old. The file with the greatest number that is whole is the state, so there
is always one, and an older one beside it should a card lose a block.
"""

import fcntl
import hashlib
import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from edge_assistant.errors import StorageError

log = logging.getLogger(__name__)

_SUFFIXES = ("", ".new", ".old")


class StateFile:
    """One value in a file. Owned by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._lock: int | None = None

    def claim(self) -> bool:
        """Be the only process that changes it, until it ends; False if another one is.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            self._make_folder()
            # Not opened for writing: else nobody could make the file system read-only while it runs.
            self._lock = os.open(self._named(".lock"), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        except OSError as error:
            raise self._cannot(error) from error
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self) -> Any:
        """The value that was saved last, or the one before if that is damaged; None if there is none."""
        best, value = 0, None
        for suffix in _SUFFIXES:
            path = self._named(suffix)
            try:
                number, found = _open(_read(path))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s is damaged (%s): an older state counts", path, error)
                continue
            if number > best:
                best, value = number, found
        self._number = max(self._number, best)
        return value

    def save(self, value: Any) -> None:
        """Have the value outlive us from here on.

        Raises:
            StorageError: no room, or a folder that cannot be written. What was saved before still stands.
        """
        new = self._named(".new")
        try:
            self._make_folder()
            _write(new, _seal(self._number + 1, value))
            with suppress(FileNotFoundError):  # the first change, or one that was cut off here
                os.replace(self._path, self._named(".old"))
            os.replace(new, self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise self._cannot(error) from error
        self._number += 1

    def _make_folder(self) -> None:
        folder = self._path.parent
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            _sync(folder.parent)

    def _named(self, suffix: str) -> str:
        return f"{self._path}{suffix}"

    def _cannot(self, error: OSError) -> StorageError:
        return StorageError(f"cannot keep {self._path} ({error.strerror})", "make room there, or let us write there")


class Keeps(Protocol):
    """Keeps the newest value that it is given."""

    def keep(self, value: Any) -> None:
        """Returns at once."""
        ...

    def settled(self) -> bool:
        """Wait for it; False if the newest value could not be kept."""
        ...


class Keeper:
    """Writes on a thread of its own, because a card may take a second for it: of values that wait, the newest is enough."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._waiting: list[Any] = []
        self._busy = False
        self._whole = self._open = True
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join()

    def keep(self, value: Any) -> None:
        """Have it written."""
        with self._changed:
            self._waiting = [value]
            self._changed.notify_all()

    def settled(self) -> bool:
        """Wait until nothing waits; was it written?"""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._busy))
            return self._whole

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._waiting:
                    return
                value, self._busy = self._waiting.pop(), True
            whole = _saved(self._file, value)
            with self._changed:
                self._busy, self._whole = False, whole
                self._changed.notify_all()


class DirectKeeper:
    """Writes at once, on the caller's thread."""

    def __init__(self, file: StateFile) -> None:
        self._file, self._whole = file, True

    def keep(self, value: Any) -> None:
        """Write it."""
        self._whole = _saved(self._file, value)

    def settled(self) -> bool:
        """Was it written?"""
        return self._whole


class Forgetful:
    """Keeps nothing, and was never asked to."""

    def keep(self, value: Any) -> None: ...

    def settled(self) -> bool:
        return True


def _saved(file: StateFile, value: Any) -> bool:
    try:
        file.save(value)
    except StorageError as error:
        log.error("%s", error)
        return False
    return True


def _seal(number: int, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    return json.dumps({"number": number, "sha256": _sum(number, text), "value": text}, ensure_ascii=False).encode()


def _open(sealed: bytes) -> tuple[int, Any]:
    whole = json.loads(sealed)
    number, text = whole["number"], whole["value"]
    if whole["sha256"] != _sum(number, text):
        raise ValueError("its checksum is another one")
    return number, json.loads(text)


def _sum(number: int, text: str) -> str:
    return hashlib.sha256(f"{number}\n{text}".encode()).hexdigest()


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts: list[bytes] = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
