"""Gemma 4's assistant checkpoint: a small model that guesses the next tokens, for the large one to check several at once.

It has no keys and values of its own: its layers read the large model's, of its last sliding and its last full layer that writes
any. It goes on from the large model's own last state and stays at one position: that of the last token, which is not among
the keys yet. Its output embedding may be sorted into clusters; then only the tokens of the likeliest ones are compared.
Source: transformers 5.23, `models/gemma4_assistant` and `generation/candidate_generator.py`
(`SinglePositionMultiTokenCandidateGenerator`).

    drafter  inputs_embeds, state [1, 1, backbone] · positions [1] · key_positions.KIND [slots]
             key.KIND, value.KIND as `decoder` has them
             → next_state [1, 1, backbone] · logits [1, n] · ids [1, n]; where it is not sorted n is vocab, and there are no ids
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import CheckpointError
from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.config import KINDS, Fields, TextConfig, parse_text
from edge_assistant.gemma4.decoder import Layers
from edge_assistant.gemma4.graph import FLOAT, INT32, INT64, Graph, Weights, finite
from edge_assistant.gemma4.mapped import let_go
from edge_assistant.gemma4.quantise import quantise

_MODEL = "model"
EMBEDDING = f"{_MODEL}.embed_tokens.weight"
_CENTROIDS, _ORDER = "masked_embedding.centroids.weight", "masked_embedding.token_ordering"
_OTHER = "give the assistant checkpoint that was published with this model"
_HALF = 128.0
"""Added to codes of 8 bits, so that they are stored without sign."""


@dataclass(frozen=True, slots=True)
class DrafterConfig:
    """A drafter that fits its large model."""

    text: TextConfig
    """Every layer reads keys that others wrote. Its window has one more position than config.json says: transformers counts the
    distance to the last key, both ends included (`sliding_window_bidirectional_overlay`)."""
    backbone: int
    """Width of the large model."""
    clusters: int
    """Of its output embedding; 0 where that is not sorted."""
    likeliest: int
    """Clusters that are looked into."""

    @classmethod
    def parse(cls, model: Mapping[str, Any], target: TextConfig) -> "DrafterConfig":
        """From its `config.json`. Raises CheckpointError for one that cannot work beside the target."""
        fields = Fields(model, "config.json of the drafter")
        check_kind(fields)
        backbone = fields.integer("backbone_hidden_size", 1536)
        if backbone != target.hidden:
            raise CheckpointError(f"the drafter is for a model of width {backbone}, and this one has {target.hidden}", _OTHER)
        part = fields.part("text_config")
        text = parse_text(Fields({**part.values, "num_kv_shared_layers": 0}, part.name), fields)
        _check(text, part, target)
        clusters, likeliest = 0, 0
        if fields.flag("use_ordered_embeddings", False):
            clusters = fields.integer("num_centroids", 2048)
            likeliest = fields.integer("centroid_intermediate_top_k", 32)
            if clusters < 1 or text.vocab % clusters or not 1 <= likeliest <= clusters:
                raise CheckpointError(
                    f"the drafter looks into {likeliest} of {clusters} clusters, which cannot share {text.vocab} tokens",
                    _OTHER,
                )
        layers = tuple(replace(layer, shared=True) for layer in text.layers)
        return cls(replace(text, layers=layers, window=text.window + 1), backbone, clusters, likeliest)

    @property
    def candidates(self) -> int:
        """Tokens that are compared."""
        return self.text.vocab // self.clusters * self.likeliest if self.clusters else self.text.vocab

    @property
    def weights(self) -> int:
        """How many there are, about."""
        text = self.text
        layers = sum(3 * text.hidden * layer.mlp + 2 * text.heads * layer.head_dim * text.hidden for layer in text.layers)
        return layers + (text.vocab + 3 * self.backbone + self.clusters) * text.hidden


def check_kind(fields: Fields) -> None:
    """Raises CheckpointError when a `config.json` is no drafter's."""
    kind = fields.text("model_type", "?")
    if kind != "gemma4_assistant":
        raise CheckpointError(f"the drafter is of model type {kind!r}, not 'gemma4_assistant'", _OTHER)


def _check(text: TextConfig, fields: Fields, target: TextConfig) -> None:
    shared = fields.integer("num_kv_shared_layers", 0)
    if shared not in (0, len(text.layers)):
        raise CheckpointError(f"the drafter has {len(text.layers) - shared} layers with keys of their own", _OTHER)
    if text.vocab != target.vocab:
        raise CheckpointError(f"the drafter knows {text.vocab} tokens, and the model {target.vocab}", _OTHER)
    if text.ple or fields.flag("use_double_wide_mlp", False):
        raise CheckpointError("the drafter has per-layer embeddings or a double MLP, which no released one has", _OTHER)
    for kind in KINDS:
        layer = text.first(kind)
        theirs = next((other for other in target.layers[: target.lower] if other.kind == kind), None)
        if layer is None:
            continue
        if theirs is None:
            raise CheckpointError(f"the drafter reads keys of {kind} layers, and the model writes none", _OTHER)
        if (layer.kv_heads, layer.head_dim) != (theirs.kv_heads, theirs.head_dim):
            raise CheckpointError(
                f"the drafter reads {layer.kv_heads} key heads of {layer.head_dim} in {kind} layers, "
                f"and the model writes {theirs.kv_heads} of {theirs.head_dim}",
                _OTHER,
            )


def build_drafter(config: DrafterConfig, blocks: Blocks, bits: int, weights: Weights, path: Path) -> None:
    """Write the graph of one step, over a cache of these bits."""
    g, text = Graph(weights), config.text
    layers = Layers(text, blocks, bits, g, _MODEL)
    embeds, state = (g.input(name, [1, 1, config.backbone]) for name in ("inputs_embeds", "state"))
    x = g.op("Concat", embeds, state, axis=2)
    x = g.linear(x, "pre_projection.weight", text.hidden, 2 * config.backbone)
    positions = g.input("positions", [1], INT64)
    last = g.op("Sub", positions, g.scalar_int(1))
    layers.prepare([layer.kind for layer in text.layers], positions, fresh=False, last=last)
    sources = layers.sources(text.layers)
    for i, layer in enumerate(text.layers):
        x = layers.layer(i, layer, x, "", sources[layer.kind])
    x = g.rms_norm(x, f"{_MODEL}.norm.weight", text.hidden, text.epsilon)
    g.output(g.linear(x, "post_projection.weight", config.backbone, text.hidden), "next_state", [1, 1, config.backbone])
    if config.clusters:
        _sorted_head(config, g, x)
    else:
        logits = g.linear(x, EMBEDDING if text.tied else "lm_head.weight", text.vocab, text.hidden)
        g.output(g.reshape(logits, 1, -1), "logits", [1, text.vocab])
    g.save(path)


def _sorted_head(config: DrafterConfig, g: Graph, x: str) -> None:
    """Logits of the tokens of the likeliest clusters, which lie side by side in the file: each cluster is one look-up."""
    text, each = config.text, config.text.vocab // config.clusters
    order = _order(g.weights, text.vocab)
    near, chosen = g.name("near"), g.name("chosen")
    scores = g.linear(x, _CENTROIDS, config.clusters, text.hidden)
    g.ops("TopK", [g.reshape(scores, -1), g.ints(config.likeliest)], [near, chosen])
    ids = g.op("Gather", g.constant("token_ordering", order.reshape(config.clusters, each)), chosen)
    g.output(g.reshape(ids, 1, -1), "ids", [1, config.candidates], INT32)
    column = g.reshape(x, text.hidden, 1)
    name = EMBEDDING if text.tied else "lm_head.weight"
    codes, scales = _sorted_embedding(g, name, order, config)
    rows = g.op("Gather", codes, chosen)
    if not scales:
        logits = g.op("MatMul", g.reshape(rows, -1, text.hidden), column)
    else:
        rows = g.reshape(g.op("Cast", rows, to=FLOAT), -1, text.hidden)
        shift = g.op("Mul", g.op("ReduceSum", column, keepdims=1), g.scalar(_HALF))
        logits = g.op("Mul", g.op("Sub", g.op("MatMul", rows, column), shift), g.reshape(g.op("Gather", scales, chosen), -1, 1))
    g.output(g.reshape(logits, 1, -1), "logits", [1, config.candidates])


def _order(weights: Weights, vocab: int) -> NDArray[np.int32]:
    """Which token lies where, cluster by cluster. Raises CheckpointError."""
    order = np.asarray(weights.source.rows(_ORDER)).astype(np.int64).reshape(-1)
    if not np.array_equal(np.sort(order), np.arange(vocab)):
        raise CheckpointError(f"the drafter's {_ORDER} does not name each of its {vocab} tokens once", "fetch it again")
    return order.astype(np.int32)


def _sorted_embedding(g: Graph, name: str, order: NDArray[np.int32], config: DrafterConfig) -> tuple[str, str]:
    """Names of codes [clusters, tokens, hidden] and scales [clusters, tokens]; of the floats and "" where nothing is quantised.

    8 bits with one scale a token, whatever the other matrices have: few rows are read, and a wrong guess costs a pass.
    """
    weights, hidden = g.weights, config.text.hidden
    each = config.text.vocab // config.clusters
    if weights.source.shape(name) != (config.text.vocab, hidden):
        raise CheckpointError(
            f"the drafter's {name} has shape {list(weights.source.shape(name))}, not [{config.text.vocab}, {hidden}]", _OTHER
        )
    source, scales = weights.source.rows(name), list[NDArray[np.float32]]()

    def clusters() -> Iterator[NDArray[Any]]:
        for begin in range(0, len(order), each):
            rows = finite(source[order[begin : begin + each]].astype(np.float32), name)
            let_go(source)
            weights.read(rows.size)
            if weights.bits is None:
                yield rows
            else:
                codes, scale = quantise(rows, 8, hidden)
                scales.append(scale)
                yield codes

    shape = (config.clusters, each, hidden)
    if weights.bits is None:
        return g.tensor(weights.write(name, clusters(), np.float32, shape)), ""
    codes = g.tensor(weights.write(f"{name}.codes", clusters(), np.uint8, shape))
    return codes, g.tensor(weights.write(f"{name}.scales", iter(scales), np.float32, shape[:2]))
