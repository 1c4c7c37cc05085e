"""An ONNX graph, node by node, over weights that lie once in a file beside it.

`Weights` turns a checkpoint's tensors into that file, a slice at a time; `Graph` only points at them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_assistant.errors import CheckpointError
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.ggml import Repacked
from edge_assistant.gemma4.mapped import floats
from edge_assistant.gemma4.quantise import quantise

MICROSOFT = "com.microsoft"
FLOAT, INT64, INT32, INT8, UINT8, BOOL = (
    int(kind)
    for kind in (
        *(TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32),
        *(TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL),
    )
)
SLICE = 1 << 18
"""Weights converted at once: bounds the memory of an export."""
_INLINE_BYTES = 64
_PAGE, _LINE = 4096, 64

Advance = Callable[[int], None]
"""Told how many weights have been read since the last call."""


def slices(rows: int, width: int) -> Iterator[slice]:
    """Rows in pieces of at most SLICE weights."""
    step = max(1, SLICE // max(1, width))
    for begin in range(0, rows, step):
        yield slice(begin, min(rows, begin + step))


def finite(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """The same. Raises CheckpointError: afterwards nobody could tell, for activations in 8 bits swallow a NaN."""
    if not np.isfinite(values).all():
        raise CheckpointError(f"{name} has numbers that are not finite", "fetch the checkpoint again, or take another")
    return values


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer's weight in the file."""

    tensors: list[TensorProto]
    """One of float32, transposed, or codes and scales."""
    bits: int | None
    """None for float32."""
    block: int


class Weights:
    """The tensors of one graph, written to one file in the order the graph asks for them."""

    def __init__(self, path: Path, source: Checkpoint, bits: int | None, block: int, advance: Advance) -> None:
        self.source = source
        self.bits = bits
        """Of matrices that are floats in the checkpoint: 4, 8, or None for float32, and then of the quantised ones too."""
        self.block = block
        self._advance = advance
        self._name = path.name
        self._file = path.open("wb")

    def close(self) -> None:
        self._file.close()

    def read(self, count: int) -> None:
        """So many weights of the checkpoint have been read."""
        self._advance(count)

    def vector(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A small tensor of the checkpoint, kept in float32."""
        out = finite(self.source.tensor(name, *shape), name)
        self._advance(out.size)
        return out

    def write(self, name: str, parts: Iterator[NDArray[Any]], dtype: Any, shape: tuple[int, ...]) -> TensorProto:
        """Append a tensor given in contiguous parts."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._file.write(bytes(-self._file.tell() % (_PAGE if size >= _PAGE else _LINE)))
        begin = self._file.tell()
        for part in parts:
            self._file.write(np.ascontiguousarray(part, dtype).data)
        tensor = TensorProto(name=name, data_location=TensorProto.EXTERNAL)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        tensor.dims.extend(shape)
        for key, value in (("location", self._name), ("offset", begin), ("length", self._file.tell() - begin)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def matrix(self, name: str, outputs: int, inputs: int, rows: slice) -> Matrix:
        """Rows of a linear layer's weight. What is quantised already keeps its codes and scales."""
        shape = self.source.shape(name)
        if shape[1:] != (inputs,) or rows.stop > shape[0] or rows.stop - rows.start != outputs:
            raise CheckpointError(f"{name} has shape {list(shape)}, not [{outputs}, {inputs}] as config.json says")
        tag = name if rows.start == 0 else f"{name}.{rows.start}"
        if self.bits is None:
            weight = self.source.rows(name)[rows]
            return Matrix([self.write(tag, self._columns(weight, name), np.float32, (inputs, outputs))], None, 0)
        bits, block, read = self._reader(name, self.bits)
        blocks, scales = -(-inputs // block), list[NDArray[np.float32]]()

        def codes() -> Iterator[NDArray[np.uint8]]:
            for part in slices(outputs, inputs):
                packed, scale = read(slice(rows.start + part.start, rows.start + part.stop))
                scales.append(finite(scale, name))
                self._advance((part.stop - part.start) * inputs)
                yield packed

        stored = self.write(f"{tag}.codes", codes(), np.uint8, (outputs, blocks, block * bits // 8))
        tensors = [stored, self.write(f"{tag}.scales", iter(scales), np.float32, (outputs * blocks,))]
        return Matrix(tensors, bits, block)

    def _reader(self, name: str, bits: int) -> tuple[int, int, Callable[[slice], Repacked]]:
        """Bits and block of a matrix in the file, and what gives rows of it as codes and scales."""
        if own := self.source.quantised(name):
            return own.format.bits, own.format.block, own.part
        weight, bits = self.source.rows(name), max(bits, self.source.least_bits)
        return bits, self.block, lambda part: quantise(finite(floats(weight, part), name), bits, self.block)

    def _columns(self, weight: NDArray[Any], name: str) -> Iterator[NDArray[np.float32]]:
        for part in slices(weight.shape[1], weight.shape[0]):
            self._advance(weight[:, part].size)
            yield finite(floats(weight.T, part), name)


class Graph:
    """Nodes, initialisers, inputs and outputs; names are made here."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self._initialisers: dict[str, TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def ops(self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> None:
        """A node with named outputs."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, self.name(kind), domain=domain, **attributes))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output; its name."""
        output = self.name(kind.lower())
        self.ops(kind, list(inputs), [output], domain, **attributes)
        return output

    def split(self, x: str, sizes: list[int], axis: int) -> list[str]:
        if len(sizes) == 1:
            return [x]
        outputs = [self.name("part") for _ in sizes]
        self.ops("Split", [x, self.ints(*sizes)], outputs, axis=axis)
        return outputs

    def input(self, name: str, shape: list[int | str], kind: int = FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, x: str, name: str, shape: list[int | str], kind: int = FLOAT) -> None:
        """Give x out under this name."""
        self.ops("Identity", [x], [name])
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A tensor: whole numbers, which shapes are inferred from, and small ones in the graph itself, others in the file."""
        if name not in self._initialisers:
            if value.dtype == np.int64 or value.nbytes <= _INLINE_BYTES:
                self._initialisers[name] = numpy_helper.from_array(value, name)
            else:
                self._initialisers[name] = self.weights.write(name, iter([value]), value.dtype, value.shape)
        return name

    def tensor(self, tensor: TensorProto) -> str:
        """One that lies in the file already; its name."""
        self._initialisers[tensor.name] = tensor
        return tensor.name

    def ints(self, *values: int) -> str:
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        return self.constant(f"float_{value!r}", np.array(value, np.float32))

    def scalar_int(self, value: int) -> str:
        return self.constant(f"int_{value}", np.array(value, np.int64))

    def reshape(self, x: str, *shape: int) -> str:
        """0 keeps a dimension, -1 takes what is left."""
        return self.op("Reshape", x, self.ints(*shape))

    def linear(self, x: str, name: str, outputs: int, inputs: int, rows: slice | None = None) -> str:
        """x · weightᵀ, without bias; `rows` takes a part of the weight's outputs. Shape [..., inputs] to [..., outputs]."""
        matrix = self.weights.matrix(name, outputs, inputs, rows or slice(0, outputs))
        self._initialisers |= {tensor.name: tensor for tensor in matrix.tensors}
        names = [tensor.name for tensor in matrix.tensors]
        if matrix.bits is None:
            return self.op("MatMul", x, *names)
        # accuracy_level 4: activations in 8 bits, the kernels with dot-product instructions
        sizes = {"K": inputs, "N": outputs, "bits": matrix.bits, "block_size": matrix.block}
        return self.op("MatMulNBits", x, *names, domain=MICROSOFT, accuracy_level=4, **sizes)

    def rms_norm(self, x: str, name: str | None, width: int, epsilon: float) -> str:
        """Root mean square normalisation over the last axis, with the scale of this name or none."""
        scale = np.ones(width, np.float32) if name is None else self.weights.vector(name, width)
        weight = self.constant(name or f"ones_{width}", scale)
        return self.op("SimplifiedLayerNormalization", x, weight, axis=-1, epsilon=epsilon, stash_type=1)

    def activation(self, x: str, kind: str) -> str:
        match kind:
            case "gelu_pytorch_tanh":
                return self.op("Gelu", x, approximate="tanh")
            case "gelu":
                return self.op("Gelu", x)
            case "relu":
                return self.op("Relu", x)
            case "silu":
                return self.op("Mul", x, self.op("Sigmoid", x))
            case _:
                raise CheckpointError(f"no activation {kind!r}")

    def softcap(self, x: str, cap: float) -> str:
        """cap · tanh(x / cap)."""
        limit = self.scalar(cap)
        return self.op("Mul", self.op("Tanh", self.op("Div", x, limit)), limit)

    def clip(self, x: str, low: float, high: float) -> str:
        """Nothing where both limits are infinite."""
        if low == -np.inf and high == np.inf:
            return x
        return self.op("Clip", x, self.scalar(low), self.scalar(high))

    def branch(self, build: Callable[[str], None], name: str, shape: list[int | str]) -> onnx.GraphProto:
        """A subgraph for `If`: `build` makes the nodes and ends in an output of the name it is given."""
        outer, self.nodes = self.nodes, []
        output = self.name(name)
        build(output)
        inner, self.nodes = self.nodes, outer
        return helper.make_graph(inner, name, [], [helper.make_tensor_value_info(output, FLOAT, shape)])

    def save(self, path: Path) -> None:
        graph = helper.make_graph(self.nodes, path.stem, self._inputs, self._outputs, list(self._initialisers.values()))
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="edge-assistant")
        path.write_bytes(model.SerializeToString())
