"""How kernels round activations to 8 bits: said in formulas, and held against what a processor's kernels give.

`python rounding.py OUT.json` multiplies by matrices of E2B's width, one node each, here or emulated. onnxruntime's kernels round
blocks, as long as the weights' own, by their largest size; but on ARM those for 4 bits in blocks of 32 and more are KleidiAI's
(`qai8dxp` times `qsi4c32p`), which round a whole row by its least and its largest, so that an outlier costs the row its
precision, and cut the weights' scales to bfloat16.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edge_assistant.gemma4.bundle import MANIFEST, SEAL, seal, sha256
from edge_assistant.gemma4.graph import MICROSOFT
from edge_assistant.gemma4.quantise import quantise, restore

KINDS = {"4 bits": (4, 32), "8 bits": (8, 32), "8 bits from Q6_K": (8, 16)}
"""Bits and block of the matrices that a bundle has."""
INPUTS, OUTPUTS, ROWS = 1536, 512, 16
FLOAT32, INT8 = 1, 4
"""The accuracy levels of MatMulNBits."""


def by_blocks(x: Any, block: int) -> Any:
    """[rows, inputs], rounded and back."""
    blocks = x.reshape(len(x), -1, block)
    scale = np.abs(blocks).max(-1, keepdims=True) / 127
    return (np.rint(blocks / scale) * scale).reshape(x.shape)


def by_rows(x: Any) -> Any:
    """[rows, inputs], rounded and back."""
    low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scale = (high - low) / 255
    zero = np.rint(np.clip(-128 - low / scale, -128, 127))
    return (np.clip(np.rint(x / scale) + zero, -128, 127) - zero) * scale


def cut_scales(scales: Any) -> Any:
    """To bfloat16, towards zero, as KleidiAI keeps them."""
    return (scales.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def distances(bits: int, block: int) -> dict[str, float]:
    """How far a product is from the exact one, and from those of activations that were rounded so, as part of its size."""
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, INPUTS), np.float32)
    x[:, random.integers(0, INPUTS, 8)] *= 30  # outliers, as trained models have them
    codes, scales = quantise(random.standard_normal((OUTPUTS, INPUTS), np.float32) / np.float32(np.sqrt(INPUTS)), bits, block)
    weights, cut = (restore(codes, one, bits, INPUTS).astype(np.float64) for one in (scales, cut_scales(scales)))
    out = _product(x, codes, scales, bits, block)
    wide = x.astype(np.float64)
    exact = wide @ weights.T
    meant = {"exact": exact, "blocks": by_blocks(wide, block) @ weights.T, "rows": by_rows(wide) @ cut.T}
    return {name: float(np.linalg.norm(out - one) / np.linalg.norm(exact)) for name, one in meant.items()}


def _product(x: Any, codes: Any, scales: Any, bits: int, block: int) -> Any:
    sizes = {"K": INPUTS, "N": OUTPUTS, "bits": bits, "block_size": block, "accuracy_level": INT8}
    node = helper.make_node("MatMulNBits", ["x", "codes", "scales"], ["y"], domain=MICROSOFT, **sizes)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size]) for name, size in (("x", INPUTS), ("y", OUTPUTS))
    ]
    weights = [numpy_helper.from_array(codes, "codes"), numpy_helper.from_array(scales.reshape(-1), "scales")]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    graph = helper.make_graph([node], "product", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session: Any = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def unrounded(bundle: Path, out: Path) -> Path:
    """A bundle of the same weights, with activations left as floats."""
    return _changed(bundle, out, lambda graph, _: [_set_level(node, FLOAT32) for node in _products(graph)])


def rounded_by_rows(bundle: Path, out: Path) -> Path:
    """A bundle that rounds on any processor where KleidiAI would, and as it does: by nodes of its own."""
    return _changed(bundle, out, _round_rows)


def _changed(bundle: Path, out: Path, change: Callable[[Any, Path], object]) -> Path:
    """A bundle whose graphs are others; the file of weights that a change is given may be replaced, too."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bundle, out, copy_function=os.link)
    manifest = json.loads((out / MANIFEST).read_text())
    for file in out.glob("*.onnx"):
        model = onnx.load(file, load_external_data=False)
        change(model.graph, file.with_suffix(".bin"))
        file.unlink()  # it is a second name of the bundle's
        file.write_bytes(model.SerializeToString())
        for one in (file, file.with_suffix(".bin")):
            manifest["files"][one.name] = {"bytes": one.stat().st_size, "sha256": sha256(one)}
    for name in (MANIFEST, SEAL):
        (out / name).unlink()
    (out / MANIFEST).write_text(json.dumps(manifest))
    seal(out)
    return out


def _products(graph: Any) -> list[Any]:
    return [node for node in graph.node if node.op_type == "MatMulNBits"]


def _set_level(node: Any, level: int) -> None:
    next(one for one in node.attribute if one.name == "accuracy_level").i = level


def _round_rows(graph: Any, weights: Path) -> None:
    """`by_rows` before every product in 4 bits, which then takes it as floats; and `cut_scales` of its weights."""
    numbers = {"zero": 0, "steps": 255, "low": -128, "high": 127}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), f"row.{name}") for name, value in numbers.items()
    )
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "row.axis"))
    nodes: list[Any] = []
    done: dict[str, str] = {}

    def op(kind: str, *inputs: str, **attributes: int) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"row.{len(nodes)}"], **attributes))
        return f"row.{len(nodes) - 1}"

    def rounded(x: str) -> str:
        low = op("Min", op("ReduceMin", x, "row.axis", keepdims=1), "row.zero")
        high = op("Max", op("ReduceMax", x, "row.axis", keepdims=1), "row.zero")
        scale = op("Div", op("Sub", high, low), "row.steps")
        zero = op("Round", op("Clip", op("Sub", "row.low", op("Div", low, scale)), "row.low", "row.high"))
        codes = op("Clip", op("Add", op("Round", op("Div", x, scale)), zero), "row.low", "row.high")
        return op("Mul", op("Sub", codes, zero), scale)

    scales: list[str] = []
    for node in graph.node:
        bits = next((one.i for one in node.attribute if one.name == "bits"), 0)
        if node.op_type == "MatMulNBits" and bits == 4:
            x = node.input[0]
            if x not in done:
                done[x] = rounded(x)
            node.input[0] = done[x]
            scales.append(node.input[2])
            _set_level(node, FLOAT32)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    own = weights.with_suffix(".own")
    shutil.copyfile(weights, own)
    for tensor in (one for one in graph.initializer if one.name in scales):
        place = {entry.key: entry.value for entry in tensor.external_data}
        size = int(place["length"]) // 4
        mapped = np.memmap(own, np.float32, "r+", int(place["offset"]), (size,))
        mapped[:] = cut_scales(np.array(mapped))
        mapped.flush()
    own.replace(weights)


def main() -> None:
    found = {name: distances(*kind) for name, kind in KINDS.items()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
