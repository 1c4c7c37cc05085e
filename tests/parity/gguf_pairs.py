"""A small random Gemma 4 as a GGUF pair, and the same weights, restored, as a checkpoint folder.

Blocks are ggml's; the restored weights come from the `gguf` package, so nothing here rests on the code under test.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "bench" / "e2b")]

from gguf_files import audio_name, text_name
from shapes import FULL, SPECIAL, VOCAB, Shape, config, tensors, write_safetensors

Kind = gguf.GGMLQuantizationType
SHAPE = Shape(
    {"hidden_size": 256, "hidden_size_per_layer_input": 32},
    {"output_proj_dims": 64},
)
"""Every width is a whole number of blocks, the decoder's one of Q6_K's."""
VISIBLE = ["<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|channel>", "<channel|>", '<|"|>']
"""What converters mark as ordinary tokens."""
WORDS = ["▁", "a", "b", "ab", "▁ab", "t", "▁t", "é"]
MERGES = [("a", "b"), ("▁", "ab"), ("▁", "t")]
TEMPLATE = "{{ bos_token }}<|turn>user\n…<turn|>"
KINDS = {
    "token_embd.weight": "Q6_K",
    "per_layer_model_proj.weight": "BF16",
    "blk.0.ffn_gate.weight": "Q8_0",
    "blk.1.ffn_up.weight": "Q6_K",
    "blk.2.inp_gate.weight": "F16",
    "a.blk.0.attn_q.weight": "F16",
    "a.blk.1.ffn_up.weight": "BF16",
    "mm.a.input_projection.weight": "F32",
}
"""The other matrices of the decoder are Q4_0, of the projector Q8_0."""


@dataclass(frozen=True)
class Pair:
    decoder: Path
    projector: Path
    checkpoint: Path
    """The restored weights, in float32."""
    restored: dict[str, np.ndarray[Any, Any]]
    """They once more."""


def make_pair(
    folder: Path,
    shape: Shape = SHAPE,
    seed: int = 7,
    kinds: dict[str, str] | None = None,
    values: dict[str, np.ndarray[Any, Any]] | None = None,
) -> Pair:
    """`kinds` of some tensors, `values` other than random ones."""
    pair = Pair(folder / "files" / "model.gguf", folder / "files" / "mmproj-model.gguf", folder / "checkpoint", {})
    pair.decoder.parent.mkdir(parents=True)
    pair.checkpoint.mkdir()
    kinds, whole = KINDS if kinds is None else kinds, config(shape)
    decoder, projector = gguf.GGUFWriter(pair.decoder, "gemma4"), gguf.GGUFWriter(pair.projector, "clip")
    add_text_settings(decoder, whole["text_config"])
    add_tokens(decoder)
    add_audio_settings(projector, whole["audio_config"], whole["text_config"]["hidden_size"])
    random = np.random.default_rng(seed)
    for name, value in tensors(shape, seed) if values is None else values.items():
        hears = "audio" in name
        own = audio_name(name) if hears else text_name(name) if name != "lm_head.weight" else "output.weight"
        plain = value.ndim != 2 or "relative_k" in name
        kind = Kind[kinds.get(own, "F32" if plain else "Q8_0" if hears else "Q4_0")]
        raw = blocks(value, kind, random)
        back = gguf.dequantize(raw, kind).reshape(value.shape).astype(np.float32)
        pair.restored[name] = back
        if name.endswith("per_dim_scale"):
            raw = np.logaddexp(0, value).astype(np.float32)
        elif "depthwise" in name:
            raw = raw.reshape(value.shape[0], value.shape[2])
        writer = projector if hears else decoder
        writer.add_tensor(own, np.atleast_1d(raw), raw_dtype=kind)
    for writer in (decoder, projector):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    (pair.checkpoint / "config.json").write_text(json.dumps(whole))
    (pair.checkpoint / "tokenizer.json").write_text(tokenizer().to_str())
    write_safetensors(pair.checkpoint / "model.safetensors", list(pair.restored.items()), "F32")
    return pair


def blocks(value: np.ndarray[Any, Any], kind: Any, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """A tensor in blocks of this type. The package cannot write Q6_K: there the codes are random and only the spread is kept."""
    if kind != Kind.Q6_K:
        return gguf.quantize(value.astype(np.float32), kind)
    out = random.integers(0, 256, (len(value), value.shape[1] // 256, 210), np.uint8)
    out[..., 192:208] = random.integers(-128, 128, (*out.shape[:2], 16)).astype(np.int8).view(np.uint8)
    step = value.std() / (18.5 * 74)
    out[..., 208:] = (step * random.uniform(0.5, 1.5, (*out.shape[:2], 1))).astype(np.float16).view(np.uint8)
    return out.reshape(len(value), -1)


def add_text_settings(writer: Any, text: dict[str, Any]) -> None:
    """As llama.cpp's `conversion/gemma.py` writes them."""
    layers, shared = text["num_hidden_layers"], text["num_kv_shared_layers"]
    full = [kind == FULL for kind in text["layer_types"]]
    integers = {
        "context_length": text["max_position_embeddings"],
        "embedding_length": text["hidden_size"],
        "embedding_length_per_layer_input": text["hidden_size_per_layer_input"],
        "block_count": layers,
        "attention.head_count": text["num_attention_heads"],
        "attention.key_length": text["global_head_dim"],
        "attention.value_length": text["global_head_dim"],
        "attention.key_length_swa": text["head_dim"],
        "attention.value_length_swa": text["head_dim"],
        "attention.sliding_window": text["sliding_window"],
        "attention.shared_kv_layers": shared,
        "rope.dimension_count": text["global_head_dim"],
        "rope.dimension_count_swa": text["head_dim"],
    }
    for key, value in integers.items():
        writer.add_uint32(f"gemma4.{key}", value)
    numbers = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 1e6, "rope.freq_base_swa": 1e4}
    if text["final_logit_softcapping"] is not None:
        numbers["final_logit_softcapping"] = text["final_logit_softcapping"]
    for key, value in numbers.items():
        writer.add_float32(f"gemma4.{key}", value)
    heads, wide = text["num_key_value_heads"], text.get("num_global_key_value_heads")
    if text.get("attention_k_eq_v"):
        writer.add_array("gemma4.attention.head_count_kv", [wide if one else heads for one in full])
    else:
        writer.add_uint32("gemma4.attention.head_count_kv", heads)
    mlp = text["intermediate_size"]
    if text["use_double_wide_mlp"]:
        writer.add_array("gemma4.feed_forward_length", [mlp * (2 if i >= layers - shared else 1) for i in range(layers)])
    else:
        writer.add_uint32("gemma4.feed_forward_length", mlp)
    writer.add_array("gemma4.attention.sliding_window_pattern", [not one for one in full])
    half = text["global_head_dim"] // 2
    writer.add_tensor("rope_freqs.weight", np.array([1.0] * (half // 4) + [1e30] * (half - half // 4), np.float32))


def vocabulary(size: int = VOCAB) -> list[str]:
    """As many tokens as are wanted: those beyond the words no merge leads to."""
    known = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    return [*known, *(f"▁{i}" for i in range(size - len(known)))]


def add_tokens(writer: Any, size: int = VOCAB) -> None:
    tokens, kind = vocabulary(size), gguf.TokenType
    assert len(tokens) == size
    kinds = [kind.USER_DEFINED if token in VISIBLE else kind.CONTROL for token in SPECIAL]
    kinds[SPECIAL.index("<unk>")] = kind.UNKNOWN
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * len(tokens))
    writer.add_token_types([*kinds, *[kind.BYTE] * 256, *[kind.NORMAL] * (size - len(SPECIAL) - 256)])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    for key, name in {"padding": "<pad>", "eos": "<eos>", "bos": "<bos>", "unknown": "<unk>"}.items():
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", SPECIAL.index(name))
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def add_audio_settings(writer: Any, audio: dict[str, Any], text_hidden: int) -> None:
    writer.add_bool("clip.has_vision_encoder", False)
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.audio.projector_type", "gemma4a")
    integers = {
        "embedding_length": audio["hidden_size"],
        "feed_forward_length": 4 * audio["hidden_size"],
        "block_count": audio["num_hidden_layers"],
        "projection_dim": text_hidden,
        "attention.head_count": audio["num_attention_heads"],
        "num_mel_bins": 128,
    }
    for key, value in integers.items():
        writer.add_uint32(f"clip.audio.{key}", value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)  # as wrong as in published files


def tokenizer() -> Tokenizer:
    """What a published tokenizer.json with these tokens is. Source: transformers 5.23, `tokenization_gemma.py`."""
    vocab = {token: i for i, token in enumerate(vocabulary())}
    out = Tokenizer(models.BPE(vocab=vocab, merges=MERGES, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    out.normalizer = normalizers.Replace(" ", "▁")
    out.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    out.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    out.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return out
