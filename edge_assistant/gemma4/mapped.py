"""Arrays that are mapped from files larger than the memory: what was read of them is let go again."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def floats(rows: NDArray[Any], part: slice) -> NDArray[np.float32]:
    """Some rows in float32; of a mapped array nothing stays resident."""
    out = rows[part].astype(np.float32)
    let_go(rows)
    return out


def let_go(array: NDArray[Any]) -> None:
    """Unmap what was read of a file. It is this process's memory no longer, and still in the system's page cache."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
