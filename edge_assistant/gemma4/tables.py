"""Embedding tables that stay in their file: only the rows looked up are read.

A row is one record, its codes and then its scales, so that a look-up touches one place of the file. The per-layer table of E2B
has 2.35 billion weights: in 4 bits it is 1.3 GB of file and a few pages of memory.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.ggml import Quantised
from edge_assistant.gemma4.graph import Advance, finite, slices
from edge_assistant.gemma4.mapped import floats
from edge_assistant.gemma4.quantise import quantise, restore

_GROUPS = (64, 32, 16, 8, 4, 2)


@dataclass(frozen=True, slots=True)
class TableShape:
    """How a table lies in its file."""

    rows: int
    width: int
    bits: int
    """4, 8, or 32 for float32."""
    own_group: int | None = None
    """Weights that shared a scale in the checkpoint already; None where it had floats."""

    @property
    def group(self) -> int:
        """Weights that share a scale."""
        return self.own_group or next((group for group in _GROUPS if self.width % group == 0), self.width)

    @property
    def record(self) -> np.dtype[np.void]:
        """One row."""
        if self.bits == 32:
            return np.dtype([("values", np.float32, (self.width,))])
        groups, size = self.width // self.group, self.group * self.bits // 8
        return np.dtype([("codes", np.uint8, (groups, size)), ("scales", np.float32, (groups,))])


def write_table(path: Path, shape: TableShape, name: str, source: NDArray[Any] | Quantised, advance: Advance) -> None:
    """Write the rows of a tensor [rows, width] of any float type, or quantised as `shape` says, a slice at a time.

    Raises CheckpointError, with the tensor's name.
    """
    with path.open("wb") as file:
        for record in _records(shape, name, source):
            file.write(record.data)
            advance(len(record) * shape.width)


def _records(shape: TableShape, name: str, source: NDArray[Any] | Quantised) -> Iterator[NDArray[np.void]]:
    for part in slices(shape.rows, shape.width):
        out = np.empty(part.stop - part.start, shape.record)
        if isinstance(source, Quantised):
            out["codes"], out["scales"] = source.part(part)
            finite(out["scales"], name)
        elif shape.bits == 32:
            out["values"] = finite(floats(source, part), name)
        else:
            out["codes"], out["scales"] = quantise(finite(floats(source, part), name), shape.bits, shape.group)
        yield out


class Table:
    """Rows by id, multiplied by the embedding's scale."""

    def __init__(self, path: Path, shape: TableShape, scale: float) -> None:
        self.shape = shape
        self._scale = np.float32(scale)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), shape.rows * shape.record.itemsize, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_RANDOM)  # the rows beside the one looked up are of no use
        self._records: NDArray[np.void] = np.frombuffer(self._map, shape.record)

    def rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """[n] ids to [n, width]."""
        records = np.asarray(self._records[np.asarray(ids, np.int64)])
        # Linux maps up to a megabyte around each row; unmapped again it is nobody's memory, and still in the page cache
        self._map.madvise(mmap.MADV_DONTNEED)
        if self.shape.bits == 32:
            return records["values"] * self._scale
        return restore(records["codes"], records["scales"], self.shape.bits, self.shape.width) * self._scale
