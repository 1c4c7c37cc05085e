"""Small random assistant checkpoints for the models of `shapes.py`, made of a seed with numpy alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from shapes import FULL, SHAPES, SLIDING, VOCAB, Shape, config, write_safetensors


@dataclass(frozen=True)
class DrafterShape:
    """One drafter's deviations from the base."""

    target: str = "base"
    """The model it is for."""
    text: dict[str, Any] = field(default_factory=dict)
    clusters: int = 0
    """0: its embedding is not sorted."""
    likeliest: int = 3
    dtype: str = "F32"
    tied: bool = True


TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "layer_types": [SLIDING, SLIDING, SLIDING, FULL],
    "hidden_size_per_layer_input": 0,
    "vocab_size_per_layer_input": 0,
    "use_double_wide_mlp": False,
    "final_logit_softcapping": None,
}
SHARED = (
    "num_key_value_heads",
    "num_global_key_value_heads",
    "head_dim",
    "global_head_dim",
    "sliding_window",
    "attention_k_eq_v",
)
"""What a drafter takes over from its model, so that it can read its keys."""

DRAFTERS: dict[str, DrafterShape] = {
    "plain": DrafterShape(),
    "sorted": DrafterShape(clusters=24),
    "sorted-e2b-pattern": DrafterShape("e2b-pattern", clusters=36, likeliest=4, dtype="BF16"),
    "sorted-all-clusters": DrafterShape(clusters=12, likeliest=12),
    "sorted-untied": DrafterShape(clusters=24, tied=False),
    "untied": DrafterShape(tied=False),
    "window-4": DrafterShape("window-4"),
    "window-beyond-context": DrafterShape("window-beyond-context", clusters=24),
    "two-key-heads": DrafterShape("two-key-heads", clusters=24),
    "keys-are-values": DrafterShape("keys-are-values"),
    "four-key-heads": DrafterShape("four-key-heads"),
    "one-full-layer": DrafterShape(text={"layer_types": [FULL]}),
    "alternating": DrafterShape("alternating", text={"layer_types": [SLIDING, FULL, SLIDING, FULL]}),
    "other-rope": DrafterShape("other-rope", text={"rope_parameters": SHAPES["other-rope"].text["rope_parameters"]}),
    "odd-widths": DrafterShape("odd-widths", text={"hidden_size": 24, "intermediate_size": 40}, clusters=24),
    "silu": DrafterShape("silu", text={"hidden_activation": "silu", "rms_norm_eps": 1e-5}),
    "one-head": DrafterShape(text={"num_attention_heads": 1}, clusters=24),
    "no-sharing": DrafterShape("no-sharing", clusters=24),
}

REFERENCED = [name for name, shape in DRAFTERS.items() if SHAPES[shape.target].text.get("num_kv_shared_layers", 3)]
"""Those whose model shares keys among its own layers: of another, transformers gives none away."""


def drafter_config(shape: DrafterShape) -> dict[str, Any]:
    """Its config.json."""
    target = config(SHAPES[shape.target])["text_config"]
    text = TEXT | {key: target[key] for key in SHARED if key in target} | shape.text
    text |= {
        "model_type": "gemma4_text",
        "vocab_size": VOCAB,
        "num_hidden_layers": len(text["layer_types"]),
        "num_kv_shared_layers": len(text["layer_types"]),
        "max_position_embeddings": 4096,
        "tie_word_embeddings": shape.tied,
    }
    return {
        "model_type": "gemma4_assistant",
        "architectures": ["Gemma4AssistantForCausalLM"],
        "text_config": text,
        "backbone_hidden_size": target["hidden_size"],
        "use_ordered_embeddings": shape.clusters > 0,
        "num_centroids": shape.clusters or 2048,
        "centroid_intermediate_top_k": shape.likeliest,
        "tie_word_embeddings": shape.tied,
    }


def drafter_tensors(shape: DrafterShape, seed: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every tensor by its name in a published checkpoint, the order of tokens in whole numbers."""
    random = np.random.RandomState(seed)
    whole = drafter_config(shape)
    text, backbone = whole["text_config"], whole["backbone_hidden_size"]
    hidden, heads, mlp = text["hidden_size"], text["num_attention_heads"], text["intermediate_size"]

    def matrix(*dims: int, gain: float = 1.0) -> np.ndarray[Any, Any]:
        return gain * random.standard_normal(dims) / np.sqrt(dims[-1])

    def norm(width: int) -> np.ndarray[Any, Any]:
        return 1 + 0.2 * random.standard_normal(width)

    yield "model.embed_tokens.weight", matrix(VOCAB, hidden, gain=1.5)
    if not shape.tied:
        yield "lm_head.weight", matrix(VOCAB, hidden, gain=1.5)
    yield "model.norm.weight", 3 * norm(hidden)
    yield "pre_projection.weight", matrix(hidden, 2 * backbone)
    yield "post_projection.weight", matrix(backbone, hidden, gain=3)
    if shape.clusters:
        yield "masked_embedding.centroids.weight", matrix(shape.clusters, hidden)
        yield "masked_embedding.token_ordering", random.permutation(VOCAB)
    for i, kind in enumerate(text["layer_types"]):
        name = f"model.layers.{i}."
        size = text["head_dim"] if kind == SLIDING else text["global_head_dim"]
        for part in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"):
            yield f"{name}{part}.weight", norm(hidden)
        yield name + "self_attn.q_proj.weight", matrix(heads * size, hidden)
        yield name + "self_attn.o_proj.weight", matrix(hidden, heads * size)
        yield name + "self_attn.q_norm.weight", norm(size)
        yield name + "mlp.gate_proj.weight", matrix(mlp, hidden)
        yield name + "mlp.up_proj.weight", matrix(mlp, hidden)
        yield name + "mlp.down_proj.weight", matrix(hidden, mlp)
        yield name + "layer_scalar", random.uniform(0.6, 1.0, 1)


def make_drafter(folder: Path, shape: DrafterShape, seed: int) -> Path:
    """A whole assistant checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(drafter_config(shape)))
    write_safetensors(folder / "model.safetensors", list(drafter_tensors(shape, seed)), shape.dtype)
    return folder


def target_of(shape: DrafterShape) -> Shape:
    """The model it is for."""
    return SHAPES[shape.target]
