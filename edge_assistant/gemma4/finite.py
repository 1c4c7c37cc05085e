"""Whether the numbers of a bundle are finite: scales, and what is kept in floats. Codes always are.

Hashes cannot tell: a bundle that was built of a NaN has the right ones.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edge_assistant.errors import BundleError
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.gemma4.graph import slices
from edge_assistant.gemma4.mapped import floats
from edge_assistant.gemma4.tables import TableShape

_MEND = "build the bundle again, of a checkpoint that is whole"


def check_finite(bundle: Bundle) -> None:
    """Read every float of a bundle whose files are whole, a slice at a time. Raises BundleError that names the first tensor."""
    for name in sorted(bundle.manifest.files):
        if name.endswith(".onnx"):
            _check_graph(bundle.path(name))
    for name, shape in (("embed.bin", bundle.manifest.embed), ("ple.bin", bundle.manifest.ple)):
        if shape and not _finite(_scales(bundle.path(name), shape)):
            raise BundleError(f"{bundle.path(name)} has numbers that are not finite", _MEND)


def _check_graph(path: Path) -> None:
    model = onnx.load(path, load_external_data=False)  # pyright: ignore[reportUnknownMemberType]
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            shape = (int(place["length"]) // 4, 1)
            whole = _finite(np.memmap(path.parent / place["location"], np.float32, "r", int(place["offset"]), shape))
        else:
            whole = not np.isnan(numpy_helper.to_array(tensor)).any()  # a limit may be infinite
        if not whole:
            raise BundleError(f"{path}: {tensor.name} has numbers that are not finite", _MEND)


def _scales(path: Path, shape: TableShape) -> NDArray[np.float32]:
    """Of a table, mapped. Shape [rows, numbers of a row]."""
    records = np.memmap(path, shape.record, "r", shape=(shape.rows,))
    return records["values" if shape.bits == 32 else "scales"]


def _finite(values: NDArray[np.float32]) -> bool:
    """Of a mapped array [rows, width]."""
    return all(bool(np.isfinite(floats(values, part)).all()) for part in slices(*values.shape))
