"""A build reads a checkpoint larger than the memory: nothing that was read may stay resident."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from edge_assistant.gemma4.ggml import quantised
from edge_assistant.gemma4.graph import Weights
from edge_assistant.gemma4.mapped import floats, let_go
from edge_assistant.gemma4.tables import TableShape, write_table

ROWS, WIDTH = 1 << 13, 1 << 12
"""64 MB of bfloat16, many slices."""


def resident(path: Path) -> int:
    """Bytes of this file that this process has mapped and resident."""
    total, within = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line.split(":")[0].istitle() and "-" in line.split(" ")[0]:
            within = line.endswith(str(path))
        elif within and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tensor"
    np.zeros(ROWS * WIDTH, np.uint16).tofile(path)
    return path


def test_floats_leave_nothing_behind(file: Path) -> None:
    rows = np.memmap(file, ml_dtypes.bfloat16, "r", 0, (ROWS, WIDTH))
    assert rows[:1000].astype(np.float32).shape == (1000, WIDTH)
    assert resident(file) >= 1000 * WIDTH * 2  # or this test sees nothing
    assert floats(rows, slice(0, 1000)).shape == (1000, WIDTH)
    assert resident(file) == 0


@pytest.mark.parametrize("bits", [4, 32])
def test_a_table_is_written_without_holding_it(file: Path, tmp_path: Path, bits: int) -> None:
    rows, seen = np.memmap(file, ml_dtypes.bfloat16, "r", 0, (ROWS, WIDTH)), list[int]()
    write_table(tmp_path / "t.bin", TableShape(ROWS, WIDTH, bits), "table", rows, lambda _: seen.append(resident(file)))
    assert len(seen) >= 8
    assert max(seen) == 0


def test_quantised_rows_leave_nothing_behind(file: Path) -> None:
    raw = np.asarray(np.memmap(file, np.uint8, "r", 0, (ROWS, 18 * 400)))  # as the gguf package gives it: a plain view
    coded = quantised(raw, "Q4_0")
    coded.part(slice(0, 4000))
    assert resident(file) == 0


@pytest.mark.parametrize("bits", [4, None])
def test_a_matrix_is_written_without_holding_it(file: Path, tmp_path: Path, bits: int | None) -> None:
    class Source:
        least_bits = 4

        def shape(self, _: str) -> tuple[int, int]:
            return ROWS, WIDTH

        def rows(self, _: str) -> np.ndarray:
            return np.memmap(file, ml_dtypes.bfloat16, "r", 0, (ROWS, WIDTH))

        def quantised(self, _: str) -> None:
            return None

    seen: list[int] = []
    weights = Weights(tmp_path / "w.bin", Source(), bits, 32, lambda _: seen.append(resident(file)))  # type: ignore[arg-type]
    weights.matrix("m", ROWS, WIDTH, slice(0, ROWS))
    weights.close()
    assert seen
    assert seen[-1] <= 16 << 20


def test_what_is_not_mapped_is_left_alone() -> None:
    let_go(np.ones((3, 4))[1:].T)
    let_go(np.frombuffer(b"12345678", np.uint8).reshape(2, 4))
