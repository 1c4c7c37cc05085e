"""A published checkpoint's tensors, one at a time, straight from its safetensors files.

The files are memory-mapped and rows are converted to float32 only when asked for, so a checkpoint larger than the memory can be
read. numpy knows no bfloat16 (and so neither does safetensors' numpy side): `ml_dtypes` brings it.
Format: https://github.com/huggingface/safetensors#format
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import CheckpointError
from edge_assistant.gemma4.config import read_features, read_json
from edge_assistant.gemma4.ggml import Quantised

_TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies."""

    file: Path
    offset: int
    dtype: Any
    shape: tuple[int, ...]


class Checkpoint:
    """The tensors of a folder: `model.safetensors`, or shards listed in `model.safetensors.index.json`."""

    least_bits = 4
    """Fewest that floats are quantised to: who publishes a quantised model leaves in floats what is to stay precise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / "model.safetensors.index.json"
        single = folder / "model.safetensors"
        if index.exists():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict):
                raise CheckpointError(f"{index} has no weight_map")
            files = sorted({folder / str(name) for name in cast(dict[str, str], shards).values()})
        elif single.exists():
            files = [single]
        else:
            raise CheckpointError(f"{folder} holds no safetensors", "give the folder of a complete Gemma 4 checkpoint")
        self._entries: dict[str, Entry] = {}
        for file in files:
            self._entries |= _read_header(file)

    @property
    def name(self) -> str:
        """What a bundle calls its source."""
        return self.folder.resolve().name

    def config(self) -> dict[str, Any]:
        """config.json. Raises CheckpointError."""
        return read_json(self.folder / "config.json")

    def features(self) -> dict[str, Any]:
        """The feature extractor's settings; {} for its defaults. Raises CheckpointError."""
        return read_features(self.folder)

    def tokenizer(self) -> bytes:
        """tokenizer.json. Raises CheckpointError."""
        try:
            return (self.folder / "tokenizer.json").read_bytes()
        except OSError as fault:
            raise CheckpointError(
                f"{self.folder} has no tokenizer.json that can be read: {fault.strerror}",
                "give the folder of a complete Gemma 4 checkpoint",
            ) from fault

    def template(self) -> str | None:
        """The publisher's chat template, where there is one."""
        path = self.folder / "chat_template.jinja"
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entry(name).shape

    def rows(self, name: str) -> NDArray[Any]:
        """The tensor as it lies in the file, mapped, not read. Slice it, then convert the slice."""
        entry = self._entry(name)
        if not entry.shape:
            return np.fromfile(entry.file, entry.dtype, 1, offset=entry.offset).reshape(())
        return np.memmap(entry.file, entry.dtype, "r", entry.offset, entry.shape)

    def quantised(self, name: str) -> Quantised | None:
        """The tensor in codes and scales, where it lies so in the file."""
        self._entry(name)
        return None

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A small tensor, whole, as float32; of exactly this shape where one is given."""
        out = np.asarray(self.rows(name)).astype(np.float32)
        if shape and out.shape != shape:
            raise CheckpointError(f"{name} has shape {list(out.shape)}, not {list(shape)} as config.json says")
        return out

    def scalar(self, name: str) -> float:
        return float(self.tensor(name).reshape(-1)[0])

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise CheckpointError(f"the checkpoint has no tensor {name!r}", "is it a complete Gemma 4 with audio?")
        return self._entries[name]


def _read_header(file: Path) -> dict[str, Entry]:
    try:
        size = file.stat().st_size
        with file.open("rb") as source:
            length = int.from_bytes(source.read(8), "little")
            if not 0 < length <= size - 8:
                raise CheckpointError(f"{file} is not a safetensors file or is cut short", "fetch it again")
            header: dict[str, Any] = json.loads(source.read(length))
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing", "fetch the checkpoint again") from None
    except (ValueError, OSError) as fault:
        raise CheckpointError(f"{file} cannot be read: {fault}", "fetch it again") from fault
    entries: dict[str, Entry] = {}
    for name, value in header.items():
        if name == "__metadata__" or value["dtype"] not in _TYPES:
            continue  # nothing that a bundle is made of
        begin, end = value["data_offsets"]
        if 8 + length + end > size:
            raise CheckpointError(f"{file} is cut short", "fetch it again")
        entries[name] = Entry(file, 8 + length + begin, np.dtype(_TYPES[value["dtype"]]), tuple(value["shape"]))
    return entries
