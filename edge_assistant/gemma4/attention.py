"""Attention written out for a cache that lies in blocks: no key or value is copied or repacked from token to token.

Queries are [kv heads, rows, head]: the rows of all heads that share a key head are rows of one matrix.
"""

from dataclasses import dataclass, field

from edge_assistant.gemma4 import coded
from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.config import Kind, Layer
from edge_assistant.gemma4.graph import MICROSOFT, Graph


@dataclass(frozen=True, slots=True)
class Source:
    """Where a layer's keys and values come from, by names in the graph."""

    past: dict[str, str]
    """What is in the cache, by the names of its parts (see `cache.parts_of`)."""
    new_key: str = ""
    """Of the tokens of this run, [kv heads, S, head]; "" where they are in the cache already."""
    new_value: str = ""
    new: dict[str, str] = field(default_factory=dict[str, str])
    """The same as the cache will hold it, by parts: [kv heads, S, …]."""


@dataclass(slots=True)
class Masks:
    """What queries may see, by kind of layer."""

    bias: dict[Kind, str] = field(default_factory=dict[Kind, str])
    """Added to scores: [kv heads · S, 1, keys]."""
    sizes: dict[Kind, str] = field(default_factory=dict[Kind, str])
    """How many keys are past ones, and how many new."""
    apart_bias: dict[Kind, str] = field(default_factory=dict[Kind, str])
    """The same for rows apart, whose own key comes last."""
    apart_sizes: dict[Kind, str] = field(default_factory=dict[Kind, str])
    slots: dict[Kind, str] = field(default_factory=dict[Kind, str])
    """Where in the last block rows apart will be kept."""


class _Rows:
    """What both kinds of attention share. `out` names what rows attended to, [kv heads, rows, head]."""

    def __init__(self, g: Graph, heads: int, blocks: Blocks, masks: Masks) -> None:
        self.g, self.heads, self.blocks, self.masks = g, heads, blocks, masks

    def weigh(self, scores: str, layer: Layer, bias: str) -> str:
        """Softmax of [kv heads, rows, keys] under the mask."""
        g = self.g
        grouped = g.reshape(scores, -1, self.heads // layer.kv_heads, 0)
        weights = g.op("Softmax", g.op("Add", grouped, bias), axis=-1)
        return g.reshape(weights, layer.kv_heads, -1, 0)

    def past_and_new(self, past: str, q: str, layer: Layer, source: Source) -> tuple[str, str | None]:
        """Scores of the past, [kv, rows, blocks, block], to weights of that shape and those of the new keys, [kv, rows, S]."""
        g, block = self.g, self.blocks.of(layer.kind)
        scores, fresh = g.reshape(past, 0, 0, -1), None
        if source.new_key:
            new = g.op("FusedMatMul", q, source.new_key, domain=MICROSOFT, transB=1)
            scores = g.op("Concat", scores, new, axis=2)
        weights = self.weigh(scores, layer, self.masks.bias[layer.kind])
        if source.new_key:
            weights_past, fresh = g.name("past"), g.name("fresh")
            g.ops("Split", [weights, self.masks.sizes[layer.kind]], [weights_past, fresh], axis=2)
            weights = weights_past
        return g.reshape(weights, 0, 0, -1, block), fresh

    def past_and_own(self, past: str, q: str, layer: Layer, source: Source) -> tuple[str, str]:
        """The same for rows apart, of which each has one key of its own: [kv, rows, blocks, block] and [kv · S, heads, 1]."""
        g, size, group = self.g, layer.head_dim, self.heads // layer.kv_heads
        scores = g.reshape(past, 0, 0, -1)
        rows, new_key = g.reshape(q, -1, group, size), g.reshape(source.new_key, -1, 1, size)
        own = g.reshape(g.op("FusedMatMul", rows, new_key, domain=MICROSOFT, transB=1), layer.kv_heads, -1, 1)
        weights = self.weigh(g.op("Concat", scores, own, axis=2), layer, self.masks.apart_bias[layer.kind])
        past, own = g.name("past"), g.name("own")
        g.ops("Split", [weights, self.masks.apart_sizes[layer.kind]], [past, own], axis=2)
        return g.reshape(past, 0, 0, -1, self.blocks.of(layer.kind)), g.reshape(own, -1, group, 1)

    def last_block(self, past: str, new: str, kind: Kind, axis: int) -> str:
        """The last block of the past, [1, kv, …], with new rows in their slots."""
        g, slots = self.g, self.masks.slots[kind]
        indices = g.op("Expand", g.reshape(slots, 1, 1, -1, 1) if axis == 2 else slots, g.op("Shape", new))
        return g.op("ScatterElements", g.op("Gather", past, g.ints(-1)), indices, new, axis=axis)

    def with_last(self, x: str, last: str) -> str:
        """[blocks, …] with another last one."""
        g = self.g
        return g.op("Concat", g.op("Slice", x, g.ints(0), g.ints(-1), g.ints(0)), last, axis=0)

    def finish(self, past: str, fresh: str | None, source: Source, out: str) -> None:
        """With what the new values give."""
        g = self.g
        if fresh is None:
            g.ops("Identity", [past], [out])
        else:
            g.ops("Add", [past, g.op("MatMul", fresh, source.new_value)], [out])

    def finish_apart(self, past: str, own: str, layer: Layer, source: Source, out: str) -> None:
        """The same for rows apart."""
        g, size = self.g, layer.head_dim
        own = g.op("MatMul", own, g.reshape(source.new_value, -1, 1, size))
        g.ops("Add", [past, g.reshape(own, layer.kv_heads, -1, size)], [out])


class FloatAttention(_Rows):
    """Over keys and values in float32."""

    def few_rows(self, q: str, layer: Layer, source: Source, out: str) -> None:
        """Keys and values are the left matrices, streamed as they lie; the few rows are the right ones."""
        g, key, value = self.g, source.past["key"], source.past["value"]
        scores = g.op("MatMul", key, g.op("Transpose", q, perm=[0, 2, 1]))
        past, fresh = self.past_and_new(g.op("Transpose", scores, perm=[1, 3, 0, 2]), q, layer, source)
        y = g.op("MatMul", value, g.op("Transpose", past, perm=[2, 0, 3, 1]))
        y = g.op("ReduceSum", y, g.ints(0), keepdims=0)
        self.finish(g.op("Transpose", y, perm=[0, 2, 1]), fresh, source, out)

    def many_rows(self, q: str, layer: Layer, source: Source, out: str) -> None:
        """The ordinary way round."""
        g = self.g
        scores = g.op("FusedMatMul", q, source.past["key"], domain=MICROSOFT, transB=1)
        past, fresh = self.past_and_new(g.op("Transpose", scores, perm=[1, 2, 0, 3]), q, layer, source)
        y = g.op("FusedMatMul", g.op("Transpose", past, perm=[2, 0, 1, 3]), source.past["value"], domain=MICROSOFT, transB=1)
        self.finish(g.op("ReduceSum", y, g.ints(0), keepdims=0), fresh, source, out)

    def rows_apart(self, q: str, layer: Layer, source: Source, out: str) -> None:
        """As `few_rows`, each row as if it had come alone: rows before its own lie in the last block, where they will be kept.

        The products are those of one row, with more columns or more of them, and slots that a row may not see count exactly 0.
        All rows must see the same blocks, and fit into the last of them.
        """
        g, kv, size, kind = self.g, layer.kv_heads, layer.head_dim, layer.kind
        key, value = source.past["key"], source.past["value"]
        columns = g.op("Transpose", q, perm=[0, 2, 1])
        keys = self.last_block(key, g.reshape(source.new_key, 1, kv, -1, size), kind, 2)
        scores = self.with_last(g.op("MatMul", key, columns), g.op("MatMul", keys, columns))
        past, own = self.past_and_own(g.op("Transpose", scores, perm=[1, 3, 0, 2]), q, layer, source)
        past = g.op("Transpose", past, perm=[2, 0, 3, 1])
        turned = g.op("Transpose", source.new_value, perm=[0, 2, 1])
        values = self.last_block(value, g.reshape(turned, 1, kv, size, -1), kind, 3)
        y = self.with_last(g.op("MatMul", value, past), g.op("MatMul", values, g.op("Gather", past, g.ints(-1))))
        y = g.op("Transpose", g.op("ReduceSum", y, g.ints(0), keepdims=0), perm=[0, 2, 1])
        self.finish_apart(y, own, layer, source, out)


class CodedAttention(_Rows):
    """Over keys and values in 8 bits (see `coded`)."""

    def few_rows(self, q: str, layer: Layer, source: Source, out: str) -> None:
        """Keys and values are the right matrices. As fast as floats for many rows too."""
        g, past = self.g, source.past
        scores = coded.scores(g, coded.split(g, q), past["key"], past["key_scale"])
        weights, fresh = self.past_and_new(g.op("Transpose", scores, perm=[1, 2, 0, 3]), q, layer, source)
        weights = self._scaled(weights, past["value_scale"])
        digits = coded.split(g, weights, signed=False)
        if layer.kv_heads == 1:  # the blocks lie one after the other: one product
            sums = coded.weighted(g, digits.digits, g.reshape(past["value"], 1, -1, layer.head_dim))
        else:
            sums = coded.summed(g, coded.weighted(g, self._by_block(digits.digits, layer), past["value"]))
        self.finish(coded.decoded(g, sums, digits.scales), fresh, source, out)

    def rows_apart(self, q: str, layer: Layer, source: Source, out: str) -> None:
        """As `FloatAttention` has them."""
        g, past, last = self.g, source.past, self._last(layer, source)
        digits = coded.split(g, q)
        scores = self.with_last(
            coded.scores(g, digits, past["key"], past["key_scale"]), coded.scores(g, digits, last["key"], last["key_scale"])
        )
        weights, own = self.past_and_own(g.op("Transpose", scores, perm=[1, 2, 0, 3]), q, layer, source)
        weights = self._scaled(weights, self.with_last(past["value_scale"], last["value_scale"]))
        digits = coded.split(g, weights, signed=False)
        blocks = self._by_block(digits.digits, layer)
        sums = self.with_last(
            coded.weighted(g, blocks, past["value"]), coded.weighted(g, g.op("Gather", blocks, g.ints(-1)), last["value"])
        )
        self.finish_apart(coded.decoded(g, coded.summed(g, sums), digits.scales), own, layer, source, out)

    def _last(self, layer: Layer, source: Source) -> dict[str, str]:
        """The last block of each part, with what is new in its slots."""
        out: dict[str, str] = {}
        for name, new in source.new.items():
            axis = 2 if name == "value" else 3
            turned = new if axis == 2 else self.g.op("Transpose", new, perm=[0, 2, 1])
            out[name] = self.last_block(source.past[name], self.g.op("Unsqueeze", turned, self.g.ints(0)), layer.kind, axis)
        return out

    def _scaled(self, weights: str, value_scale: str) -> str:
        """Weights [kv heads, rows, blocks, block], each times its value's scale: [kv heads, rows, slots]."""
        g = self.g
        return g.reshape(g.op("Mul", weights, g.op("Transpose", value_scale, perm=[1, 2, 0, 3])), 0, 0, -1)

    def _by_block(self, digits: str, layer: Layer) -> str:
        """[kv heads, 2 · rows, slots] to [blocks, kv heads, 2 · rows, block]."""
        g = self.g
        return g.op("Transpose", g.reshape(digits, 0, 0, -1, self.blocks.of(layer.kind)), perm=[2, 0, 1, 3])
