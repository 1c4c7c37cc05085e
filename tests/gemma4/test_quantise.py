from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_assistant.gemma4.quantise import pack, quantise, restore, unpack

RANDOM = np.random.default_rng(5)


def weights(rows: int, inputs: int) -> np.ndarray:
    return RANDOM.standard_normal((rows, inputs), np.float32)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("inputs", "block"), [(64, 32), (128, 128), (40, 32), (16, 32), (96, 64)])
def test_no_weight_moves_further_than_a_step(bits: int, inputs: int, block: int) -> None:
    w = weights(24, inputs)
    codes, scales = quantise(w, bits, block)
    steps = np.repeat(np.abs(scales), block, axis=1)[:, :inputs]
    moved = np.abs(restore(codes, scales, bits, inputs) - w)
    # half a step, and one whole at the far end on the side that has one code less
    assert np.all(moved <= steps * 1.001)
    assert np.mean(moved <= steps * 0.501) > 0.95


def test_the_largest_weight_of_a_block_is_kept() -> None:
    w = weights(8, 64)
    codes, scales = quantise(w, 4, 32)
    back = restore(codes, scales, 4, 64)
    at = np.abs(w.reshape(8, 2, 32)).argmax(2)[..., None]
    assert np.take_along_axis(back.reshape(8, 2, 32), at, 2) == pytest.approx(
        np.take_along_axis(w.reshape(8, 2, 32), at, 2), rel=1e-6
    )


def test_zeros_stay_zeros() -> None:
    codes, scales = quantise(np.zeros((2, 32), np.float32), 4, 32)
    assert not restore(codes, scales, 4, 32).any()


def test_pack_and_unpack() -> None:
    codes = RANDOM.integers(0, 16, (3, 5, 8), np.uint8)
    assert np.array_equal(unpack(pack(codes)), codes)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("inputs", "block"), [(16, 32), (32, 32), (40, 32), (64, 128), (96, 64), (256, 128), (544, 32)])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_the_kernel_reads_it_as_we_write_it(tmp_path: Path, bits: int, inputs: int, block: int, rows: int) -> None:
    codes, scales = quantise(weights(48, inputs), bits, block)
    node = helper.make_node(
        "MatMulNBits",
        ["x", "codes", "scales"],
        ["y"],
        domain="com.microsoft",
        K=inputs,
        N=48,
        bits=bits,
        block_size=block,
        accuracy_level=4,
    )
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48])],
        [numpy_helper.from_array(codes, "codes"), numpy_helper.from_array(scales.reshape(-1), "scales")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    x = weights(rows, inputs)
    (y,) = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    expected = x @ restore(codes, scales, bits, inputs).T
    # the kernel rounds activations to 8 bits
    assert np.abs(y - expected).max() < 0.03 * np.abs(expected).max()
