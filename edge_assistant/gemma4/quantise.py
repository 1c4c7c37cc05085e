"""Weights in 4 or 8 bits, in blocks along the input, as onnxruntime's MatMulNBits reads them.

A block's scale maps its largest weight to the far end of the range: −8 of −8…7, or −128 of −128…127, stored with that much added.
"""

import numpy as np
from numpy.typing import NDArray

Packed = NDArray[np.uint8]


def quantise(weights: NDArray[np.float32], bits: int, block: int) -> tuple[Packed, NDArray[np.float32]]:
    """[rows, inputs] to ([rows, blocks, block·bits/8], [rows, blocks]); a last block that is not full is filled with zeros."""
    rows, inputs = weights.shape
    blocks = -(-inputs // block)
    if inputs != blocks * block:
        weights = np.pad(weights, ((0, 0), (0, blocks * block - inputs)))
    grouped = weights.reshape(rows, blocks, block)
    half = 1 << (bits - 1)
    low, high = grouped.min(2), grouped.max(2)
    scales = np.maximum(-low, high) / np.where(-low >= high, np.float32(half), np.float32(-half))
    inverse = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales != 0)
    codes = np.rint(grouped * inverse[..., None])
    codes += half
    packed = np.clip(codes, 0, 2 * half - 1, out=codes).astype(np.uint8)
    return (pack(packed) if bits == 4 else packed), scales


def pack(codes: NDArray[np.uint8]) -> Packed:
    """Two 4-bit codes to a byte, the even one low. Shape [..., n] to [..., n / 2]."""
    return (codes[..., ::2] | (codes[..., 1::2] << 4)).astype(np.uint8, copy=False)


def unpack(packed: Packed) -> NDArray[np.uint8]:
    """The inverse of `pack`."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1).astype(np.uint8, copy=False)


def restore(packed: Packed, scales: NDArray[np.float32], bits: int, inputs: int) -> NDArray[np.float32]:
    """What the kernels compute with: the inverse of `quantise` up to rounding. Shape [rows, inputs]."""
    codes = unpack(packed) if bits == 4 else packed
    values = (codes.astype(np.float32) - (1 << (bits - 1))) * scales[..., None]
    return values.reshape(len(packed), -1)[:, :inputs]
