"""Notes as they were dictated, dated, in a file of JSON lines that only grows by whole lines."""

import fcntl
import json
import logging
import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_assistant.errors import StorageError

log = logging.getLogger(__name__)

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Note:
    """One of them."""

    at: datetime
    """Local time, without a zone."""
    text: str
    sure: bool = True
    """The clock could be trusted when it was taken."""


class Notebook:
    """A file of notes. Several programs may use it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, note: Note) -> None:
        """Write it down: on the disk when this returns.

        Raises:
            StorageError: no room, or a folder that cannot be written. What was there before still is.
        """
        try:
            with self._locked():
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                try:
                    self._append(file, note)
                finally:
                    os.close(file)
        except OSError as error:
            raise self._cannot(error) from error

    def notes(self) -> list[Note]:
        """All of them, oldest first. What a power cut left of a line is no note.

        Raises:
            StorageError: the file cannot be read.
        """
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"cannot read {self._path} ({error.strerror})", "let us read there") from error
        return [note for line in lines if (note := _read(line)) is not None]

    def remove(self, unwanted: Iterable[int]) -> int:
        """Remove notes by their number in `notes`, from 0; returns how many.

        Raises:
            StorageError: the folder cannot be written. Then all of them are still there.
        """
        numbers = set(unwanted)
        try:
            with self._locked():
                notes = self.notes()
                kept = [note for number, note in enumerate(notes) if number not in numbers]
                new = self._path.with_name(f".{self._path.name}.new")
                file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                try:
                    _write(file, b"".join(map(_line, kept)))
                finally:
                    os.close(file)
                os.replace(new, self._path)
        except OSError as error:
            raise self._cannot(error) from error
        return len(notes) - len(kept)

    @contextmanager
    def _locked(self) -> Generator[None]:
        folder = self._path.parent
        os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(folder / f".{self._path.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @staticmethod
    def _append(file: int, note: Note) -> None:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        try:
            _write(file, (b"\n" if torn else b"") + _line(note))
        except OSError:
            os.ftruncate(file, size)
            raise

    def _cannot(self, error: OSError) -> StorageError:
        return StorageError(f"cannot keep {self._path} ({error.strerror})", "make room there, or let us write there")


def matches(note: Note, words: str) -> bool:
    """Does every one of these words begin a word of the note?"""
    there = [word.casefold() for word in _WORD.findall(note.text)]
    return all(any(each.startswith(word.casefold()) for each in there) for word in _WORD.findall(words))


def _line(note: Note) -> bytes:
    values: dict[str, object] = {"at": note.at.isoformat(timespec="seconds"), "text": note.text}
    return json.dumps(values | ({} if note.sure else {"sure": False}), ensure_ascii=False).encode() + b"\n"


def _read(line: bytes) -> Note | None:
    if not line.strip():
        return None
    try:
        values: Any = json.loads(line)
        return Note(datetime.fromisoformat(values["at"]), str(values["text"]), bool(values.get("sure", True)))
    except (ValueError, KeyError, TypeError, AttributeError):
        log.warning("a damaged note is left out")
        return None


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)
