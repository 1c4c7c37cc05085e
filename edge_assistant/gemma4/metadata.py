"""What a GGUF pair says of the model, in the words of a published checkpoint: its config and its tokenizer.

Never in the files, so as every published Gemma 4 has it unless a config.json beside them speaks: the decoder's activation; of the
audio tower attention_chunk_size, attention_context_left, attention_logit_cap, residual_weight, gradient_clipping, hidden_act and
rms_norm_eps (llama.cpp's converters write a wrong one and its programs ignore it); of the feature extractor all but the bins.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from edge_assistant.errors import CheckpointError

_CONTROL, _USER_DEFINED, _UNKNOWN = 3, 4, 2
"""Types of tokens. Source: llama.cpp, `include/llama.h`, `llama_token_type`."""
_STILL = 1e29
"""A frequency divided by this much or more does not turn."""


class Metadata(Protocol):
    """One GGUF file, as far as it is asked here."""

    path: Path
    tensors: dict[str, Any]

    def get(self, key: str, default: Any = None) -> Any: ...
    def need(self, key: str) -> Any: ...
    def shape(self, name: str) -> tuple[int, ...]: ...
    def array(self, name: str) -> Any: ...


def text_config(file: Metadata) -> dict[str, Any]:
    """`text_config` of config.json. Raises CheckpointError."""

    def need(key: str) -> Any:
        return file.need(f"gemma4.{key}")

    count, shared = int(need("block_count")), int(file.get("gemma4.attention.shared_kv_layers", 0))
    sliding = _each(file, "gemma4.attention.sliding_window_pattern", count)
    full = need("attention.key_length")
    if file.get("gemma4.rope.scaling.type", "none") != "none":
        raise CheckpointError(f"{file.path} has scaled rotary embeddings", "take the model as Google published it")
    softcap = file.get("gemma4.final_logit_softcapping")
    ple = int(file.get("gemma4.embedding_length_per_layer_input", 0))
    return {
        "model_type": "gemma4_text",
        "vocab_size": file.shape("token_embd.weight")[0],
        "vocab_size_per_layer_input": file.shape("per_layer_token_embd.weight")[0] if ple else 0,
        "hidden_size": int(need("embedding_length")),
        "hidden_size_per_layer_input": ple,
        "num_hidden_layers": count,
        "layer_types": ["sliding_attention" if one else "full_attention" for one in sliding],
        "num_attention_heads": int(_same(file, "gemma4.attention.head_count", count)),
        "head_dim": int(file.get("gemma4.attention.key_length_swa", full)),
        "global_head_dim": int(full),
        "num_kv_shared_layers": shared,
        "sliding_window": int(need("attention.sliding_window")),
        "rms_norm_eps": _decimal(need("attention.layer_norm_rms_epsilon")),
        "final_logit_softcapping": None if softcap is None else _decimal(softcap),
        "pad_token_id": int(file.get("tokenizer.ggml.padding_token_id", 0)),
        "enable_moe_block": bool(file.get("gemma4.expert_count", 0)),
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": _decimal(file.get("gemma4.rope.freq_base_swa", 1e4))},
            "full_attention": _full_rope(file, int(full)),
        },
        **_mlp(file, count, shared),
        **_key_heads(file, [bool(one) for one in sliding], shared),
    }


def _each(file: Metadata, key: str, count: int) -> list[Any]:
    """A value for each layer, of one for all or a list."""
    value = file.need(key)
    values = cast(list[Any], value) if isinstance(value, list) else [value] * count
    if len(values) != count:
        raise CheckpointError(f"{file.path} has {key!r} for {len(values)} layers, not {count}")
    return values


def _same(file: Metadata, key: str, count: int) -> Any:
    values = _each(file, key, count)
    if len(set(values)) > 1:
        raise CheckpointError(f"{file.path} has {key!r} that differs from layer to layer", "no Gemma 4 with audio does")
    return values[0]


def _decimal(value: float) -> float:
    """The number somebody wrote before it became a float32."""
    return float(str(np.float32(value)))


def _full_rope(file: Metadata, head: int) -> dict[str, Any]:
    """Of the layers that see everything: which frequencies stand still is a tensor."""
    theta = _decimal(file.need("gemma4.rope.freq_base"))
    turning = head // 2
    if "rope_freqs.weight" in file.tensors:
        divisors = np.asarray(file.array("rope_freqs.weight"))
        turning = int(np.sum(divisors < _STILL))
        if divisors.shape != (head // 2,) or not np.all(divisors[:turning] == 1):
            raise CheckpointError(f"{file.path} has rope_freqs that no Gemma 4 has", "take the model as Google published it")
    return {"rope_type": "proportional", "partial_rotary_factor": turning / (head // 2), "rope_theta": theta}


def _mlp(file: Metadata, count: int, shared: int) -> dict[str, Any]:
    """Inner widths: one for all layers, or twice as wide in those that share keys and values."""
    widths = [int(width) for width in _each(file, "gemma4.feed_forward_length", count)]
    wide = widths[-1] == 2 * widths[0] and shared > 0
    if widths != [widths[0]] * (count - shared) + [widths[0] * (2 if wide else 1)] * shared:
        raise CheckpointError(f"{file.path} has MLPs of widths that no Gemma 4 has: {sorted(set(widths))}")
    return {"intermediate_size": widths[0], "use_double_wide_mlp": wide}


def _key_heads(file: Metadata, sliding: list[bool], shared: int) -> dict[str, Any]:
    """How many, and whether full layers have no values of their own."""
    heads = [int(heads) for heads in _each(file, "gemma4.attention.head_count_kv", len(sliding))]
    narrow = {count for count, one in zip(heads, sliding, strict=True) if one} or set(heads)
    wide = {count for count, one in zip(heads, sliding, strict=True) if not one} or set(heads)
    own = [i for i in range(len(sliding) - shared) if not sliding[i]]
    keys_are_values = bool(own) and not any(f"blk.{i}.attn_v.weight" in file.tensors for i in own)
    if len(narrow) > 1 or len(wide) > 1 or (narrow != wide and not keys_are_values):
        raise CheckpointError(f"{file.path} has key heads that differ from layer to layer as in no Gemma 4 with audio")
    out: dict[str, Any] = {"num_key_value_heads": narrow.pop(), "attention_k_eq_v": keys_are_values}
    return out | ({"num_global_key_value_heads": wide.pop()} if keys_are_values else {})


def audio_config(file: Metadata) -> dict[str, Any]:
    """`audio_config` of config.json. Raises CheckpointError."""
    return {
        "model_type": "gemma4_audio",
        "hidden_size": int(file.need("clip.audio.embedding_length")),
        "num_hidden_layers": int(file.need("clip.audio.block_count")),
        "num_attention_heads": int(file.need("clip.audio.attention.head_count")),
        "subsampling_conv_channels": [file.shape(f"a.conv1d.{i}.weight")[0] for i in (0, 1)],
        "conv_kernel_size": file.shape("a.blk.0.conv_dw.weight")[-1],
        "output_proj_dims": file.shape("a.pre_encode.out.weight")[0],
        "use_clipped_linears": "a.blk.0.attn_q.input_min" in file.tensors,
    }


def placeholders(file: Metadata) -> dict[str, int]:
    """Ids of the tokens that stand for soft ones, looked up in the vocabulary."""
    wanted = {"<|image|>": "image_token_id", "<|audio|>": "audio_token_id", "<|video|>": "video_token_id"}
    tokens = cast(list[str], file.need("tokenizer.ggml.tokens"))
    return {wanted[token]: id_ for id_, token in enumerate(tokens) if token in wanted}


def completed(found: Mapping[str, Any], beside: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """What was found, and what only the settings beside it say. Raises CheckpointError where they contradict each other."""
    out = dict(beside)
    for key, value in found.items():
        other = beside.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            out[key] = completed(cast(Mapping[str, Any], value), cast(Mapping[str, Any], other), where)
        elif other is None or other == value:
            out[key] = value
        else:
            raise CheckpointError(
                f"{where} says {key} = {other!r}, the GGUF file {value!r}", "is it another model's? then move it away"
            )
    return out


def tokenizer_json(file: Metadata) -> bytes:
    """tokenizer.json: Gemma's byte-pair encoding over the file's tokens and merges. Raises CheckpointError.

    Source: transformers 5.23, `models/gemma/tokenization_gemma.py`.
    """
    if (kind := file.need("tokenizer.ggml.model")) != "gemma4":
        raise CheckpointError(f"{file.path} has a tokenizer of kind {kind!r}", "only Gemma 4's is supported")
    tokens = cast(list[str], file.need("tokenizer.ggml.tokens"))
    kinds = cast(list[int], file.need("tokenizer.ggml.token_type"))
    merges = [_pair(merge) for merge in cast(list[str], file.need("tokenizer.ggml.merges"))]
    vocab = {token: id_ for id_, token in enumerate(tokens)}
    unknown = next((token for token, kind in zip(tokens, kinds, strict=True) if kind == _UNKNOWN), "<unk>")
    try:
        model = models.BPE(vocab=vocab, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    except Exception as fault:
        raise CheckpointError(f"{file.path} has a broken vocabulary: {fault}", "fetch it again") from fault
    out: Any = Tokenizer(model)
    out.normalizer = normalizers.Replace(" ", "▁")
    out.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    out.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    out.add_tokens(
        [
            AddedToken(token, special=kind != _USER_DEFINED or _speaks_of_control(token), normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind in (_CONTROL, _USER_DEFINED, _UNKNOWN)
        ]
    )
    return out.to_str().encode()


def _pair(merge: str) -> tuple[str, str]:
    """Cut at the first space that is not the first letter, as llama.cpp does."""
    at = merge.find(" ", 1)
    return merge[:at], merge[at + 1 :]


def _speaks_of_control(token: str) -> bool:
    """Converters mark some control tokens as ordinary, so that programs show them."""
    return token.startswith("<|") or token.endswith("|>")
