"""The audio encoder as a graph that hears a chunk at a time and carries its own memory.

Equal to transformers' one-shot encoder for every chunking: attention and the depthwise convolution look back a fixed number of
frames, which the state carries; the two strided convolutions need three mel frames of the chunk before.
Source: transformers 5.23, `modeling_gemma4.py`, `Gemma4AudioModel` and `Gemma4MultimodalEmbedder`.

    inputs   mel [1, 4·C, bins] · valid [1] mel frames that are sound, the rest being padding · past [1] tokens heard before
             mel_state [1, 3, bins] · key_state, value_state [layers, heads, past, head] · conv_state [layers, kernel - 1, hidden]
    outputs  soft [1, C, text hidden] and the next state, each under its name with `_out`
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.config import Config
from edge_assistant.gemma4.graph import FLOAT, INT64, Graph, Weights, finite

FRAMES_PER_TOKEN = 4
"""Two convolutions of stride 2."""
MEL_STATE = 3
"""Mel frames before a chunk that its first token sees."""
_TOWER = "model.audio_tower"
_DEFAULT_EPSILON = 1e-6
"""Of the norms that transformers builds without the config's."""


def state_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """What the encoder remembers from chunk to chunk, float32, zeros at the beginning of a clip."""
    audio = config.audio
    attention = (audio.layers, audio.heads, audio.past, audio.head_dim)
    return {
        "mel_state": (1, MEL_STATE, config.mel.bins),
        "key_state": attention,
        "value_state": attention,
        "conv_state": (audio.layers, audio.kernel - 1, audio.hidden),
    }


def build_encoder(config: Config, weights: Weights, path: Path) -> None:
    """Write the graph to `path`; its weights go to the file of `weights`."""
    _Encoder(config, Graph(weights)).build(path)


class _Encoder:
    def __init__(self, config: Config, graph: Graph) -> None:
        self.config, self.audio, self.g = config, config.audio, graph

    def build(self, path: Path) -> None:
        g, audio, shapes = self.g, self.audio, state_shapes(self.config)
        mel = g.input("mel", [1, "frames", self.config.mel.bins])
        valid, past = g.input("valid", [1], INT64), g.input("past", [1], INT64)
        states = {name: g.input(name, list(shape)) for name, shape in shapes.items()}
        full = g.op("Concat", states["mel_state"], mel, axis=1)
        g.output(self._tail(full, MEL_STATE, 1), "mel_state_out", list(shapes["mel_state"]))
        x = self._subsample(full, valid)
        self._positions(x, past)
        layered = [g.split(states[name], [1] * audio.layers, 0) for name in ("key_state", "value_state", "conv_state")]
        after: list[list[str]] = [[], [], []]
        for i, state in enumerate(zip(*layered, strict=True)):
            x, *new = self._layer(x, f"{_TOWER}.layers.{i}", *state)
            for kept, one in zip(after, new, strict=True):
                kept.append(one)
        for name, kept in zip(("key_state", "value_state", "conv_state"), after, strict=True):
            g.output(g.op("Concat", *kept, axis=0), f"{name}_out", list(shapes[name]))
        g.output(self._embed(x), "soft", [1, "tokens", self.config.text.hidden])
        g.save(path)

    def _tail(self, x: str, count: int, axis: int) -> str:
        return self.g.op("Slice", x, self.g.ints(-count), self.g.ints(np.iinfo(np.int64).max), self.g.ints(axis))

    def _range(self, count: str) -> str:
        """0 … count - 1, of a count of shape [1]."""
        return self.g.op("Range", self.g.scalar_int(0), self.g.op("Squeeze", count, self.g.ints(0)), self.g.scalar_int(1))

    def _subsample(self, mel: str, valid: str) -> str:
        """[1, 3 + 4·C, bins] to [1, C, hidden]."""
        g, prefix = self.g, f"{_TOWER}.subsample_conv_projection"
        x = g.op("Unsqueeze", mel, g.ints(1))
        channels = (1, *self.audio.channels)
        for i in (0, 1):
            name = f"{prefix}.layer{i}"
            kernel = g.weights.vector(f"{name}.conv.weight", channels[i + 1], channels[i], 3, 3)
            x = g.op("Conv", x, g.constant(f"{name}.conv.weight", kernel), strides=[2, 2], pads=[0, 1, 0, 1])
            x = g.op("Transpose", x, perm=[0, 2, 3, 1])
            scale = g.constant(f"{name}.norm.weight", g.weights.vector(f"{name}.norm.weight", channels[i + 1]))
            x = g.op("Relu", g.op("LayerNormalization", x, scale, axis=-1, epsilon=self.audio.epsilon))
            if i == 0:
                # row j has mel frame 2j - 2 of the chunk in its middle; where that is padding the row counts as padding too
                rows = self._range(g.op("Shape", x, start=1, end=2))
                middle = g.op("Sub", g.op("Mul", rows, g.ints(2)), g.ints(2))
                heard = g.op("Cast", g.op("Less", middle, valid), to=FLOAT)
                x = g.op("Mul", x, g.op("Unsqueeze", heard, g.ints(0, 2, 3)))
                x = g.op("Transpose", x, perm=[0, 3, 1, 2])
        width = math.ceil(math.ceil(self.config.mel.bins / 2) / 2) * self.audio.channels[1]
        return g.linear(g.reshape(x, 1, -1, width), f"{prefix}.input_proj_linear.weight", self.audio.hidden, width)

    def _positions(self, x: str, past: str) -> None:
        """Which key is how far from which query, and what may be seen; the same for every layer."""
        g, window = self.g, self.audio.past
        count = g.op("Shape", x, start=1, end=2)
        total = g.op("Add", count, g.ints(window))
        queries = g.op("Unsqueeze", g.op("Add", self._range(count), g.ints(window)), g.ints(1))
        keys = g.op("Unsqueeze", self._range(total), g.ints(0))
        distance = g.op("Sub", queries, keys)
        seen = g.op("And", g.op("GreaterOrEqual", distance, g.ints(0)), g.op("LessOrEqual", distance, g.ints(window)))
        seen = g.op("And", seen, g.op("GreaterOrEqual", keys, g.op("Sub", g.ints(window), past)))
        self.bias = g.op("Where", seen, g.scalar(0.0), g.scalar(-1e9))
        near = g.op("Clip", distance, g.scalar_int(0), g.scalar_int(window))
        shape = g.op("Concat", g.ints(self.audio.heads), count, total, axis=0)
        self.distance = g.op("Expand", g.op("Unsqueeze", near, g.ints(0)), shape)

    def _layer(self, x: str, name: str, keys: str, values: str, frames: str) -> tuple[str, str, str, str]:
        """One conformer layer. x [1, C, hidden]; returns x and what to remember."""
        g, audio = self.g, self.audio
        x = self._feed_forward(x, f"{name}.feed_forward1")
        y = g.rms_norm(self._guard(x), f"{name}.norm_pre_attn.weight", audio.hidden, _DEFAULT_EPSILON)
        y, keys, values = self._attention(y, f"{name}.self_attn", keys, values)
        y = g.rms_norm(self._guard(y), f"{name}.norm_post_attn.weight", audio.hidden, _DEFAULT_EPSILON)
        x, frames = self._convolution(g.op("Add", y, x), f"{name}.lconv1d", frames)
        x = self._feed_forward(x, f"{name}.feed_forward2")
        return (
            g.rms_norm(self._guard(x), f"{name}.norm_out.weight", audio.hidden, _DEFAULT_EPSILON),
            keys,
            values,
            frames,
        )

    def _feed_forward(self, x: str, name: str) -> str:
        g, hidden = self.g, self.audio.hidden
        y = g.rms_norm(self._guard(x), f"{name}.pre_layer_norm.weight", hidden, _DEFAULT_EPSILON)
        y = g.activation(self._linear(y, f"{name}.ffw_layer_1", 4 * hidden, hidden), self.audio.activation)
        y = self._guard(self._linear(y, f"{name}.ffw_layer_2", hidden, 4 * hidden))
        y = g.rms_norm(y, f"{name}.post_layer_norm.weight", hidden, _DEFAULT_EPSILON)
        return g.op("Add", g.op("Mul", y, g.scalar(self.audio.residual)), x)

    def _attention(self, x: str, name: str, keys: str, values: str) -> tuple[str, str, str]:
        g, audio, heads, size = self.g, self.audio, self.audio.heads, self.audio.head_dim
        scale, relative = self._query_scale(name), self._relative_keys(name)

        def heads_of(part: str) -> str:
            """[1, C, hidden] to [heads, C, head]."""
            projected = self._linear(x, f"{name}.{part}_proj", audio.hidden, audio.hidden)
            return g.op("Transpose", g.reshape(projected, -1, heads, size), perm=[1, 0, 2])

        q = g.op("Mul", heads_of("q"), g.constant(f"{name}.q_scale", scale))
        k = g.op("Mul", heads_of("k"), g.scalar(math.log(1 + math.e) / math.log(2)))
        k = g.op("Concat", g.op("Squeeze", keys, g.ints(0)), k, axis=1)
        v = g.op("Concat", g.op("Squeeze", values, g.ints(0)), heads_of("v"), axis=1)
        content = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 2, 1]))
        near = g.op("MatMul", q, g.constant(f"{name}.relative", relative))
        scores = g.op("Add", content, g.op("GatherElements", near, self.distance, axis=2))
        weights = g.op("Softmax", g.op("Add", g.softcap(scores, audio.softcap), self.bias), axis=-1)
        y = g.op("Transpose", g.op("MatMul", weights, v), perm=[1, 0, 2])
        y = self._linear(g.reshape(y, 1, -1, audio.hidden), f"{name}.post", audio.hidden, audio.hidden)
        kept = [g.op("Unsqueeze", self._tail(z, audio.past, 1), g.ints(0)) for z in (k, v)]
        return y, kept[0], kept[1]

    def _query_scale(self, name: str) -> NDArray[np.float32]:
        """softplus(per_dim_scale) / (√head · ln 2). Shape [head]."""
        raw = self.g.weights.vector(f"{name}.per_dim_scale", self.audio.head_dim).astype(np.float64)
        return (np.logaddexp(0, raw) * self.audio.head_dim**-0.5 / math.log(2)).astype(np.float32)

    def _relative_keys(self, name: str) -> NDArray[np.float32]:
        """The key that stands for each distance, 0 to past. Shape [heads, head, past + 1]."""
        audio = self.audio
        weight = self.g.weights.vector(f"{name}.relative_k_proj.weight", audio.hidden, audio.hidden).astype(np.float64)
        half = audio.hidden // 2
        rates = np.exp(np.arange(half) * -(math.log(10_000.0) / max(half - 1, 1)))
        # transformers holds one embedding for each place 0…reach in a block's context, and shifts; beyond them there is nothing
        reach = (audio.chunk + audio.left - 1) // 2
        places = reach - (audio.left - 1) + np.arange(audio.past + 1)
        angles = places[:, None] * rates
        embedded = np.concatenate([np.sin(angles), np.cos(angles)], axis=1) * (places >= 0)[:, None]
        return (embedded @ weight.T).reshape(-1, audio.heads, audio.head_dim).transpose(1, 2, 0).astype(np.float32)

    def _convolution(self, x: str, name: str, frames: str) -> tuple[str, str]:
        """Gated linear unit, causal depthwise convolution, written as one multiplication for each tap."""
        g, audio, hidden = self.g, self.audio, self.audio.hidden
        y = g.rms_norm(x, f"{name}.pre_layer_norm.weight", hidden, audio.epsilon)
        value, gate = g.split(self._linear(y, f"{name}.linear_start", 2 * hidden, hidden), [hidden, hidden], 2)
        y = g.op("Concat", frames, g.op("Mul", value, g.op("Sigmoid", gate)), axis=1)
        kept = self._tail(y, audio.kernel - 1, 1)
        taps = g.weights.vector(f"{name}.depthwise_conv1d.weight", hidden, 1, audio.kernel)
        terms: list[str] = []
        for i in range(audio.kernel):
            end = i - audio.kernel + 1 or np.iinfo(np.int64).max
            part = g.op("Slice", y, g.ints(i), g.ints(end), g.ints(1))
            terms.append(g.op("Mul", part, g.constant(f"{name}.tap.{i}", np.ascontiguousarray(taps[:, 0, i]))))
        y = g.op("Sum", *terms)
        y = g.rms_norm(self._guard(y), f"{name}.conv_norm.weight", hidden, audio.epsilon)
        y = self._linear(g.activation(y, audio.activation), f"{name}.linear_end", hidden, hidden)
        return g.op("Add", y, x), kept

    def _embed(self, x: str) -> str:
        """[1, C, hidden] to the decoder's width."""
        g, audio, hidden = self.g, self.audio, self.config.text.hidden
        bias = g.constant(f"{_TOWER}.output_proj.bias", g.weights.vector(f"{_TOWER}.output_proj.bias", audio.output))
        x = g.op("Add", g.linear(x, f"{_TOWER}.output_proj.weight", audio.output, audio.hidden), bias)
        x = g.rms_norm(x, None, audio.output, audio.epsilon)
        return g.linear(x, "model.embed_audio.embedding_projection.weight", hidden, audio.output)

    def _guard(self, x: str) -> str:
        return self.g.clip(x, -self.audio.clip, self.audio.clip)

    def _linear(self, x: str, name: str, outputs: int, inputs: int) -> str:
        """A linear layer between its learned clamps."""
        if not self.audio.clipped_linears:
            return self.g.linear(x, f"{name}.linear.weight", outputs, inputs)
        x = self._clamp(x, name, "input")
        return self._clamp(self.g.linear(x, f"{name}.linear.weight", outputs, inputs), name, "output")

    def _clamp(self, x: str, name: str, side: str) -> str:
        return self.g.clip(x, self._limit(f"{name}.{side}_min", -np.inf), self._limit(f"{name}.{side}_max", np.inf))

    def _limit(self, name: str, none: float) -> float:
        """A learned limit; `none` where there is none. Raises CheckpointError."""
        limit = self.g.weights.source.scalar(name)
        return limit if limit == none else float(finite(np.array(limit, np.float32), name))
