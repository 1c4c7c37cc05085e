"""Which files of a bundle are finished, so that a build that was killed goes on where it was."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_assistant.gemma4.bundle import FileEntry, sha256

_RECORD = ".finished.json"


class Finished:
    """The finished files of a folder, kept in a record beside them.

    What an earlier run left counts only if it was made of the same things (`key`) and every byte is still as recorded.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        self.files: dict[str, FileEntry] = {}
        self._adopt()
        for path in folder.iterdir():
            if path.name not in self.files and not (self.files and path.name == _RECORD):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def __contains__(self, names: tuple[str, ...]) -> bool:
        return all(name in self.files for name in names)

    def add(self, *names: str) -> None:
        """These files are finished."""
        for name in names:
            path = self._folder / name
            self.files[name] = FileEntry(path.stat().st_size, sha256(path))
        record = {"key": self._key, "files": {name: asdict(entry) for name, entry in self.files.items()}}
        new = self._folder / f"{_RECORD}.new"
        new.write_text(json.dumps(record), encoding="utf-8")
        new.replace(self._folder / _RECORD)

    def close(self) -> None:
        """The folder is whole and needs no record any more."""
        (self._folder / _RECORD).unlink(missing_ok=True)

    def _adopt(self) -> None:
        try:
            record: Any = json.loads((self._folder / _RECORD).read_text(encoding="utf-8"))
            if record["key"] != self._key:
                return
            entries = {str(name): FileEntry(**entry) for name, entry in record["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # none, or one that lost power while it was written
        for name, entry in entries.items():
            path = self._folder / name
            if path.is_file() and path.stat().st_size == entry.bytes and sha256(path) == entry.sha256:
                self.files[name] = entry


def fingerprint(folder: Path) -> str:
    """Of a checkpoint, without reading its weights: names, sizes and times of its files. Another one for every change."""
    digest = hashlib.sha256()
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_file():
            state = entry.stat()
            digest.update(f"{entry.name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
