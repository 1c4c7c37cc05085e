"""A checkpoint of E2B's shape that lies nowhere: each tensor is a view of one pool of noise, made when it is asked for.

The rows of a matrix overlap in the pool, each begins a little after the one before, so 2.35 billion weights cost what the pool
costs. Speed does not depend on the values; they are of the size that keeps activations in the range of a trained model's.
"""

import json
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import shape
from numpy.typing import NDArray

from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.export import export

sys.path.insert(0, str(Path(__file__).parents[2] / "parity"))
from shapes import make_tokenizer

POOL = 1 << 25
STEP = 61
"""From row to row; odd, so that no two rows share a block of weights."""


class RandomWeights(Checkpoint):
    """Only `config.json` and a small tokenizer are files."""

    def __init__(self, folder: Path, text: dict[str, Any] = shape.TEXT) -> None:
        self._make(folder, shape.config(text), dict([*shape.text_tensors(text), *shape.audio_tensors(text)]))
        make_tokenizer(folder / "tokenizer.json")

    def _make(self, folder: Path, config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        self.folder = folder
        self._shapes = shapes
        self._pools: dict[int, NDArray[Any]] = {}
        self._noise = np.random.default_rng(0).standard_normal(POOL, np.float32)

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def quantised(self, name: str) -> None:
        """All are floats."""

    def rows(self, name: str) -> NDArray[Any]:
        dims = self._shapes[name]
        if not dims:
            return np.array(-6.0 if name.endswith("min") else 6.0, np.float32)
        if "norm" in name or name.endswith("layer_scalar"):
            return np.ones(dims, np.float32)
        width = int(np.prod(dims[1:])) if len(dims) > 1 else dims[0]
        if width not in self._pools:
            self._pools[width] = (self._noise / np.sqrt(width)).astype(ml_dtypes.bfloat16)
        pool = self._pools[width]
        if len(dims) == 1:
            return pool[:width]
        begin = hash_of(name) % (POOL - STEP * dims[0] - width)
        view = np.lib.stride_tricks.as_strided(pool[begin:], (dims[0], width), (STEP * pool.itemsize, pool.itemsize))
        return view if len(dims) == 2 else view.reshape(dims)


class RandomDrafter(RandomWeights):
    """Of E2B's assistant."""

    def __init__(self, folder: Path) -> None:
        self._make(folder, shape.DRAFTER, dict(shape.drafter_tensors()))

    def rows(self, name: str) -> NDArray[Any]:
        if name.endswith("token_ordering"):
            return np.random.default_rng(1).permutation(self._shapes[name][0])
        return super().rows(name)


def hash_of(name: str) -> int:
    """The same in every run."""
    return int.from_bytes(name.encode()) % 1_000_003


def make_bundle(folder: Path, block: int, *, drafted: bool = False) -> Path:
    """The product's own export, into `folder`, unless it is there and whole. `drafted`: with a drafter."""
    if folder.exists():
        Bundle.open(folder)
        return folder
    drafter = RandomDrafter(folder.parent / "drafter") if drafted else None
    export(RandomWeights(folder.parent / "checkpoint"), folder, table_bits=4, block=block, drafter=drafter)
    return folder
