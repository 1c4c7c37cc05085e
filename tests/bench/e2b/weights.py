"""A checkpoint of E2B's shape that lies nowhere: each tensor is a view of one pool of noise, made when it is asked for.

The rows of a matrix overlap in the pool, each begins a little after the one before, so 2.35 billion weights cost what the pool
costs. Speed does not depend on the values; they are of the size that keeps activations in the range of a trained model's.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import shape
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_assistant.gemma4.bundle import MANIFEST, Bundle, FileEntry, seal, sha256
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.decoder import build_lower, build_upper
from edge_assistant.gemma4.export import default_blocks, export
from edge_assistant.gemma4.folder import appearing
from edge_assistant.gemma4.graph import Weights

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


def make_bundle(folder: Path, block: int, *, cache_bits: int | None = None, drafted: bool = False) -> Path:
    """The product's own export, into `folder`, unless it is there and whole. `drafted`: with a drafter."""
    if folder.exists():
        Bundle.open(folder)
        return folder
    drafter = RandomDrafter(folder.parent / "drafter") if drafted else None
    checkpoint = RandomWeights(folder.parent / "checkpoint")
    export(checkpoint, folder, table_bits=4, block=block, cache_bits=cache_bits, drafter=drafter)
    return folder


class Placed(Weights):
    """Weights that lie in a graph's file already: nothing is read but what is small, and nothing is written."""

    def __init__(self, source: Checkpoint, name: str, bits: int | None, block: int) -> None:
        self.source, self.bits, self.block = source, bits, block
        self._name, self._end = name, 0
        self._advance = lambda count: None

    def write(self, name: str, parts: Iterator[NDArray[Any]], dtype: Any, shape: tuple[int, ...]) -> TensorProto:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        begin = self._end + -self._end % (4096 if size >= 4096 else 64)
        self._end = begin + size
        tensor = TensorProto(name=name, data_location=TensorProto.EXTERNAL)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        tensor.dims.extend(shape)
        for key, value in (("location", self._name), ("offset", begin), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def with_cache(bundle: Path, folder: Path, cache_bits: int) -> Path:
    """The same weights with another cache: files are linked, not copied. `bundle` is one of `make_bundle`, without a drafter."""
    if folder.exists():
        Bundle.open(folder)
        return folder
    opened = Bundle.open(bundle)
    manifest, quantisation = opened.manifest, opened.manifest.quantisation
    checkpoint = RandomWeights(bundle.parent / "checkpoint")
    with appearing(folder) as part:
        for name in manifest.files:
            os.link(bundle / name, part / name)
        files = dict(manifest.files)
        for name, build in (("lower", build_lower), ("upper", build_upper)):
            path = part / f"{name}.onnx"
            path.unlink()
            for bits in (quantisation.cache_bits, cache_bits):
                weights = Placed(checkpoint, f"{name}.bin", quantisation.decoder_bits, quantisation.block)
                build(opened.config, default_blocks(bits), weights, path, bits=bits)
                if bits == quantisation.cache_bits and path.read_bytes() != (bundle / path.name).read_bytes():
                    raise RuntimeError(f"{bundle} was made by another program; remove it")
            files[path.name] = FileEntry(path.stat().st_size, sha256(path))
        other = replace(
            manifest, quantisation=replace(quantisation, cache_bits=cache_bits), blocks=default_blocks(cache_bits), files=files
        )
        (part / MANIFEST).write_text(other.to_json(), encoding="utf-8")
        seal(part)
    return folder
