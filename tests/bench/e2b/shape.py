"""E2B's real dimensions (and E4B's), and every tensor of such a checkpoint with its shape.

Plain Python: the peer's environment reads it too.
Source of the numbers: transformers 5.23, `models/gemma4/configuration_gemma4.py`, and the settings of the published models.
"""

from collections.abc import Iterator
from typing import Any

SLIDING, FULL = "sliding_attention", "full_attention"
TEXT: dict[str, Any] = {
    "model_type": "gemma4_text",
    "vocab_size": 262_144,
    "vocab_size_per_layer_input": 262_144,
    "hidden_size": 1536,
    "hidden_size_per_layer_input": 256,
    "intermediate_size": 6144,
    "use_double_wide_mlp": True,
    "num_hidden_layers": 35,
    "layer_types": [*[SLIDING] * 4, FULL] * 7,
    "num_kv_shared_layers": 20,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "global_head_dim": 512,
    "sliding_window": 512,
    "final_logit_softcapping": 30.0,
    "max_position_embeddings": 131_072,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
TEXT_E4B: dict[str, Any] = TEXT | {
    "hidden_size": 2560,
    "intermediate_size": 10_240,
    "use_double_wide_mlp": False,
    "num_hidden_layers": 42,
    "layer_types": [*[SLIDING] * 5, FULL] * 7,
    "num_kv_shared_layers": 18,
    "num_key_value_heads": 2,
}
AUDIO: dict[str, Any] = {
    "model_type": "gemma4_audio",
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "subsampling_conv_channels": [128, 32],
    "conv_kernel_size": 5,
    "output_proj_dims": 1536,
}
MEL_BINS = 128
DRAFTER: dict[str, Any] = {
    "model_type": "gemma4_assistant",
    "architectures": ["Gemma4AssistantForCausalLM"],
    "backbone_hidden_size": TEXT["hidden_size"],
    "use_ordered_embeddings": True,
    "num_centroids": 2048,
    "centroid_intermediate_top_k": 32,
    "tie_word_embeddings": True,
    "text_config": {
        "model_type": "gemma4_text",
        "vocab_size": TEXT["vocab_size"],
        "hidden_size": 256,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 0,
        "intermediate_size": 2048,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 4,
        "layer_types": [SLIDING, SLIDING, SLIDING, FULL],
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "global_head_dim": 512,
        "sliding_window": 512,
        "max_position_embeddings": 131_072,
    },
}
"""config.json of E2B's assistant: 78 million weights."""


def config(text: dict[str, Any] = TEXT) -> dict[str, Any]:
    """config.json."""
    return {
        "model_type": "gemma4",
        "architectures": ["Gemma4ForConditionalGeneration"],
        "text_config": text,
        "audio_config": AUDIO,
        "tie_word_embeddings": True,
        "image_token_id": 258_880,
        "audio_token_id": 258_881,
        "video_token_id": 258_884,
    }


def is_full(layer: int, text: dict[str, Any] = TEXT) -> bool:
    return text["layer_types"][layer] == FULL


def head_dim(layer: int, text: dict[str, Any] = TEXT) -> int:
    return text["global_head_dim"] if is_full(layer, text) else text["head_dim"]


def writes(layer: int, text: dict[str, Any] = TEXT) -> bool:
    """It has keys and values of its own."""
    return layer < text["num_hidden_layers"] - text["num_kv_shared_layers"]


def mlp(layer: int, text: dict[str, Any] = TEXT) -> int:
    return text["intermediate_size"] * (1 if writes(layer, text) or not text["use_double_wide_mlp"] else 2)


def text_tensors(text: dict[str, Any] = TEXT) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name in a published checkpoint and shape, outputs first."""
    hidden, ple, layers, heads, kv_heads = (
        text[key]
        for key in (
            *("hidden_size", "hidden_size_per_layer_input", "num_hidden_layers"),
            *("num_attention_heads", "num_key_value_heads"),
        )
    )
    model = "model.language_model."
    yield model + "embed_tokens.weight", (text["vocab_size"], hidden)
    yield model + "embed_tokens_per_layer.weight", (text["vocab_size_per_layer_input"], layers * ple)
    yield model + "per_layer_model_projection.weight", (layers * ple, hidden)
    yield model + "per_layer_projection_norm.weight", (ple,)
    yield model + "norm.weight", (hidden,)
    for i in range(layers):
        name, size, wide = f"{model}layers.{i}.", head_dim(i, text), mlp(i, text)
        for part in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield f"{name}{part}_layernorm.weight", (hidden,)
        yield name + "self_attn.q_proj.weight", (heads * size, hidden)
        yield name + "self_attn.o_proj.weight", (hidden, heads * size)
        yield name + "self_attn.q_norm.weight", (size,)
        if writes(i, text):
            yield name + "self_attn.k_proj.weight", (kv_heads * size, hidden)
            yield name + "self_attn.v_proj.weight", (kv_heads * size, hidden)
            yield name + "self_attn.k_norm.weight", (size,)
        yield name + "mlp.gate_proj.weight", (wide, hidden)
        yield name + "mlp.up_proj.weight", (wide, hidden)
        yield name + "mlp.down_proj.weight", (hidden, wide)
        yield name + "per_layer_input_gate.weight", (ple, hidden)
        yield name + "per_layer_projection.weight", (hidden, ple)
        yield name + "post_per_layer_input_norm.weight", (hidden,)
        yield name + "layer_scalar", (1,)


def drafter_tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The same of E2B's assistant."""
    text, backbone = DRAFTER["text_config"], DRAFTER["backbone_hidden_size"]
    hidden, mlp = text["hidden_size"], text["intermediate_size"]
    yield "model.embed_tokens.weight", (text["vocab_size"], hidden)
    yield "model.norm.weight", (hidden,)
    yield "pre_projection.weight", (hidden, 2 * backbone)
    yield "post_projection.weight", (backbone, hidden)
    yield "masked_embedding.centroids.weight", (DRAFTER["num_centroids"], hidden)
    yield "masked_embedding.token_ordering", (text["vocab_size"],)
    for i in range(text["num_hidden_layers"]):
        name, size = f"model.layers.{i}.", head_dim(i, text) * text["num_attention_heads"]
        for part in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield f"{name}{part}_layernorm.weight", (hidden,)
        yield name + "self_attn.q_proj.weight", (size, hidden)
        yield name + "self_attn.o_proj.weight", (hidden, size)
        yield name + "self_attn.q_norm.weight", (head_dim(i, text),)
        yield name + "mlp.gate_proj.weight", (mlp, hidden)
        yield name + "mlp.up_proj.weight", (mlp, hidden)
        yield name + "mlp.down_proj.weight", (hidden, mlp)
        yield name + "layer_scalar", (1,)


def audio_tensors(text: dict[str, Any] = TEXT) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The same of the audio tower and its way into the decoder."""
    hidden, out, channels = AUDIO["hidden_size"], AUDIO["output_proj_dims"], AUDIO["subsampling_conv_channels"]
    tower = "model.audio_tower."
    for i, before in enumerate((1, channels[0])):
        yield f"{tower}subsample_conv_projection.layer{i}.conv.weight", (channels[i], before, 3, 3)
        yield f"{tower}subsample_conv_projection.layer{i}.norm.weight", (channels[i],)
    yield tower + "subsample_conv_projection.input_proj_linear.weight", (hidden, MEL_BINS // 4 * channels[1])
    for i in range(AUDIO["num_hidden_layers"]):
        name = f"{tower}layers.{i}."
        for feed in ("feed_forward1.", "feed_forward2."):
            yield name + feed + "pre_layer_norm.weight", (hidden,)
            yield name + feed + "post_layer_norm.weight", (hidden,)
            yield from _clipped(name + feed + "ffw_layer_1", 4 * hidden, hidden)
            yield from _clipped(name + feed + "ffw_layer_2", hidden, 4 * hidden)
        for part in ("norm_pre_attn", "norm_post_attn", "norm_out", "lconv1d.pre_layer_norm", "lconv1d.conv_norm"):
            yield f"{name}{part}.weight", (hidden,)
        for part in ("q_proj", "k_proj", "v_proj", "post"):
            yield from _clipped(f"{name}self_attn.{part}", hidden, hidden)
        yield name + "self_attn.relative_k_proj.weight", (hidden, hidden)
        yield name + "self_attn.per_dim_scale", (hidden // AUDIO["num_attention_heads"],)
        yield from _clipped(name + "lconv1d.linear_start", 2 * hidden, hidden)
        yield from _clipped(name + "lconv1d.linear_end", hidden, hidden)
        yield name + "lconv1d.depthwise_conv1d.weight", (hidden, 1, AUDIO["conv_kernel_size"])
    yield tower + "output_proj.weight", (out, hidden)
    yield tower + "output_proj.bias", (out,)
    yield "model.embed_audio.embedding_projection.weight", (text["hidden_size"], out)


def _clipped(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A linear layer with learned clamps of its inputs and outputs."""
    yield name + ".linear.weight", (outputs, inputs)
    for side in ("input_min", "input_max", "output_min", "output_max"):
        yield f"{name}.{side}", ()
