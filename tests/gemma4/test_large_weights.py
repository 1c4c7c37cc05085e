"""Weights beyond 2 and 4 GiB into their file: onnxruntime finds them, and nothing else is read."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper


@pytest.mark.parametrize("gib", [3, 5])
def test_an_offset_that_needs_more_than_32_bits(tmp_path: Path, gib: int) -> None:
    offset = gib << 30
    value = np.arange(2048, dtype=np.float32)
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(offset)  # sparse: takes no room
        file.seek(offset)
        file.write(value.tobytes())
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL, dims=[2048])
    for key, text in (("location", "w.bin"), ("offset", str(offset)), ("length", str(value.nbytes))):
        weight.external_data.add(key=key, value=text)
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2048]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", shape[:1], shape[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    session = ort.InferenceSession(str(tmp_path / "g.onnx"), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.ones(2048, np.float32)})
    assert np.array_equal(y, value + 1)
