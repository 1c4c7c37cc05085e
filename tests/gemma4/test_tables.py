from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from edge_assistant.gemma4.tables import Table, TableShape, write_table

SOURCE = np.random.default_rng(2).standard_normal((300, 96), np.float32)


@pytest.mark.parametrize(("bits", "error"), [(32, 0.0), (8, 0.03), (4, 0.5)])
def test_rows_come_back_scaled(tmp_path: Path, bits: int, error: float) -> None:
    shape, seen = TableShape(300, 96, bits), list[int]()
    write_table(tmp_path / "t.bin", shape, "table", SOURCE, seen.append)
    ids = [7, 299, 7, 0]
    rows = Table(tmp_path / "t.bin", shape, 4.0).rows(ids)
    assert rows.dtype == np.float32
    assert np.abs(rows / 4 - SOURCE[ids]).max() <= error
    assert sum(seen) == SOURCE.size
    assert (tmp_path / "t.bin").stat().st_size == 300 * shape.record.itemsize


def test_4_bits_take_a_tenth_of_float32_and_a_bit() -> None:
    assert TableShape(1, 8960, 4).record.itemsize == 8960 // 2 + 8960 // 64 * 4


def test_bfloat16_is_read(tmp_path: Path) -> None:
    write_table(tmp_path / "t.bin", TableShape(300, 96, 32), "table", SOURCE.astype(ml_dtypes.bfloat16), lambda _: None)
    assert np.array_equal(
        Table(tmp_path / "t.bin", TableShape(300, 96, 32), 1.0).rows([5])[0], SOURCE[5].astype(ml_dtypes.bfloat16)
    )


def test_a_width_nobody_expects(tmp_path: Path) -> None:
    odd = np.ascontiguousarray(SOURCE[:, :12])
    for bits in (4, 8):
        write_table(tmp_path / "t.bin", TableShape(300, 12, bits), "table", odd, lambda _: None)
        assert np.abs(Table(tmp_path / "t.bin", TableShape(300, 12, bits), 1.0).rows([3])[0] - odd[3]).max() < 0.5


def test_rows_looked_up_stay_nobodys_memory(tmp_path: Path) -> None:
    path, shape = tmp_path / "t.bin", TableShape(4000, 96, 32)
    write_table(path, shape, "table", np.tile(SOURCE, (14, 1))[:4000], lambda _: None)
    table = Table(path, shape, 1.0)
    table.rows(range(0, 4000, 7))
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    found = next(line for line in lines if line.endswith(str(path)))
    assert next(line for line in lines if line.startswith("Rss:")).split()[1] == "0", found
    assert table.rows([5])[0].tolist() == SOURCE[5].tolist()
