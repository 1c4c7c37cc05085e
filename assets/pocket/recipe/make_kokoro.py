"""Put the published Kokoro together: its ONNX model, and its voices in one file.

`--float` also undoes the model's dynamic int8 quantisation (ConvInteger, MatMulInteger, DynamicQuantizeLSTM). On a CPU
with integer kernels the int8 model is the faster one (0.7 seconds a second of speech against 0.9, one x86-64 core with
AVX-512), so the recipe uses it as it is; on one without, the float model is.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

STYLE_DIM = 256
"""Floats in one Kokoro style vector; a voice file holds one vector for every sentence length."""


def dequantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with every dynamically quantised Conv, MatMul and LSTM in float32."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    source = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DynamicQuantizeLinear"}
    new_weights: dict[str, onnx.TensorProto] = {}
    makers = {name: node for node in graph.node for name in node.output}
    dropped: set[str] = set()
    floats: list[onnx.NodeProto] = []

    def value(name: str) -> np.ndarray:
        return numpy_helper.to_array(constants[name])

    def weight(name: str, scale: str, zero: str) -> str:
        """Add the float32 version of a quantised constant to the graph, once, and return its name."""
        new = f"{name}/{scale}/float"
        if new not in new_weights:
            quantised, factor, offset = value(name), value(scale).astype(np.float32), value(zero).astype(np.float32)
            shape = [-1 if size > 1 else 1 for size in factor.shape]
            if factor.ndim == 1 and factor.size > 1:  # one scale per output: the last axis of MatMul, the first of Conv
                shape = [factor.size] + [1] * (quantised.ndim - 1)
                if quantised.ndim == 2 or quantised.shape[0] != factor.size:
                    shape = [1] * (quantised.ndim - 1) + [factor.size]
                factor, offset = factor.reshape(shape), offset.reshape(shape) if offset.size > 1 else offset
            elif factor.ndim == 2 and quantised.ndim == 3:  # LSTM: [directions, gates] for [directions, inputs, gates]
                factor, offset = factor[:, None], offset[:, None] if offset.ndim == 2 else offset
            elif factor.ndim == 1 and factor.size == 1:
                factor, offset = factor.reshape(()), offset.reshape(())
            new_weights[new] = numpy_helper.from_array((quantised.astype(np.float32) - offset) * factor, new)
        return new

    for node in graph.node:
        if node.op_type in ("ConvInteger", "MatMulInteger"):
            (cast,) = users[node.output[0]]
            bias = []
            if cast.op_type == "Add":  # a bias, turned into an integer by Div, Floor, Cast and Reshape
                step = makers[next(name for name in cast.input if name != node.output[0])]
                while step.op_type != "Div":
                    step = makers[step.input[0]]
                bias = [step.input[0]]
                dropped.add(cast.output[0])
                (cast,) = users[cast.output[0]]
            (scaled,) = users[cast.output[0]]
            product = makers[next(name for name in scaled.input if name != cast.output[0])]
            scale = next(name for name in product.input if name in constants)
            node.op_type = node.op_type.removesuffix("Integer")
            new_inputs = [source[node.input[0]], weight(node.input[1], scale, node.input[3]), *bias]
            del node.input[:]
            node.input.extend(new_inputs)
            dropped |= {cast.output[0], scaled.output[0]}
            node.output[0] = scaled.output[0]
            floats.append(node)
        elif node.op_type == "DynamicQuantizeLSTM":
            inputs = list(node.input)
            # The quantised LSTM keeps its weights transposed: [directions, inputs, 4 * hidden].
            for slot, (scale, zero) in {1: (8, 9), 2: (10, 11)}.items():
                name = weight(inputs[slot], inputs[scale], inputs[zero])
                plain = name + "/T"
                new_weights[plain] = numpy_helper.from_array(
                    numpy_helper.to_array(new_weights[name]).transpose(0, 2, 1).copy(), plain
                )
                inputs[slot] = plain
            node.op_type, node.domain = "LSTM", ""
            del node.input[:]
            node.input.extend(inputs[:8])
    kept = {node.output[0] for node in floats}
    nodes = [n for n in graph.node if n.output[0] not in dropped or (n.output[0] in kept and n.op_type in ("Conv", "MatMul"))]
    while True:  # sweep what nobody reads any more: quantisers and products of scales
        needed = {name for n in nodes for name in n.input} | {output.name for output in graph.output}
        live = [n for n in nodes if any(name in needed for name in n.output)]
        if len(live) == len(nodes):
            break
        nodes = live
    keep = [t for t in graph.initializer if t.name in needed] + [t for t in new_weights.values() if t.name in needed]
    return helper.make_model(
        helper.make_graph(nodes, graph.name, list(graph.input), list(graph.output), keep),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voices", type=Path, help="folder of *.bin voices, float32, [lengths, 256]")
    parser.add_argument("model_out", type=Path)
    parser.add_argument("voices_out", type=Path, help=".npz, one array [lengths, 1, 256] for each voice")
    parser.add_argument("--parts", type=Path, nargs="+", required=True, help="the quantised model, in order")
    parser.add_argument("--float", action="store_true", help="undo the quantisation")
    args = parser.parse_args()
    data = b"".join(part.read_bytes() for part in args.parts)
    if args.float:
        onnx.save(dequantise(onnx.load_from_string(data)), args.model_out)
    else:
        args.model_out.write_bytes(data)
    found = sorted(args.voices.glob("?[fm]_*.bin"))
    voices = {path.stem: np.fromfile(path, np.float32).reshape(-1, 1, STYLE_DIM) for path in found}
    np.savez(args.voices_out, **voices)
    print(len(voices), "voices")


if __name__ == "__main__":
    main()
