"""The decoder as two graphs.

`lower` holds the layers that write keys and values: all that a token needs whose logits nobody wants. `upper` holds the layers
that only read them, the last norm and the head: it runs for the one row whose next token is wanted.
Source: transformers 5.23, `modeling_gemma4.py`, `Gemma4TextModel`.

    lower   inputs_embeds [1, S, hidden] · ple_rows [1, S, lower · ple] · positions [S]
            key_positions.KIND [slots] · past_key.I [blocks, kv, block, head] · past_value.I [blocks, kv, head, block]
            → hidden [1, S, hidden] · new_key.I, new_value.I [kv, S, head]
            with a cache of 8 bits: past_key.I [blocks, kv, head, block] · past_value.I [blocks, kv, block, head], int8 ·
            past_key_scale.I, past_value_scale.I [blocks, kv, 1, block] → also new_key_scale.I, new_value_scale.I [kv, S, 1]
    upper   hidden [1, R, hidden] · inputs_embeds · ple_rows [1, R, upper · ple] · positions [R]
            key_positions.KIND · key.KIND, value.KIND as above → logits [1, R, vocab]

Beside a drafter, `upper` also gives state [1, R, hidden], from which the drafter goes on, and `lower` has a switch, `apart`: then
a run of several tokens does what as many runs of one would do, product by product, so that every row has the same bits.
"""

import math
from pathlib import Path

import numpy as np

from edge_assistant.gemma4 import coded
from edge_assistant.gemma4.attention import CodedAttention, FloatAttention, Masks, Source
from edge_assistant.gemma4.cache import Blocks, parts_of
from edge_assistant.gemma4.config import KINDS, Config, Kind, Layer, TextConfig
from edge_assistant.gemma4.graph import BOOL, FLOAT, INT8, INT64, MICROSOFT, Graph, Weights

FEW = 4
"""Up to so many tokens, keys in floats stream through the product once; with more, an ordinary matrix product is faster."""
_MODEL = "model.language_model"
EMBEDDING = f"{_MODEL}.embed_tokens.weight"
PLE = f"{_MODEL}.embed_tokens_per_layer.weight"
_HIDDEN_SLOT = -3e38
"""Added to the score of a slot that may not be seen; finite, so that 0 · it stays 0."""


def build_lower(config: Config, blocks: Blocks, weights: Weights, path: Path, *, bits: int = 32, drafted: bool = False) -> None:
    """Write the graph of the layers that write keys and values. `drafted`: it works beside a drafter."""
    Layers(config.text, blocks, bits, Graph(weights), _MODEL).lower(path, drafted)


def build_upper(config: Config, blocks: Blocks, weights: Weights, path: Path, *, bits: int = 32, drafted: bool = False) -> None:
    """Write the graph of the layers that read them, and the head. `drafted`: it works beside a drafter."""
    Layers(config.text, blocks, bits, Graph(weights), _MODEL).upper(path, drafted)


class Layers:
    """Decoder layers in a graph, their tensors under this name in the checkpoint."""

    def __init__(self, config: TextConfig, blocks: Blocks, bits: int, graph: Graph, model: str) -> None:
        self.config, self.blocks, self.bits, self.g, self.model = config, blocks, bits, graph, model
        self.rope: dict[Kind, tuple[str, str]] = {}
        self.masks = Masks()
        shared = graph, config.heads, blocks, self.masks
        self.attention = FloatAttention(*shared) if bits == 32 else CodedAttention(*shared)
        self.few = self.apart = ""

    def lower(self, path: Path, drafted: bool) -> None:
        g, config = self.g, self.config
        if drafted:
            self.apart = g.input("apart", [], BOOL)
        x = g.input("inputs_embeds", [1, "S", config.hidden])
        positions = g.input("positions", ["S"], INT64)
        ple = self._ple(x, 0, config.lower)
        if self.bits == 32:
            count = g.op("Squeeze", g.op("Shape", positions), g.ints(0))
            self.few = g.op("LessOrEqual", count, g.scalar_int(FEW))
        self.prepare([layer.kind for layer in config.layers[: config.lower]], positions, fresh=True)
        for i, layer in enumerate(config.layers[: config.lower]):
            x = self.layer(i, layer, x, ple[i], None)
        g.output(x, "hidden", [1, "S", config.hidden])
        g.save(path)

    def upper(self, path: Path, drafted: bool) -> None:
        g, config = self.g, self.config
        x = g.input("hidden", [1, "R", config.hidden])
        layers = config.layers[config.lower :]
        if layers:
            positions = g.input("positions", ["R"], INT64)
            embeds = g.input("inputs_embeds", [1, "R", config.hidden]) if config.ple else ""
            ple = self._ple(embeds, config.lower, len(config.layers))
            self.prepare([layer.kind for layer in layers], positions, fresh=False)
            sources = self.sources(layers)
            for i, layer in enumerate(layers):
                x = self.layer(config.lower + i, layer, x, ple[i], sources[layer.kind])
        x = g.rms_norm(x, f"{self.model}.norm.weight", config.hidden, config.epsilon)
        if drafted:
            g.output(x, "state", [1, "R", config.hidden])
        x = g.linear(x, EMBEDDING if config.tied else "lm_head.weight", config.vocab, config.hidden)
        g.output(x if config.softcap is None else g.softcap(x, config.softcap), "logits", [1, "R", config.vocab])
        g.save(path)

    def sources(self, layers: tuple[Layer, ...]) -> dict[Kind, Source]:
        """Keys and values that these layers only read, as inputs."""
        firsts: dict[Kind, Layer] = {layer.kind: layer for layer in reversed(layers)}
        return {kind: Source(self._past(layer, "", f".{kind}")) for kind, layer in firsts.items()}

    def _past(self, layer: Layer, before: str, after: str) -> dict[str, str]:
        """Inputs for what is in the cache, by part."""
        kind, out = layer.kind, dict[str, str]()
        for part in parts_of(layer, self.blocks.of(kind), self.bits, 0):
            shape: list[int | str] = [f"blocks_{kind}", *part.array.shape[1:]]
            out[part.name] = self.g.input(f"{before}{part.name}{after}", shape, INT8 if part.array.dtype == np.int8 else FLOAT)
        return out

    def _ple(self, embeds: str, begin: int, end: int) -> list[str]:
        """(norm(projection of the input embedding) + looked-up row) / √2, cut into layers: each [1, S, ple]."""
        g, config, width = self.g, self.config, self.config.ple
        if not width:
            return [""] * (end - begin)
        rows = g.input("ple_rows", [1, "S", (end - begin) * width])
        part = slice(begin * width, end * width)
        name = f"{self.model}.per_layer_model_projection.weight"
        x = g.linear(embeds, name, part.stop - part.start, config.hidden, part)
        x = g.reshape(g.op("Mul", x, g.scalar(config.hidden**-0.5)), 1, -1, end - begin, width)
        x = g.rms_norm(x, f"{self.model}.per_layer_projection_norm.weight", width, config.epsilon)
        x = g.op("Mul", g.op("Add", g.reshape(x, 1, -1, (end - begin) * width), rows), g.scalar(2.0**-0.5))
        return g.split(x, [width] * (end - begin), 2)

    def prepare(self, kinds: list[Kind], positions: str, fresh: bool, last: str = "") -> None:
        """Rotations and masks, once for each kind of layer.

        `fresh`: the queries' own keys are not in the cache yet; `last`: the last positions they see, where not their own.
        """
        g = self.g
        angle = g.op("Unsqueeze", g.op("Cast", positions, to=FLOAT), g.ints(1))
        for kind in KINDS:
            if kind not in kinds:
                continue
            layer = self.config.first(kind)
            assert layer is not None
            rates = self.config.rope(kind).frequencies(layer.head_dim)[None]
            turned = g.op("Mul", angle, g.constant(f"frequencies.{kind}", rates))
            self.rope[kind] = (g.op("Cos", turned), g.op("Sin", turned))
            keys = g.input(f"key_positions.{kind}", [f"slots_{kind}"], INT64)
            if self.apart:
                self._prepare_apart(kind, positions, keys, layer.kv_heads)
            if fresh:
                self.masks.sizes[kind] = g.op("Concat", g.op("Shape", keys), g.op("Shape", positions), axis=0)
                keys = g.op("Concat", keys, positions, axis=0)
            self.masks.bias[kind] = self._for_heads(self._mask(kind, last or positions, keys), layer.kv_heads)

    def _prepare_apart(self, kind: Kind, positions: str, keys: str, kv_heads: int) -> None:
        """The same for rows apart: the keys of those before it are past ones for a row, its own comes last."""
        g, block = self.g, self.blocks.of(kind)
        count, first = g.op("Shape", keys), g.op("Gather", keys, g.ints(0))
        numbers = g.op("Range", g.scalar_int(0), g.op("Squeeze", count, g.ints(0)), g.scalar_int(1))
        mask = self._mask(kind, positions, g.op("Add", numbers, first), strict=True)
        own = g.op("Expand", g.scalar(0.0), g.op("Concat", g.op("Shape", positions), g.ints(1, 1), axis=0))
        self.masks.apart_bias[kind] = self._for_heads(g.op("Concat", mask, own, axis=2), kv_heads)
        self.masks.apart_sizes[kind] = g.op("Concat", count, g.ints(1), axis=0)
        end = g.op("Add", first, count)
        self.masks.slots[kind] = g.op("Add", g.op("Sub", positions, end), g.scalar_int(block))

    def _mask(self, kind: Kind, queries: str, keys: str, strict: bool = False) -> str:
        """What is added to the scores of one key head. Shape [S, 1, keys]."""
        g = self.g
        key, query = g.op("Unsqueeze", keys, g.ints(0, 1)), g.op("Unsqueeze", queries, g.ints(1, 2))
        seen = g.op("Less" if strict else "LessOrEqual", key, query)
        if kind == "sliding":
            seen = g.op("And", seen, g.op("Greater", key, g.op("Sub", query, g.scalar_int(self.config.window))))
        return g.op("Where", seen, g.scalar(0.0), g.scalar(_HIDDEN_SLOT))

    def _for_heads(self, bias: str, kv_heads: int) -> str:
        """[S, 1, keys] to [kv heads · S, 1, keys]."""
        return bias if kv_heads == 1 else self.g.op("Concat", *[bias] * kv_heads, axis=0)

    def layer(self, i: int, layer: Layer, x: str, ple: str, source: Source | None) -> str:
        """One decoder layer. x [1, S, hidden]; `source` is given to a layer that only reads."""
        g, config, hidden, name = self.g, self.config, self.config.hidden, f"{self.model}.layers.{i}"

        def norm(x: str, part: str) -> str:
            return g.rms_norm(x, f"{name}.{part}.weight", hidden, config.epsilon)

        y = norm(x, "input_layernorm")
        y = self._attention(i, layer, y, source)
        x = g.op("Add", norm(y, "post_attention_layernorm"), x)
        y = norm(x, "pre_feedforward_layernorm")
        gate = g.activation(g.linear(y, f"{name}.mlp.gate_proj.weight", layer.mlp, hidden), config.activation)
        y = g.op("Mul", gate, g.linear(y, f"{name}.mlp.up_proj.weight", layer.mlp, hidden))
        y = g.linear(y, f"{name}.mlp.down_proj.weight", hidden, layer.mlp)
        x = g.op("Add", norm(y, "post_feedforward_layernorm"), x)
        if config.ple:
            gate = g.linear(x, f"{name}.per_layer_input_gate.weight", config.ple, hidden)
            y = g.op("Mul", g.activation(gate, config.activation), ple)
            y = g.linear(y, f"{name}.per_layer_projection.weight", hidden, config.ple)
            x = g.op("Add", norm(y, "post_per_layer_input_norm"), x)
        return g.op("Mul", x, g.constant(f"{name}.layer_scalar", g.weights.vector(f"{name}.layer_scalar", 1)))

    def _attention(self, i: int, layer: Layer, x: str, source: Source | None) -> str:
        """[1, S, hidden] to [1, S, hidden]. The rows of all heads of one key head are rows of one matrix."""
        g, config, name = self.g, self.config, f"{self.model}.layers.{i}.self_attn"
        heads, kv, size = config.heads, layer.kv_heads, layer.head_dim
        q = g.linear(x, f"{name}.q_proj.weight", heads * size, config.hidden)
        q = g.rms_norm(g.reshape(q, -1, heads, size), f"{name}.q_norm.weight", size, config.epsilon)
        q = self._turn(q, layer, heads)
        q = g.reshape(q, kv, -1, size) if kv == 1 else self._group(q, heads, kv, size)
        if source is None:
            source = self._write(i, layer, x, name)
        y = g.name("attended")
        if not source.new_key:
            self.attention.few_rows(q, layer, source, y)
        else:
            self._together_or_apart(q, layer, source, y)
        if kv > 1:
            y = g.op("Transpose", g.reshape(y, kv, -1, heads // kv, size), perm=[1, 0, 2, 3])
        return g.linear(g.reshape(y, 1, -1, heads * size), f"{name}.o_proj.weight", config.hidden, heads * size)

    def _together_or_apart(self, q: str, layer: Layer, source: Source, out: str) -> None:
        """Attention of rows that come in numbers."""
        g, attention = self.g, self.attention
        shape: list[int | str] = [layer.kv_heads, "rows", layer.head_dim]
        if isinstance(attention, FloatAttention):
            few = g.branch(lambda out: attention.few_rows(q, layer, source, out), "few", shape)
            many = g.branch(lambda out: attention.many_rows(q, layer, source, out), "many", shape)

            def together(out: str) -> None:
                g.ops("If", [self.few], [out], then_branch=few, else_branch=many)
        else:

            def together(out: str) -> None:
                attention.few_rows(q, layer, source, out)

        if self.apart:
            apart = g.branch(lambda out: attention.rows_apart(q, layer, source, out), "apart", shape)
            g.ops("If", [self.apart], [out], then_branch=apart, else_branch=g.branch(together, "together", shape))
        else:
            together(out)

    def _turn(self, x: str, layer: Layer, heads: int) -> str:
        """Rotary embedding of [S, heads, head]; gives [1, S, heads · head]."""
        flat = self.g.reshape(x, 1, -1, heads * layer.head_dim)
        return self.g.op("RotaryEmbedding", flat, self.g.ints(0), *self.rope[layer.kind], domain=MICROSOFT)

    def _group(self, q: str, heads: int, kv: int, size: int) -> str:
        """[1, S, heads · head] to [kv heads, S · heads of each, head]."""
        g = self.g
        q = g.op("Transpose", g.reshape(q, -1, kv, heads // kv, size), perm=[1, 0, 2, 3])
        return g.reshape(q, kv, -1, size)

    def _write(self, i: int, layer: Layer, x: str, name: str) -> Source:
        """The keys and values of the new tokens, [kv heads, S, head], beside those of the past."""
        g, config, kv, size = self.g, self.config, layer.kv_heads, layer.head_dim
        raw = g.reshape(g.linear(x, f"{name}.k_proj.weight", kv * size, config.hidden), -1, kv, size)
        k = self._turn(g.rms_norm(raw, f"{name}.k_norm.weight", size, config.epsilon), layer, kv)
        if not layer.keys_are_values:
            raw = g.reshape(g.linear(x, f"{name}.v_proj.weight", kv * size, config.hidden), -1, kv, size)
        v = g.rms_norm(raw, None, size, config.epsilon)
        k, v = (g.op("Transpose", g.reshape(z, -1, kv, size), perm=[1, 0, 2]) for z in (k, v))
        new, kind = {"key": k, "value": v}, FLOAT
        if self.bits == 8:
            kind = INT8
            keys, values = (coded.encode(g, z) for z in (k, v))
            k, v = keys.rows, values.rows
            new = {"key": keys.codes, "value": values.codes, "key_scale": keys.scale, "value_scale": values.scale}
        for part, z in new.items():
            scale = part.endswith("scale")
            g.output(z, f"new_{part}.{i}", [kv, "S", 1 if scale else size], FLOAT if scale else kind)
        return Source(self._past(layer, "past_", f".{i}"), k, v, new)


def embedding_scale(config: TextConfig) -> float:
    """Input embeddings are multiplied by it."""
    return math.sqrt(config.hidden)


def ple_scale(config: TextConfig) -> float:
    """Looked-up per-layer rows are multiplied by it."""
    return math.sqrt(config.ple)
