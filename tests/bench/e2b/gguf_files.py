"""The same shape for llama.cpp: a decoder in Q4_0 and an audio encoder in Q8_0, random blocks. Runs in the peer's environment.

Every matrix is Q4_0, the embedding that is also the head and the per-layer table included; published files keep some of them in
more bits and read more. Names and keys: llama.cpp, `conversion/gemma.py` and `tools/mtmd/clip-impl.h`.
"""

import re
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import shape
from numpy.typing import NDArray

Q4, Q8 = gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0
BLOCK = 32
TEXT_NAMES = {
    "embed_tokens": "token_embd",
    "embed_tokens_per_layer": "per_layer_token_embd",
    "per_layer_model_projection": "per_layer_model_proj",
    "per_layer_projection_norm": "per_layer_proj_norm",
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "per_layer_input_gate": "inp_gate",
    "per_layer_projection": "proj",
    "post_per_layer_input_norm": "post_norm",
    "layer_scalar": "layer_output_scale",
}
AUDIO_NAMES = {
    "subsample_conv_projection.layer0.conv": "a.conv1d.0",
    "subsample_conv_projection.layer1.conv": "a.conv1d.1",
    "subsample_conv_projection.layer0.norm": "a.conv1d.0.norm",
    "subsample_conv_projection.layer1.norm": "a.conv1d.1.norm",
    "subsample_conv_projection.input_proj_linear": "a.input_projection",
    "output_proj": "a.pre_encode.out",
    "embedding_projection": "mm.a.input_projection",
    "feed_forward1.pre_layer_norm": "ffn_norm",
    "feed_forward1.post_layer_norm": "ffn_post_norm",
    "feed_forward1.ffw_layer_1": "ffn_up",
    "feed_forward1.ffw_layer_2": "ffn_down",
    "feed_forward2.pre_layer_norm": "ffn_norm_1",
    "feed_forward2.post_layer_norm": "ffn_post_norm_1",
    "feed_forward2.ffw_layer_1": "ffn_up_1",
    "feed_forward2.ffw_layer_2": "ffn_down_1",
    "norm_pre_attn": "attn_pre_norm",
    "norm_post_attn": "attn_post_norm",
    "norm_out": "ln2",
    "lconv1d.pre_layer_norm": "conv_norm",  # llama.cpp's files have these two the other way round
    "lconv1d.conv_norm": "norm_conv",
    "lconv1d.linear_start": "conv_pw1",
    "lconv1d.linear_end": "conv_pw2",
    "lconv1d.depthwise_conv1d": "conv_dw",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.post": "attn_out",
    "self_attn.relative_k_proj": "attn_k_rel",
    "self_attn.per_dim_scale": "per_dim_scale",
}
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|audio>", "<audio|>", "<|tool_response>"]


def text_name(name: str) -> str:
    name = name.removeprefix("model.language_model.").removesuffix(".weight")
    layer = re.fullmatch(r"layers\.(\d+)\.(.+)", name)
    return f"blk.{layer[1]}.{TEXT_NAMES[layer[2]]}.weight" if layer else f"{TEXT_NAMES[name]}.weight"


def audio_name(name: str) -> str:
    name = name.removeprefix("model.audio_tower.").removeprefix("model.embed_audio.").replace(".linear.", ".")
    body, dot, end = name.rpartition(".")
    if end == "per_dim_scale":
        body, dot, end = name, ".", "weight"
    layer = re.fullmatch(r"layers\.(\d+)\.(.+)", body)
    return f"a.blk.{layer[1]}.{AUDIO_NAMES[layer[2]]}{dot}{end}" if layer else f"{AUDIO_NAMES[body]}{dot}{end}"


def random_blocks(dims: tuple[int, ...], kind: Any) -> NDArray[np.uint8]:
    """Random codes under one scale that gives weights of the standard deviation 1 / √inputs. Shape [rows, bytes of a row]."""
    rows, inputs = dims
    size = 2 + (BLOCK // 2 if kind == Q4 else BLOCK)
    random, step = np.random.default_rng(0), max(1, (1 << 22) // inputs)
    tile = random.integers(0, 256, (min(rows, step), inputs // BLOCK, size), np.uint8)
    spread = 4.6 if kind == Q4 else 73.9  # of codes that are equally likely
    tile[..., :2] = np.array([inputs**-0.5 / spread], np.float16).view(np.uint8)
    out = np.empty((rows, inputs // BLOCK * size), np.uint8)
    for begin in range(0, rows, step):
        out[begin : begin + step] = tile[: rows - begin].reshape(-1, out.shape[1])
    return out


def add(writer: Any, name: str, dims: tuple[int, ...], kind: Any) -> None:
    if len(dims) == 2 and "conv_dw" not in name:
        writer.add_tensor(name, random_blocks(dims, kind), raw_dtype=kind)
    elif not dims:
        writer.add_tensor(name, np.array([-6.0 if name.endswith("min") else 6.0], np.float32))
    elif len(dims) == 1:
        writer.add_tensor(name, np.ones(dims, np.float32))
    else:
        values = np.random.default_rng(0).standard_normal(dims, np.float32) / np.sqrt(np.prod(dims[1:]))
        values = values.reshape(dims[0], dims[2]) if "conv_dw" in name else values
        writer.add_tensor(name, values.astype(np.float32))


def write(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(writer: Any) -> None:
    """Control tokens, bytes, and as many tokens as there must be."""
    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.BYTE] * 256
    rest = shape.TEXT["vocab_size"] - len(names)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*names, *(f"▁t{i}" for i in range(rest))])
    writer.add_token_scores([0.0] * len(names) + [-float(i) for i in range(rest)])
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * rest])
    for key, name in {"padding": "<pad>", "eos": "<eos>", "bos": "<bos>", "unknown": "<unk>"}.items():
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", SPECIAL.index(name))
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def write_decoder(path: Path) -> None:
    text, writer = shape.TEXT, gguf.GGUFWriter(path, "gemma4", use_temp_file=False)
    layers = range(text["num_hidden_layers"])
    integers = {
        "context_length": text["max_position_embeddings"],
        "embedding_length": text["hidden_size"],
        "embedding_length_per_layer_input": text["hidden_size_per_layer_input"],
        "block_count": len(layers),
        "attention.head_count": text["num_attention_heads"],
        "attention.head_count_kv": text["num_key_value_heads"],
        "attention.key_length": text["global_head_dim"],
        "attention.value_length": text["global_head_dim"],
        "attention.key_length_swa": text["head_dim"],
        "attention.value_length_swa": text["head_dim"],
        "attention.sliding_window": text["sliding_window"],
        "attention.shared_kv_layers": text["num_kv_shared_layers"],
        "rope.dimension_count": text["global_head_dim"],
        "rope.dimension_count_swa": text["head_dim"],
    }
    numbers = {
        "attention.layer_norm_rms_epsilon": 1e-6,
        "final_logit_softcapping": text["final_logit_softcapping"],
        "rope.freq_base": 1e6,
        "rope.freq_base_swa": 1e4,
    }
    for key, value in integers.items():
        writer.add_uint32(f"gemma4.{key}", value)
    for key, value in numbers.items():
        writer.add_float32(f"gemma4.{key}", value)
    writer.add_array("gemma4.feed_forward_length", [shape.mlp(i) for i in layers])
    writer.add_array("gemma4.attention.sliding_window_pattern", [not shape.is_full(i) for i in layers])
    add_vocabulary(writer)
    half = text["global_head_dim"] // 2
    writer.add_tensor("rope_freqs.weight", np.array([1.0] * (half // 4) + [1e30] * (half - half // 4), np.float32))
    for name, dims in shape.text_tensors():
        add(writer, text_name(name), dims, Q4)
    write(writer)


def write_encoder(path: Path) -> None:
    audio, writer = shape.AUDIO, gguf.GGUFWriter(path, "clip", use_temp_file=False)
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.audio.projector_type", "gemma4a")
    integers = {
        "embedding_length": audio["hidden_size"],
        "feed_forward_length": 4 * audio["hidden_size"],
        "block_count": audio["num_hidden_layers"],
        "projection_dim": shape.TEXT["hidden_size"],
        "attention.head_count": audio["num_attention_heads"],
        "num_mel_bins": shape.MEL_BINS,
    }
    for key, value in integers.items():
        writer.add_uint32(f"clip.audio.{key}", value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-6)
    for name, dims in shape.audio_tensors():
        add(writer, audio_name(name), dims, Q8)
    write(writer)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, write_file in (("decoder.gguf", write_decoder), ("encoder.gguf", write_encoder)):
        if not (folder / name).exists():
            part = folder / f".{name}.part"
            write_file(part)
            part.rename(folder / name)


if __name__ == "__main__":
    main()
