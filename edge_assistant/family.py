"""The members of the Gemma 4 family, by their shapes, and the memory and disk that these shapes need.

Source of the shapes: the settings of the published checkpoints, as transformers 5.23 (`models/gemma4/configuration_gemma4.py`)
reads them. The sums agree with the published sizes: 2.3, 4.5 (without the looked-up tables), 25.2 and 30.7 billion weights.
"""

from dataclasses import dataclass
from typing import Final

VOCABULARY: Final = 262_144
CONTEXT: Final = 4_096
"""Tokens of conversation that every memory need allows for."""
_SCALE_BYTES, _KERNEL_BYTES = 4, 12
"""Of a block of quantised weights: in the file a scale; in memory what onnxruntime's kernels keep (see `memory_bytes`)."""
_RUNTIME_BYTES = 295_000_000
_TABLE_BYTES = 1 + _SCALE_BYTES / 64
_PUBLISHED_BYTES = 2
"""Of a weight in bfloat16."""
_Q4_0_BYTES = 18 / 32
_AUDIO = 305_000_000
"""Weights of the audio tower in matrices; it is the same in E2B and E4B but for its last projection."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder, as far as its size goes."""

    hidden: int
    layers: int
    full_every: int
    """One layer in so many sees everything; the others see a window."""
    window: int
    heads: int
    kv_heads: int
    full_kv_heads: int
    mlp: int
    shared: int = 0
    """Layers at the end that have no keys and values."""
    wide: bool = False
    """Those have MLPs of double width."""
    values_apart: bool = True
    """Full layers have values besides their keys."""
    ple: int = 0
    """Width of the embedding that is looked up for each layer."""
    experts: int = 0
    active_experts: int = 0
    expert_mlp: int = 0
    head_dim: int = 256
    full_head_dim: int = 512

    def matrices(self, active: bool = False) -> int:
        """Weights that are multiplied with, the head's among them; of the experts all, or those a token passes through."""
        total = VOCABULARY * self.hidden + self.layers * self.ple * self.hidden
        for i in range(self.layers):
            kv_heads, size = self._heads(i)
            reads = i >= self.layers - self.shared
            pairs = 0 if reads else 1 + (self.values_apart or not self._full(i))
            total += self.hidden * size * (2 * self.heads + pairs * kv_heads)
            total += 3 * self.hidden * self.mlp * (2 if reads and self.wide else 1) + 2 * self.hidden * self.ple
            experts = self.active_experts if active else self.experts
            total += experts * 3 * self.hidden * self.expert_mlp + self.experts * self.hidden
        return total

    def looked_up(self) -> int:
        """Weights of the per-layer table, of which a token needs one row."""
        return VOCABULARY * self.layers * self.ple

    def cache_bytes(self, tokens: int, bits: int, windowed: bool = False) -> int:
        """Keys and values of so many tokens, in 8 bits with a scale each; `windowed`: sliding layers keep only what they see."""
        total = 0
        for i in range(self.layers - self.shared):
            kv_heads, size = self._heads(i)
            kept = min(tokens, self.window) if windowed and not self._full(i) else tokens
            total += 2 * kv_heads * kept * (size * bits // 8 + (_SCALE_BYTES if bits == 8 else 0))
        return total

    def _full(self, layer: int) -> bool:
        return (layer + 1) % self.full_every == 0

    def _heads(self, layer: int) -> tuple[int, int]:
        """Key heads and the width of a head."""
        return (self.full_kv_heads, self.full_head_dim) if self._full(layer) else (self.kv_heads, self.head_dim)


@dataclass(frozen=True, slots=True)
class Member:
    """One published model."""

    name: str
    """As the command line knows it."""
    title: str
    hears: bool
    """It has an audio tower: without one nothing here can speak with it."""
    suits: str
    shape: Shape
    vision: int
    """Weights of the vision tower, as published: fetched, and left out of a bundle."""

    def memory_bytes(self, block: int = 32, tokens: int = CONTEXT, cache_bits: int = 8) -> int:
        """Resident memory with a conversation of so many tokens.

        Of a member that hears, in this program: 4-bit decoder, 8-bit encoder, 12 bytes for each block of weights, a cache as
        `export` makes it, 295 MB for the rest. The 12 and the 295 are what makes the sum meet both figures of `MEASURED`; the
        looked-up table stays in its file. Of one that does not, in another program: Q4_0 (18 bytes for 32 weights), and keys and
        values in 16 bits.
        """
        if not self.hears:
            return round(self.shape.matrices() * _Q4_0_BYTES) + self.shape.cache_bytes(tokens, 16, windowed=True)
        kernels = _KERNEL_BYTES / block
        weights = self.shape.matrices() * (0.5 + kernels) + _AUDIO * (1 + kernels)
        return round(weights) + self.shape.cache_bytes(tokens, cache_bits) + _RUNTIME_BYTES

    def bundle_bytes(self, block: int = 32) -> int:
        """On the disk, with 8-bit tables."""
        scales = _SCALE_BYTES / block
        tables = VOCABULARY * self.shape.hidden + self.shape.looked_up()
        return round(self.shape.matrices() * (0.5 + scales) + _AUDIO * (1 + scales) + tables * _TABLE_BYTES)

    def published_bytes(self) -> int:
        """Of the published checkpoint, in bfloat16."""
        audio = _AUDIO if self.hears else 0
        return _PUBLISHED_BYTES * (self.shape.matrices() + self.shape.looked_up() + audio + self.vision)


E2B = Member(
    "e2b",
    "Gemma 4 E2B",
    True,
    "phones and Raspberry Pis",
    Shape(1536, 35, 5, 512, 8, 1, 1, 6144, shared=20, wide=True, ple=256),
    150_000_000,
)
E4B = Member(
    "e4b",
    "Gemma 4 E4B",
    True,
    "a PC with a consumer GPU, or with memory to spare",
    Shape(2560, 42, 6, 512, 8, 2, 2, 10_240, shared=18, ple=256),
    150_000_000,
)
A4B = Member(
    "26b-a4b",
    "Gemma 4 26B A4B",
    False,
    "throughput in production: a token passes through 4 of 25 billion weights",
    Shape(2816, 30, 6, 1024, 16, 8, 2, 2112, values_apart=False, experts=128, active_experts=8, expert_mlp=704),
    550_000_000,
)
DENSE = Member(
    "31b",
    "Gemma 4 31B",
    False,
    "fine-tuning and the best quality",
    Shape(5376, 60, 6, 1024, 32, 16, 4, 21_504, values_apart=False),
    550_000_000,
)
FAMILY: Final = (E2B, E4B, A4B, DENSE)
"""Smallest first."""

MEASURED: Final = {128: 2_061_000_000, 32: 2_785_000_000}
"""Resident bytes at E2B's shape by block, with 2,048 tokens in a cache of 32 bits: docs/benchmarks.md, 2026-11-24, x86-64."""
POCKET_BYTES: Final = 117_000_000
"""The most that `edge-assistant ask` has resident with the model that ships with the program; 2026-11-24, x86-64."""
