"""Keys and values of every token, in place, in blocks the graphs read without copying.

Row p of every layer belongs to position p, for sliding layers too: they are shown only the blocks their window touches. So
forgetting is moving one number, exact at any depth, and memory is touched only as far as the conversation has come.
In 8 bits each key and each value of a head has one scale of its own, so a token is quantised once, alone, whenever it comes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.config import KINDS, Kind, Layer, TextConfig

Array = NDArray[Any]
NOWHERE = 1 << 40
"""The position of a slot that holds nothing: beyond every query."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Slots in a block of the cache, by kind of layer. 192 and 512 were fastest at the shape of E2B, in 8 bits 128 and 512."""

    sliding: int = 192
    full: int = 512

    def of(self, kind: Kind) -> int:
        return self.sliding if kind == "sliding" else self.full


@dataclass(slots=True)
class Part:
    """One of the arrays that hold a layer's keys and values."""

    name: str
    """As the graphs' inputs and outputs have it."""
    array: Array
    """[blocks, kv heads, …]."""
    axis: int
    """Of the slots in a block: the graphs want some arrays transposed."""

    def tokens(self, index: int) -> Array:
        """A block, [kv heads, slots, head]; of scales the last is 1."""
        return np.moveaxis(self.array[index], self.axis - 1, 1)

    def fresh(self, count: int) -> Array:
        """Room for tokens as a graph gives them out: [kv heads, tokens, head]."""
        kv_heads, width = self.array.shape[1], self.array.shape[5 - self.axis]
        return np.empty((kv_heads, count, width), self.array.dtype)


def parts_of(layer: Layer, block: int, bits: int, blocks: int) -> list[Part]:
    """Of a layer that writes, for so many blocks.

    Floats: key [blocks, kv heads, block, head], value [blocks, kv heads, head, block]: each is the left matrix of its product.
    8 bits: the other way round, for then they are faster as the right one; and scales [blocks, kv heads, 1, block].
    """
    kv_heads, size = layer.kv_heads, layer.head_dim
    rows, columns = (blocks, kv_heads, block, size), (blocks, kv_heads, size, block)
    if bits == 32:
        return [Part("key", np.zeros(rows, np.float32), 2), Part("value", np.zeros(columns, np.float32), 3)]
    scales = [Part(f"{name}_scale", np.zeros((blocks, kv_heads, 1, block), np.float32), 3) for name in ("key", "value")]
    return [Part("key", np.zeros(columns, np.int8), 3), Part("value", np.zeros(rows, np.int8), 2), *scales]


@dataclass(frozen=True, slots=True)
class View:
    """The blocks a run has to see."""

    begin: int
    """Blocks."""
    end: int
    positions: NDArray[np.int64]
    """What each slot of them holds, NOWHERE for nothing. Shape [(end - begin) · block]."""


class Cache:
    """Room for `capacity` tokens, in 32 bits (floats) or 8. Owned by one session."""

    def __init__(self, config: TextConfig, blocks: Blocks, capacity: int, bits: int = 32) -> None:
        self.config, self.blocks, self.capacity = config, blocks, capacity
        self.length = 0
        """Tokens held."""
        self.parts: list[list[Part]] = []
        """Of each layer that writes."""
        for layer in config.layers[: config.lower]:
            block = blocks.of(layer.kind)
            self.parts.append(parts_of(layer, block, bits, -(-capacity // block)))

    def shown(self, layer: int, view: View, before: str, after: str) -> dict[str, Array]:
        """What a layer holds in these blocks, where it lies, under the names of a graph's inputs."""
        return {f"{before}{part.name}{after}": part.array[view.begin : view.end] for part in self.parts[layer]}

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
        """Its keys and values in every layer that writes, where they lie: each [kv heads, head], of scales [kv heads, 1]."""
        out: list[Array] = []
        for layer, parts in zip(self.config.layers, self.parts, strict=False):
            index, slot = divmod(position, self.blocks.of(layer.kind))
            out += [part.tokens(index)[:, slot] for part in parts]
        return out

    def take(self, count: int) -> None:
        """Hold tokens that were added, and cut off again, before."""
        self.length += count

    def append(self, tokens: list[list[Array]]) -> None:
        """Add tokens: of each layer, of each of its parts, [kv heads, tokens, head]."""
        count = tokens[0][0].shape[1]
        for layer, parts, arrays in zip(self.config.layers, self.parts, tokens, strict=False):
            block, done = self.blocks.of(layer.kind), 0
            while done < count:
                index, slot = divmod(self.length + done, block)
                step = min(block - slot, count - done)
                for part, array in zip(parts, arrays, strict=True):
                    part.tokens(index)[:, slot : slot + step] = array[:, done : done + step]
                done += step
        self.length += count

    def cut(self, length: int) -> None:
        """Forget every token from this position on."""
        self.length = length

    def shed(self) -> None:
        """Give back the memory that longer conversations have touched."""
        for part, used in self._used():
            fresh = np.zeros(part.array.shape, part.array.dtype)  # pages that nobody has touched yet
            fresh[:used] = part.array[:used]
            part.array = fresh

    def rows(self) -> dict[str, Array]:
        """What is held, for a file: arrays [blocks, …] by name."""
        names = (f"{part.name}.{i}" for i, parts in enumerate(self.parts) for part in parts)
        return {name: part.array[:used] for name, (part, used) in zip(names, self._used(), strict=True)}

    def restore(self, rows: dict[str, Array], length: int) -> bool:
        """Take what `rows` gave; False, and nothing changed, when it is not of this shape."""
        pairs: list[tuple[Array, Array]] = []
        for name, mine in ((f"{part.name}.{i}", part.array) for i, parts in enumerate(self.parts) for part in parts):
            kept = rows.get(name)
            if kept is None or kept.dtype != mine.dtype or kept.shape[1:] != mine.shape[1:] or len(kept) > len(mine):
                return False
            pairs.append((mine, kept))
        for mine, kept in pairs:
            mine[: len(kept)] = kept
        self.length = length
        return True

    def _used(self) -> Iterator[tuple[Part, int]]:
        """Every part, and how many of its blocks hold tokens."""
        for layer, parts in zip(self.config.layers, self.parts, strict=False):
            used = -(-self.length // self.blocks.of(layer.kind))
            yield from ((part, used) for part in parts)
