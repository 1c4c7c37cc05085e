"""Keys and values of every token, in place, in blocks the graphs read without copying.

Row p of every layer belongs to position p, for sliding layers too: they are shown only the blocks their window touches. So
forgetting is moving one number, exact at any depth, and memory is touched only as far as the conversation has come.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.config import KINDS, Kind, TextConfig

Array = NDArray[np.float32]
NOWHERE = 1 << 40
"""The position of a slot that holds nothing: beyond every query."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Slots in a block of the cache, by kind of layer. 192 and 512 were fastest at the shape of E2B."""

    sliding: int = 192
    full: int = 512

    def of(self, kind: Kind) -> int:
        return self.sliding if kind == "sliding" else self.full


@dataclass(frozen=True, slots=True)
class View:
    """The blocks a run has to see."""

    begin: int
    """Blocks."""
    end: int
    positions: NDArray[np.int64]
    """What each slot of them holds, NOWHERE for nothing. Shape [(end - begin) · block]."""


class Cache:
    """Room for `capacity` tokens. Owned by one session."""

    def __init__(self, config: TextConfig, blocks: Blocks, capacity: int) -> None:
        self.config, self.blocks, self.capacity = config, blocks, capacity
        self.length = 0
        """Tokens held."""
        self.keys: list[Array] = []
        """Of each layer that writes: [blocks, kv heads, block, head]."""
        self.values: list[Array] = []
        """Of each layer that writes, transposed: [blocks, kv heads, head, block]."""
        for layer in config.layers[: config.lower]:
            block = blocks.of(layer.kind)
            count = -(-capacity // block)
            self.keys.append(np.zeros((count, layer.kv_heads, block, layer.head_dim), np.float32))
            self.values.append(np.zeros((count, layer.kv_heads, layer.head_dim, block), np.float32))

    def view(self, kind: Kind, first_query: int, window: int | None = None) -> View:
        """What queries from this position on can see of the tokens held; always at least one block."""
        block = self.blocks.of(kind)
        oldest = max(0, first_query - (window or self.config.window) + 1) if kind == "sliding" else 0
        begin = min(oldest, max(0, self.length - 1)) // block
        end = max(begin + 1, -(-self.length // block))
        positions = np.arange(begin * block, end * block, dtype=np.int64)
        positions[positions >= self.length] = NOWHERE
        return View(begin, end, positions)

    def apart(self, most: int) -> int:
        """How many of the next tokens may be added in one run of rows apart: alone they would see the same blocks. At least 1."""
        for kind in KINDS:
            if self.config.first(kind) is None:
                continue
            block = self.blocks.of(kind)
            most = min(most, -self.length % block)  # a token that begins a block does not see it
            if kind == "sliding":
                oldest = self.length - self.config.window + 1
                most = min(most, block - oldest % block if oldest > 0 else block - oldest)
        return max(1, most)

    def token(self, position: int) -> list[Array]:
        """Its keys and values in every layer that writes, where they lie: each [kv heads, head]."""
        out: list[Array] = []
        for i, layer in enumerate(self.config.layers[: self.config.lower]):
            index, slot = divmod(position, self.blocks.of(layer.kind))
            out += [self.keys[i][index, :, slot], self.values[i][index, :, :, slot]]
        return out

    def take(self, count: int) -> None:
        """Hold tokens that were added, and cut off again, before."""
        self.length += count

    def append(self, keys: list[Array], values: list[Array]) -> None:
        """Add tokens: of each layer [kv heads, tokens, head]."""
        count = keys[0].shape[1]
        for i, layer in enumerate(self.config.layers[: self.config.lower]):
            block, done = self.blocks.of(layer.kind), 0
            while done < count:
                index, slot = divmod(self.length + done, block)
                step = min(block - slot, count - done)
                self.keys[i][index, :, slot : slot + step] = keys[i][:, done : done + step]
                self.values[i][index, :, :, slot : slot + step] = values[i][:, done : done + step].transpose(0, 2, 1)
                done += step
        self.length += count

    def cut(self, length: int) -> None:
        """Forget every token from this position on."""
        self.length = length

    def shed(self) -> None:
        """Give back the memory that longer conversations have touched."""
        for i, layer in enumerate(self.config.layers[: self.config.lower]):
            used = -(-self.length // self.blocks.of(layer.kind))
            for arrays in (self.keys, self.values):
                fresh = np.zeros(arrays[i].shape, np.float32)  # pages that nobody has touched yet
                fresh[:used] = arrays[i][:used]
                arrays[i] = fresh

    def rows(self) -> dict[str, Array]:
        """A copy of what is held, for a file: arrays [blocks, …] by name."""
        out: dict[str, Array] = {}
        for i, layer in enumerate(self.config.layers[: self.config.lower]):
            used = -(-self.length // self.blocks.of(layer.kind))
            out[f"key.{i}"], out[f"value.{i}"] = self.keys[i][:used], self.values[i][:used]
        return out

    def restore(self, rows: dict[str, Array], length: int) -> bool:
        """Take what `rows` gave; False, and nothing changed, when it is not of this shape."""
        pairs: list[tuple[Array, Array]] = []
        for i in range(self.config.lower):
            for name, mine in ((f"key.{i}", self.keys[i]), (f"value.{i}", self.values[i])):
                kept = rows.get(name)
                if kept is None or kept.dtype != mine.dtype or kept.shape[1:] != mine.shape[1:] or len(kept) > len(mine):
                    return False
                pairs.append((mine, kept))
        for mine, kept in pairs:
            mine[: len(kept)] = kept
        self.length = length
        return True
