"""ggml's blocks of quantised weights, repacked as onnxruntime's MatMulNBits reads them: the same codes and scales, no rounding.

    Q4_0   32 weights: fp16 scale, 16 bytes: weight i in the low half of byte i, weight 16 + i in its high half; code 8 is zero
    Q8_0   32 weights: fp16 scale, 32 signed bytes
    Q6_K  256 weights: 128 bytes of low halves, 64 bytes of high quarters, a signed byte of scale for each 16 weights, fp16 scale

A signed code becomes an unsigned one with 128 added, which is the zero of MatMulNBits in 8 bits. The scales of Q6_K are products
of 11 and 8 significant bits: exact in float32, as is every scale in fp16.
Source: https://github.com/ggml-org/llama.cpp `ggml/src/ggml-common.h` and `ggml-quants.c`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.mapped import let_go
from edge_assistant.gemma4.quantise import Packed, pack, restore

_LOW, _FOUR = np.uint8(15), np.uint8(4)
Repacked = tuple[Packed, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Format:
    """One of ggml's types, and what it becomes."""

    weights: int
    """Of one of its blocks."""
    bytes: int
    """Of one of its blocks."""
    bits: int
    block: int
    """Weights that share a scale afterwards."""
    repack: Callable[[NDArray[np.uint8]], Repacked]
    """Blocks [..., bytes] to codes [..., scales, block·bits/8] and scales [..., scales]."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """A matrix that lies quantised in its file, as MatMulNBits is to have it."""

    raw: NDArray[np.uint8]
    """[rows, bytes of a row], mapped, not read."""
    format: Format

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.raw), self.raw.shape[1] // self.format.bytes * self.format.weights

    def part(self, rows: slice) -> Repacked:
        """Codes [n, blocks, block·bits/8] and scales [n, blocks] of some rows."""
        raw = np.asarray(self.raw[rows])
        codes, scales = self.format.repack(raw.reshape(len(raw), -1, self.format.bytes))
        let_go(self.raw)
        return codes.reshape(len(raw), -1, codes.shape[-1]), scales.reshape(len(raw), -1)

    def restored(self, rows: slice) -> NDArray[np.float32]:
        """The weights themselves. Shape [n, inputs]."""
        return restore(*self.part(rows), self.format.bits, self.shape[1])


def _half(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Two bytes to a float: [..., 2] to [...]."""
    return np.ascontiguousarray(raw).view(np.float16)[..., 0].astype(np.float32)


def _unsigned(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Signed bytes to bytes with 128 added: it turns the highest bit."""
    return raw ^ np.uint8(128)


def _q4_0(raw: NDArray[np.uint8]) -> Repacked:
    halves = raw[..., 2:]
    return pack(np.concatenate([halves & _LOW, halves >> _FOUR], axis=-1)), _half(raw[..., :2])


def _q8_0(raw: NDArray[np.uint8]) -> Repacked:
    return _unsigned(raw[..., 2:]), _half(raw[..., :2])


def _q6_k(raw: NDArray[np.uint8]) -> Repacked:
    shape = raw.shape[:-1]
    # two halves of 128 weights, each in four rows of 32
    low = raw[..., :128].reshape(*shape, 2, 1, 64) >> np.array([[0], [4]], np.uint8)
    high = raw[..., 128:192].reshape(*shape, 2, 1, 32) >> np.array([[0], [2], [4], [6]], np.uint8)
    codes = (low & _LOW).reshape(*shape, 2, 4, 32) | ((high & np.uint8(3)) << _FOUR)
    scales = _half(raw[..., 208:])[..., None] * raw[..., 192:208].view(np.int8).astype(np.float32)
    return (codes + np.uint8(128 - 32)).reshape(*shape, 16, 16), scales


QUANTISED: dict[str, Format] = {
    "Q4_0": Format(32, 18, 4, 32, _q4_0),
    "Q8_0": Format(32, 34, 8, 32, _q8_0),
    "Q6_K": Format(256, 210, 8, 16, _q6_k),
}
"""By ggml's names."""


def quantised(raw: NDArray[Any], kind: str) -> Quantised:
    """A tensor of one of these types, [..., bytes of a row]."""
    return Quantised(raw.reshape(-1, raw.shape[-1]), QUANTISED[kind])
