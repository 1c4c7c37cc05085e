"""Small random Gemma 4 checkpoints of many shapes, made of a seed with numpy alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<|turn>",
    "<turn|>",
    "<|image>",
    "<|image|>",
    "<image|>",
    "<|audio>",
    "<|audio|>",
    "<audio|>",
    "<|video|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
    "<|channel>",
    "<channel|>",
    "<|think|>",
]
VOCAB = 288
SLIDING, FULL = "sliding_attention", "full_attention"
FIVE = [*[SLIDING] * 4, FULL]


@dataclass(frozen=True)
class Shape:
    """One checkpoint's deviations from the base."""

    text: dict[str, Any] = field(default_factory=dict)
    audio: dict[str, Any] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    dtype: str = "F32"
    shards: int = 1
    tied: bool = True
    clamp: float = 6.0
    """Learned clamps lie between a third of it and it."""
    samples: int = 640 * 33 + 77
    """Length of the clip."""


TEXT = {
    "hidden_size": 64,
    "hidden_size_per_layer_input": 16,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "layer_types": [SLIDING, SLIDING, FULL] * 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "global_head_dim": 32,
    "num_kv_shared_layers": 3,
    "use_double_wide_mlp": True,
    "final_logit_softcapping": 30.0,
    "sliding_window": 16,
}
AUDIO = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "output_proj_dims": 48,
    "subsampling_conv_channels": [128, 8],
}

SHAPES: dict[str, Shape] = {
    "base": Shape(),
    "e2b-pattern": Shape({"num_hidden_layers": 10, "layer_types": FIVE * 2, "num_kv_shared_layers": 4}),
    "e2b-depth": Shape({"num_hidden_layers": 35, "layer_types": FIVE * 7, "num_kv_shared_layers": 20}),
    "no-sharing": Shape({"num_kv_shared_layers": 0}),
    "two-key-heads": Shape({"num_key_value_heads": 2}),
    "four-key-heads": Shape({"num_key_value_heads": 4, "num_kv_shared_layers": 0}),
    "keys-are-values": Shape({"attention_k_eq_v": True, "num_key_value_heads": 2, "num_global_key_value_heads": 1}),
    "no-per-layer-embedding": Shape({"hidden_size_per_layer_input": 0}),
    "plain-mlp-no-per-layer": Shape({"hidden_size_per_layer_input": 0, "use_double_wide_mlp": False, "num_kv_shared_layers": 0}),
    "untied-head": Shape(tied=False),
    "no-softcap": Shape({"final_logit_softcapping": None}),
    "low-softcap": Shape({"final_logit_softcapping": 20.0}),
    "window-4": Shape({"sliding_window": 4}),
    "window-beyond-context": Shape({"sliding_window": 512}),
    "all-full": Shape({"num_hidden_layers": 4, "layer_types": [FULL] * 4, "num_kv_shared_layers": 2}),
    "alternating": Shape({"layer_types": [SLIDING, FULL] * 3, "num_kv_shared_layers": 2}),
    "two-layers": Shape({"num_hidden_layers": 2, "layer_types": [SLIDING, FULL], "num_kv_shared_layers": 0}),
    "narrow-shared-mlp": Shape({"use_double_wide_mlp": False}),
    "other-rope": Shape(
        {
            "rope_parameters": {
                FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 50_000.0, "factor": 2.0},
                SLIDING: {"rope_type": "default", "rope_theta": 500.0},
            }
        }
    ),
    "per-layer-config": Shape({"global_head_dim": None, "per_layer_config": {"2": {"head_dim": 48}, "5": {"head_dim": 48}}}),
    "odd-widths": Shape({"hidden_size": 40, "intermediate_size": 56, "hidden_size_per_layer_input": 12, "head_dim": 12}),
    "silu": Shape({"hidden_activation": "silu", "rms_norm_eps": 1e-5}),
    "unclipped-audio": Shape(audio={"use_clipped_linears": False}),
    "tight-clamps": Shape(clamp=1.5),
    "deeper-audio": Shape(audio={"num_hidden_layers": 4, "num_attention_heads": 2, "conv_kernel_size": 3}),
    "audio-context": Shape(audio={"attention_chunk_size": 8, "attention_context_left": 9, "attention_logit_cap": 5.0}),
    "audio-guards": Shape(audio={"gradient_clipping": 2.0, "residual_weight": 0.3, "rms_norm_eps": 1e-5}),
    "short-clip": Shape(samples=961),
    "other-features": Shape(features={"preemphasis": 0.97, "fft_overdrive": True, "input_scale_factor": 2.0, "mel_floor": 1e-5}),
    "bfloat16": Shape(dtype="BF16"),
    "float16-shards": Shape(dtype="F16", shards=3),
}


def config(shape: Shape) -> dict[str, Any]:
    """config.json."""
    text = {k: v for k, v in (TEXT | shape.text).items() if v is not None or k == "final_logit_softcapping"}
    text |= {
        "model_type": "gemma4_text",
        "vocab_size": VOCAB,
        "vocab_size_per_layer_input": VOCAB,
        "max_position_embeddings": 4096,
    }
    text |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "tie_word_embeddings": shape.tied}
    ids = {
        "boi_token_id": 7,
        "image_token_id": 8,
        "eoi_token_id": 9,
        "boa_token_id": 10,
        "audio_token_id": 11,
        "eoa_token_index": 12,
    }
    return {
        "model_type": "gemma4",
        "architectures": ["Gemma4ForConditionalGeneration"],
        "text_config": text,
        "audio_config": AUDIO | shape.audio | {"model_type": "gemma4_audio"},
        "vision_config": None,
        "tie_word_embeddings": shape.tied,
        "video_token_id": 13,
        **ids,
    }


def sound(seed: int, samples: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Something between a voice and noise."""
    random, t = np.random.RandomState(seed), np.arange(samples) / 16_000
    pitch = np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / 16_000
    voice = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 20)) * np.clip(np.sin(2 * np.pi * 2.3 * t), 0, None)
    return (0.1 * voice + 0.01 * random.standard_normal(samples)).astype(np.float32)


def tensors(shape: Shape, seed: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Every tensor, float32, by its name in a published checkpoint. RandomState's stream is frozen for good."""
    random = np.random.RandomState(seed)
    whole = config(shape)
    text, audio = whole["text_config"], whole["audio_config"]

    def matrix(*dims: int, gain: float = 1.0) -> np.ndarray[Any, Any]:
        return gain * random.standard_normal(dims) / np.sqrt(np.prod(dims[1:]))

    def norm(width: int) -> np.ndarray[Any, Any]:
        return 1 + 0.2 * random.standard_normal(width)

    hidden, ple, layers = text["hidden_size"], text["hidden_size_per_layer_input"], text["num_hidden_layers"]
    model = "model.language_model."
    yield model + "embed_tokens.weight", random.standard_normal((VOCAB, hidden)) * 1.5 / np.sqrt(hidden)
    if not shape.tied:
        yield "lm_head.weight", matrix(VOCAB, hidden, gain=1.5)
    yield model + "norm.weight", 6 * norm(hidden)
    if ple:
        yield model + "embed_tokens_per_layer.weight", random.standard_normal((VOCAB, layers * ple)) / np.sqrt(ple)
        yield model + "per_layer_model_projection.weight", matrix(layers * ple, hidden)
        yield model + "per_layer_projection_norm.weight", norm(ple)
    for i in range(layers):
        name, reads = f"{model}layers.{i}.", i >= layers - text["num_kv_shared_layers"]
        full = text["layer_types"][i] == FULL
        own = text.get("per_layer_config", {}).get(str(i), {})
        size = own.get("head_dim", text.get("global_head_dim", 0) if full else text["head_dim"])
        shared_projection = text.get("attention_k_eq_v", False) and full
        keys = text.get("num_global_key_value_heads") if shared_projection else None
        keys = (keys or text["num_key_value_heads"]) * size
        mlp = text["intermediate_size"] * (2 if reads and text["use_double_wide_mlp"] else 1)
        for part in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"):
            yield f"{name}{part}.weight", norm(hidden)
        yield name + "self_attn.q_proj.weight", matrix(text["num_attention_heads"] * size, hidden)
        yield name + "self_attn.o_proj.weight", matrix(hidden, text["num_attention_heads"] * size)
        yield name + "self_attn.q_norm.weight", norm(size)
        if not reads:
            yield name + "self_attn.k_proj.weight", matrix(keys, hidden)
            yield name + "self_attn.k_norm.weight", 0.4 * norm(size)
            if not shared_projection:
                yield name + "self_attn.v_proj.weight", matrix(keys, hidden)
        yield name + "mlp.gate_proj.weight", matrix(mlp, hidden)
        yield name + "mlp.up_proj.weight", matrix(mlp, hidden)
        yield name + "mlp.down_proj.weight", matrix(hidden, mlp)
        if ple:
            yield name + "per_layer_input_gate.weight", matrix(ple, hidden)
            yield name + "per_layer_projection.weight", matrix(hidden, ple)
            yield name + "post_per_layer_input_norm.weight", norm(hidden)
        yield name + "layer_scalar", random.uniform(0.6, 1.0, 1)
    yield from _audio_tensors(audio, hidden, shape.clamp, random)


def _audio_tensors(
    audio: dict[str, Any], text_hidden: int, clamp: float, random: np.random.RandomState
) -> Iterator[tuple[str, Any]]:
    hidden, channels = audio["hidden_size"], audio["subsampling_conv_channels"]
    tower = "model.audio_tower."

    def matrix(*dims: int) -> np.ndarray[Any, Any]:
        return random.standard_normal(dims) / np.sqrt(np.prod(dims[1:]))

    def norm(width: int) -> np.ndarray[Any, Any]:
        return 1 + 0.2 * random.standard_normal(width)

    def linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, Any]]:
        yield name + ".linear.weight", matrix(outputs, inputs)
        if audio.get("use_clipped_linears", True):
            for side in ("input", "output"):
                yield f"{name}.{side}_min", -np.array(random.uniform(clamp / 3, clamp))
                yield f"{name}.{side}_max", np.array(random.uniform(clamp / 3, clamp))

    for i, before in enumerate((1, channels[0])):
        name = f"{tower}subsample_conv_projection.layer{i}."
        yield name + "conv.weight", matrix(channels[i], before, 3, 3)
        yield name + "norm.weight", norm(channels[i])
    yield tower + "subsample_conv_projection.input_proj_linear.weight", matrix(hidden, 32 * channels[1])
    for i in range(audio["num_hidden_layers"]):
        name = f"{tower}layers.{i}."
        for feed in ("feed_forward1.", "feed_forward2."):
            yield name + feed + "pre_layer_norm.weight", norm(hidden)
            yield name + feed + "post_layer_norm.weight", norm(hidden)
            yield from linear(name + feed + "ffw_layer_1", 4 * hidden, hidden)
            yield from linear(name + feed + "ffw_layer_2", hidden, 4 * hidden)
        for part in ("norm_pre_attn", "norm_post_attn", "norm_out"):
            yield f"{name}{part}.weight", norm(hidden)
        for part in ("q_proj", "k_proj", "v_proj", "post"):
            yield from linear(f"{name}self_attn.{part}", hidden, hidden)
        yield name + "self_attn.relative_k_proj.weight", matrix(hidden, hidden)
        yield name + "self_attn.per_dim_scale", 0.2 * random.standard_normal(hidden // audio["num_attention_heads"])
        yield name + "lconv1d.pre_layer_norm.weight", norm(hidden)
        yield name + "lconv1d.conv_norm.weight", norm(hidden)
        yield from linear(name + "lconv1d.linear_start", 2 * hidden, hidden)
        yield from linear(name + "lconv1d.linear_end", hidden, hidden)
        yield name + "lconv1d.depthwise_conv1d.weight", matrix(hidden, 1, audio.get("conv_kernel_size", 5))
    yield tower + "output_proj.weight", matrix(audio["output_proj_dims"], hidden)
    yield tower + "output_proj.bias", 0.2 * random.standard_normal(audio["output_proj_dims"])
    yield "model.embed_audio.embedding_projection.weight", matrix(text_hidden, audio["output_proj_dims"])


def make_tokenizer(path: Path) -> None:
    """Bytes and control tokens."""
    vocab = {token: i for i, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.save(str(path))


def write_safetensors(path: Path, named: list[tuple[str, np.ndarray[Any, Any]]], dtype: str) -> None:
    """As https://github.com/huggingface/safetensors#format says."""
    kinds: dict[str, Any] = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
    header, bodies, at = {}, [], 0
    for name, array in named:
        whole = array.dtype.kind == "i"
        body = array.astype(np.int64 if whole else kinds[dtype]).tobytes()
        header[name] = {"dtype": "I64" if whole else dtype, "shape": list(array.shape), "data_offsets": [at, at + len(body)]}
        bodies.append(body)
        at += len(body)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(bodies))


def make_checkpoint(folder: Path, shape: Shape, seed: int) -> Path:
    """A whole checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(shape)))
    if shape.features:
        (folder / "preprocessor_config.json").write_text(json.dumps(shape.features))
    make_tokenizer(folder / "tokenizer.json")
    named = list(tensors(shape, seed))
    if shape.shards == 1:
        write_safetensors(folder / "model.safetensors", named, shape.dtype)
        return folder
    weight_map: dict[str, str] = {}
    for i in range(shape.shards):
        file = f"model-{i + 1:05d}-of-{shape.shards:05d}.safetensors"
        part = named[i :: shape.shards]
        write_safetensors(folder / file, part, shape.dtype)
        weight_map |= {name: file for name, _ in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder
