"""What `make prove-a76` rests on: how many products there are, what is left when nothing is rounded, what is a fault."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "bench" / "a76"), str(Path(__file__).parents[1] / "parity")]

import prove
from gguf_pairs import make_pair

from edge_assistant.gemma4.export import export
from edge_assistant.runtimes.onnx import OnnxModel

SOUND: dict[str, Any] = {
    "file": "4 bits",
    "dot_products_of_products": {"prompt": 1.0, "token": 1.0, "sound": 1.04},
    "matrix_instructions": 0,
    "off": {
        "a76 from x86-64": 0.04,
        "a76 from unrounded activations": 0.03,
        "x86-64 from unrounded activations": 0.03,
    },
}


def logits(bundle: Path) -> Any:
    session = OnnxModel.open(bundle).session(64)
    session.feed_ids(list(range(24, 64)))
    return session.logits()


def test_every_quantised_weight_is_counted_and_rounding_can_be_left_out(tmp_path: Path) -> None:
    pair = make_pair(tmp_path / "pair")
    bundle = export(pair.decoder, tmp_path / "bundle", progress=False).folder
    names = ("proj.weight", "per_layer_projection.weight", "per_layer_input_gate.weight", "per_layer_model_projection.weight")
    matrices = [value.size for name, value in pair.restored.items() if "language_model" in name and name.endswith(names)]
    head = pair.restored["model.language_model.embed_tokens.weight"].size
    assert prove.products(bundle / "lower.onnx") + prove.products(bundle / "upper.onnx") == sum(matrices) + head
    exact = logits(export(pair.decoder, tmp_path / "exact", decoder_bits=None, table_bits=32, progress=False).folder)
    rounded, unrounded = logits(bundle), logits(prove.unrounded(bundle, tmp_path / "unrounded"))
    assert prove.off(unrounded, exact) < prove.off(rounded, exact) / 2
    assert np.array_equal(rounded, logits(bundle))  # it is as it was


@pytest.mark.parametrize(
    "change",
    [
        {"dot_products_of_products": {"prompt": 1.0, "token": 0.82, "sound": 1.04}},
        {"matrix_instructions": 1},
        {"off": {**SOUND["off"], "a76 from x86-64": 0.06}},
        {"off": {**SOUND["off"], "a76 from unrounded activations": float("nan")}},
    ],
)
def test_what_it_finds_fault_with(change: dict[str, Any]) -> None:
    assert list(prove.faults(SOUND)) == []
    assert len(list(prove.faults(SOUND | change))) == 1
