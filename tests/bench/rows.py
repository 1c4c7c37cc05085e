"""Which matrix products give a row the same bits whatever the number of rows? A drafter works where they do (docs/models.md).

python tests/bench/rows.py make FOLDER    small products of every kind
python tests/bench/rows.py try FOLDER     tries them on this processor; needs numpy and onnxruntime alone, so an emulated one can
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, OUTPUTS, ROWS = 1536, 64, 5
KINDS = [*((bits, block) for bits in (4, 8) for block in (16, 32, 64, 128, 256)), (32, 0)]


def make(folder: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for bits, block in KINDS:
        if block:
            codes = random.integers(0, 256, (OUTPUTS, INPUTS // block, block * bits // 8), np.uint8)
            weights: dict[str, Any] = {
                "codes": codes,
                "scales": 0.1 * random.standard_normal(OUTPUTS * INPUTS // block, np.float32),
            }
            sizes = {"K": INPUTS, "N": OUTPUTS, "bits": bits, "block_size": block, "accuracy_level": 4}
            node = helper.make_node("MatMulNBits", ["x", *weights], ["y"], domain="com.microsoft", **sizes)
        else:
            weights = {"weight": random.standard_normal((INPUTS, OUTPUTS), np.float32)}
            node = helper.make_node("MatMul", ["x", *weights], ["y"])
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in ("x", "y")]
        constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
        graph = helper.make_graph([node], "rows", ends[:1], ends[1:], constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / f"{bits}-{block}.onnx")


def try_them(folder: Path) -> None:
    import onnxruntime

    x = np.random.default_rng(1).standard_normal((ROWS, INPUTS), np.float32)
    for bits, block in KINDS:
        run = onnxruntime.InferenceSession(folder / f"{bits}-{block}.onnx", providers=["CPUExecutionProvider"]).run
        alone = np.concatenate([run(None, {"x": row[None]})[0] for row in x])
        alike = [count for count in range(2, ROWS + 1) if np.array_equal(run(None, {"x": x[:count]})[0], alone[:count])]
        kind = f"{bits} bits, blocks of {block}" if block else "floats"
        print(f"{kind:25} rows alike: {', '.join(map(str, alike)) or 'none'}", flush=True)


if __name__ == "__main__":
    {"make": make, "try": try_them}[sys.argv[1]](Path(sys.argv[2]))
