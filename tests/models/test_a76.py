"""What `make prove-a76` rests on: how many products there are, what is left when nothing is rounded, what is a fault."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "bench" / "a76"), str(Path(__file__).parents[1] / "parity")]

import prove
import rounding
from gguf_pairs import make_pair

from edge_assistant.gemma4.export import export
from edge_assistant.runtimes.onnx import OnnxModel

SOUND: dict[str, Any] = {
    "file": "4 bits",
    "dot_products_of_products": {"prompt": 1.0, "token": 1.0, "sound": 1.04},
    "matrix_instructions": 0,
    "off": {
        "a76 from x86-64": 0.04,
        "a76 from unrounded activations": 0.04,
        "a76 from a76's formula": 0.01,
        "x86-64 from unrounded activations": 0.03,
        "a76's formula from unrounded activations": 0.04,
    },
}
KERNEL = {"exact": 0.01, "blocks": 1e-6, "rows": 0.04}


def logits(bundle: Path) -> Any:
    session = OnnxModel.open(bundle).session(64)
    session.feed_ids(list(range(24, 64)))
    return session.logits()


def test_every_quantised_weight_is_counted_and_rounding_can_be_left_out(tmp_path: Path) -> None:
    pair = make_pair(tmp_path / "pair")
    bundle = export(pair.decoder, tmp_path / "bundle", cache_bits=32, progress=False).folder
    names = ("proj.weight", "per_layer_projection.weight", "per_layer_input_gate.weight", "per_layer_model_projection.weight")
    matrices = [value.size for name, value in pair.restored.items() if "language_model" in name and name.endswith(names)]
    head = pair.restored["model.language_model.embed_tokens.weight"].size
    assert prove.products(bundle / "lower.onnx") + prove.products(bundle / "upper.onnx") == sum(matrices) + head
    exact = logits(export(pair.decoder, tmp_path / "exact", decoder_bits=None, table_bits=32, progress=False).folder)
    rounded, unrounded = logits(bundle), logits(rounding.unrounded(bundle, tmp_path / "unrounded"))
    assert prove.off(unrounded, exact) < prove.off(rounded, exact) / 2
    rows = logits(rounding.rounded_by_rows(bundle, tmp_path / "rows"))
    assert 0.5 < prove.off(rows, exact) / prove.off(rounded, exact) < 4
    assert np.array_equal(rounded, logits(bundle))  # it is as it was


def test_kernels_round_as_the_formula_says() -> None:
    """Those of this processor, that is."""
    for kind in rounding.KINDS.values():
        apart = rounding.distances(*kind)
        assert apart["blocks"] < prove.SAME < apart["exact"] / 50
        assert apart["rows"] > 2 * apart["exact"]


def test_rounding_by_rows() -> None:
    row = np.array([[0.0, 1.0, -1.0, 100.0]])
    assert np.abs(rounding.by_rows(row) - row).max() <= 101 / 255 / 2
    assert np.array_equal(rounding.by_blocks(row, 2)[0, :2], row[0, :2])
    assert np.array_equal(rounding.cut_scales(np.array([1.0039, -1.0], np.float32)), np.array([1.0, -1.0], np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"dot_products_of_products": {"prompt": 1.0, "token": 0.82, "sound": 1.04}},
        {"matrix_instructions": 1},
        {"off": {**SOUND["off"], "a76 from x86-64": 0.08}},
        {"off": {**SOUND["off"], "a76 from unrounded activations": 0.055}},
        {"off": {**SOUND["off"], "a76 from a76's formula": 0.025}},
        {"off": {**SOUND["off"], "a76 from unrounded activations": float("nan")}},
    ],
)
def test_what_it_finds_fault_with(change: dict[str, Any]) -> None:
    assert list(prove.faults(SOUND)) == []
    assert len(list(prove.faults(SOUND | change))) == 1


def test_a_kernel_that_rounds_otherwise() -> None:
    assert list(prove.kernel_faults({"x86-64": {"4 bits": KERNEL, "8 bits": KERNEL}, "a76": {"8 bits": KERNEL}})) == []
    assert len(list(prove.kernel_faults({"a76": {"4 bits": KERNEL}}))) == 1
