"""pocket's forward pass as a few fused functions, for training on a CPU: exactly transformers', and several times as fast.

transformers' modules are general: masks, clipping at infinity, position tables and casts are made anew for every call, and each
small operation reads and writes all of its input. Here the weights stay where they are, in a transformers model, and the layers
are plain functions of them that `torch.compile` fuses; products run in bfloat16. What is left out is exact for training rows:

- everything is causal, so padding at the end of a row changes nothing before it, and needs no mask;
- the layers that read keys and values of others are run only where logits are wanted;
- rows are shorter than the sliding window.

The first convolution is not trained: 3x3 patches through 128 random filters lose nothing. `python quick.py CHECKPOINT` holds the
whole against transformers in float32.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

EPS = 1e-6
TOLERANCE = 1e-3
"""Of logits in float32; found: 2e-5."""
CHUNK = BEHIND = 12
"""Tokens in a block of the tower's attention, and in the block before: a token sees CHUNK - 1 back in these two."""


def linear(hidden: Tensor, weight: Tensor) -> Tensor:
    """Multiply in the type of the input."""
    return F.linear(hidden, weight.to(hidden.dtype))


def norm(hidden: Tensor, weight: Tensor | None = None) -> Tensor:
    """Root mean square norm over the last axis, in float32."""
    wide = hidden.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS)
    return (wide if weight is None else wide * weight).to(hidden.dtype)


# ---- the audio tower ----


class Forward(NamedTuple):
    """Weights of half a feed-forward step."""

    before: Tensor
    up: Tensor
    down: Tensor
    after: Tensor


class Conformer(NamedTuple):
    """Weights of one layer of the tower."""

    first: Forward
    before: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    place: Tensor
    scale: Tensor
    post: Tensor
    after: Tensor
    convolution_before: Tensor
    start: Tensor
    depthwise: Tensor
    convolution_norm: Tensor
    end: Tensor
    second: Forward
    out: Tensor


def conformer_weights(layer: nn.Module) -> Conformer:
    """Return a layer's weights; the tensors are the model's own."""

    def half(part: nn.Module) -> Forward:
        up, down = part.ffw_layer_1.linear.weight, part.ffw_layer_2.linear.weight
        return Forward(part.pre_layer_norm.weight, up, down, part.post_layer_norm.weight)

    attention, convolution = layer.self_attn, layer.lconv1d
    return Conformer(
        half(layer.feed_forward1),
        layer.norm_pre_attn.weight,
        attention.q_proj.linear.weight,
        attention.k_proj.linear.weight,
        attention.v_proj.linear.weight,
        attention.relative_k_proj.weight,
        attention.per_dim_scale,
        attention.post.linear.weight,
        layer.norm_post_attn.weight,
        convolution.pre_layer_norm.weight,
        convolution.linear_start.linear.weight,
        convolution.depthwise_conv1d.weight,
        convolution.conv_norm.weight,
        convolution.linear_end.linear.weight,
        half(layer.feed_forward2),
        layer.norm_out.weight,
    )


def half_step(weights: Forward, hidden: Tensor) -> Tensor:
    """Return the input and half of what the feed-forward step makes of it."""
    inner = F.silu(linear(norm(hidden, weights.before), weights.up))
    return hidden + 0.5 * norm(linear(inner, weights.down), weights.after)


def hear(weights: Conformer, hidden: Tensor, places: Tensor, cap: float) -> Tensor:
    """Attend to the token itself and CHUNK - 1 before it: [clips, tokens, width], tokens a multiple of CHUNK."""
    clips, tokens, width = hidden.shape
    size = len(weights.scale)
    heads, blocks = width // size, tokens // CHUNK
    split = (clips, blocks, CHUNK, heads, size)

    def around(part: Tensor) -> Tensor:  # [clips, heads, blocks, BEHIND + CHUNK, size]
        block = part.view(split).permute(0, 3, 1, 2, 4)
        return torch.cat([F.pad(block[:, :, :-1], (0, 0, 0, 0, 1, 0)), block], 3)

    query = linear(hidden, weights.query).view(split).permute(0, 3, 1, 2, 4)
    query = query * (size**-0.5 / math.log(2) * F.softplus(weights.scale)).to(query.dtype)
    key = around(linear(hidden, weights.key) * (math.log(1 + math.e) / math.log(2)))
    value = around(linear(hidden, weights.value))
    place = linear(places.to(hidden.dtype), weights.place).view(-1, heads, size)  # of BEHIND, BEHIND - 1, ... 0 tokens back
    by_place = torch.einsum("bhncd,phd->bhncp", query, place)
    by_place = F.pad(by_place, (0, CHUNK)).flatten(3)[..., : CHUNK * (BEHIND + CHUNK)].unflatten(3, (CHUNK, BEHIND + CHUNK))
    scores = (query @ key.transpose(3, 4) + by_place).float()
    scores = cap * torch.tanh(scores / cap)
    own, other = torch.arange(CHUNK)[:, None] + BEHIND, torch.arange(BEHIND + CHUNK)
    near = (other <= own) & (other > own - CHUNK)
    first = (torch.arange(blocks)[:, None, None] > 0) | (other >= BEHIND)
    share = scores.masked_fill(~(near & first), -1e9).softmax(-1).to(hidden.dtype)
    heard = (share @ value).permute(0, 2, 3, 1, 4).reshape(clips, tokens, width)
    return linear(heard, weights.post)


def conformer(weights: Conformer, hidden: Tensor, places: Tensor, cap: float) -> Tensor:
    """One layer of the tower."""
    hidden = half_step(weights.first, hidden)
    hidden = hidden + norm(hear(weights, norm(hidden, weights.before), places, cap), weights.after)
    inner = F.glu(linear(norm(hidden, weights.convolution_before), weights.start), -1)
    taps = weights.depthwise.shape[-1]
    padded = F.pad(inner, (0, 0, taps - 1, 0))
    kernel = weights.depthwise[:, 0].to(inner.dtype)
    inner = sum(padded[:, tap : tap + inner.shape[1]] * kernel[:, tap] for tap in range(taps))
    hidden = hidden + linear(F.silu(norm(inner, weights.convolution_norm)), weights.end)
    return norm(half_step(weights.second, hidden), weights.out)


def first_convolution(weight: Tensor, mel: Tensor) -> Tensor:
    """[clips, frames, bins] -> [clips, frames / 2, bins / 2, channels]; its scale is one, and it is not trained."""
    filters = weight.flatten(1)
    filters = filters - filters.mean(0)  # the mean over channels, which the norm takes away, is zero
    padded, (_, frames, bins) = F.pad(mel, (1, 1, 1, 1)), mel.shape
    patches = [padded[:, row : row + frames : 2, at : at + bins : 2] for row in range(3) for at in range(3)]
    hidden = torch.stack(patches, -1) @ filters.T.to(mel.dtype)
    size = hidden.float().square().mean(-1, keepdim=True)
    return (F.relu(hidden) * torch.rsqrt(size + EPS)).to(mel.dtype)


def second_convolution(weight: Tensor, scale: Tensor, projection: Tensor, hidden: Tensor) -> Tensor:
    """[clips, frames / 2, bins / 2, channels] -> [clips, tokens, width]."""
    weight = weight.to(hidden.dtype).contiguous(memory_format=torch.channels_last)
    hidden = F.conv2d(hidden.permute(0, 3, 1, 2), weight, stride=2, padding=1).permute(0, 2, 3, 1)
    hidden = F.relu(F.layer_norm(hidden.float(), hidden.shape[-1:], scale, eps=EPS)).to(hidden.dtype)
    return linear(hidden.flatten(2), projection)


# ---- the decoder ----


class Layer(NamedTuple):
    """Weights of one decoder layer; those that make keys and values are None in a layer that reads another's."""

    before: Tensor
    query: Tensor
    query_norm: Tensor
    key: Tensor | None
    key_norm: Tensor | None
    value: Tensor | None
    out: Tensor
    after: Tensor
    before_mlp: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    after_mlp: Tensor
    own_gate: Tensor
    own_projection: Tensor
    own_norm: Tensor
    scalar: Tensor


def layer_weights(layer: nn.Module) -> Layer:
    """Return a layer's weights; the tensors are the model's own."""
    attention, mlp = layer.self_attn, layer.mlp
    shared = attention.is_kv_shared_layer
    return Layer(
        layer.input_layernorm.weight,
        attention.q_proj.weight,
        attention.q_norm.weight,
        None if shared else attention.k_proj.weight,
        None if shared else attention.k_norm.weight,
        None if shared else attention.v_proj.weight,
        attention.o_proj.weight,
        layer.post_attention_layernorm.weight,
        layer.pre_feedforward_layernorm.weight,
        mlp.gate_proj.weight,
        mlp.up_proj.weight,
        mlp.down_proj.weight,
        layer.post_feedforward_layernorm.weight,
        layer.per_layer_input_gate.weight,
        layer.per_layer_projection.weight,
        layer.post_per_layer_input_norm.weight,
        layer.layer_scalar,
    )


def turn(hidden: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: hidden [rows, heads, positions, size], cosines and sines of the same positions and size."""
    half = hidden.shape[-1] // 2
    turned = torch.cat([-hidden[..., half:], hidden[..., :half]], -1)
    return (hidden * turns[0] + turned * turns[1]).to(hidden.dtype)


def keys_and_values(weights: Layer, hidden: Tensor, turns: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return [rows, 1, positions, size] each, of a layer's normed input."""
    assert weights.key is not None
    assert weights.value is not None
    key = turn(norm(linear(hidden, weights.key), weights.key_norm)[:, None], turns)
    return key, norm(linear(hidden, weights.value))[:, None]


def attend(weights: Layer, hidden: Tensor, pair: tuple[Tensor, Tensor], turns: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
    """Attention to one head of keys and values, the pair: hidden [rows, n, width], seen [rows or 1, 1, n, positions]."""
    key, value = pair
    size = len(weights.query_norm)
    query = linear(hidden, weights.query).unflatten(2, (-1, size))
    query = turn(norm(query, weights.query_norm).transpose(1, 2), turns)
    scores = (query @ key.transpose(2, 3)).float().masked_fill(~seen, -1e9)
    heard = scores.softmax(-1).to(hidden.dtype) @ value
    return linear(heard.transpose(1, 2).flatten(2), weights.out)


def rest(weights: Layer, hidden: Tensor, heard: Tensor, own: Tensor) -> Tensor:
    """What follows the attention: own [rows, n, size] is the layer's own embedding."""
    hidden = hidden + norm(heard, weights.after)
    inner = norm(hidden, weights.before_mlp)
    inner = F.gelu(linear(inner, weights.gate), approximate="tanh") * linear(inner, weights.up)
    hidden = hidden + norm(linear(inner, weights.down), weights.after_mlp)
    inner = F.gelu(linear(hidden, weights.own_gate), approximate="tanh") * own
    return (hidden + norm(linear(inner, weights.own_projection), weights.own_norm)) * weights.scalar.to(hidden.dtype)


def lower(
    weights: Layer, hidden: Tensor, own: Tensor, turns: tuple[Tensor, Tensor], seen: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A layer that makes keys and values: its output and these."""
    normed = norm(hidden, weights.before)
    pair = keys_and_values(weights, normed, turns)
    return rest(weights, hidden, attend(weights, normed, pair, turns, seen), own), pair


def upper(  # noqa: PLR0917 - the compiler takes them one by one
    weights: Layer,
    hidden: Tensor,
    own: Tensor,
    pair: tuple[Tensor, Tensor],
    turns: tuple[Tensor, Tensor],
    seen: Tensor,
) -> Tensor:
    """A layer that reads another's keys and values."""
    return rest(weights, hidden, attend(weights, norm(hidden, weights.before), pair, turns, seen), own)


class Quick:
    """A transformers model's weights behind the functions above."""

    def __init__(self, model: nn.Module, fuse: bool = True, dtype: torch.dtype = torch.bfloat16) -> None:
        """`fuse` compiles the functions, which takes a minute or two at the first shapes."""
        inner = model.model
        self.audio, self.text, self.embed = inner.audio_tower, inner.language_model, inner.embed_audio
        self.dtype, self.width = dtype, self.text.config.hidden_size
        self.places = self.audio.rel_pos_enc(torch.zeros(1, 1, self.audio.config.hidden_size))
        self.cap = self.audio.config.attention_logit_cap
        self.kinds = self.text.config.layer_types
        self.first_shared = self.text.first_kv_shared_layer_idx
        for weight in self.audio.subsample_conv_projection.layer0.parameters():
            weight.requires_grad_(False)
        compiled = (lambda function: torch.compile(function, dynamic=True)) if fuse else (lambda function: function)
        self.first_convolution = compiled(first_convolution)
        self.conformer, self.lower, self.upper = compiled(conformer), compiled(lower), compiled(upper)

    def tower(self, mel: Tensor) -> Tensor:
        """float32 [clips, frames, bins] -> the last layer's output [clips, tokens, width]; frames a multiple of 4 * CHUNK."""
        front = self.audio.subsample_conv_projection
        with torch.no_grad():
            hidden = self.first_convolution(front.layer0.conv.weight, mel.to(self.dtype))
        hidden = second_convolution(front.layer1.conv.weight, front.layer1.norm.weight, front.input_proj_linear.weight, hidden)
        for layer in self.audio.layers:
            hidden = self.conformer(conformer_weights(layer), hidden, self.places, self.cap)
        return hidden

    def soft_tokens(self, hidden: Tensor) -> Tensor:
        """The tower's last layer -> what the decoder takes for a token's embedding."""
        out = self.audio.output_proj
        projected = F.linear(hidden, out.weight.to(hidden.dtype), out.bias.to(hidden.dtype))
        return linear(norm(projected), self.embed.embedding_projection.weight)

    def turns(self, positions: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Cosines and sines of all positions, by kind of layer: [positions, size] each."""
        at = torch.arange(positions)[None]
        made = {kind: self.text.rotary_emb(torch.zeros(1), at, kind) for kind in set(self.kinds)}
        return {kind: (cosines[0].to(self.dtype), sines[0].to(self.dtype)) for kind, (cosines, sines) in made.items()}

    def logits(self, ids: Tensor, heard: Tensor, soft: Tensor, kept: Tensor) -> Tensor:
        """Scores of the next token, capped, float32 [rows, n, vocabulary].

        ids [rows, positions], the padding token where soft tokens stand; heard bool [rows, positions], where they do; soft
        [soft tokens, width], in order; kept [rows, n], the positions whose scores are wanted.
        """
        text, config = self.text, self.text.config
        rows, positions = ids.shape
        hidden = (F.embedding(ids, text.embed_tokens.weight) * math.sqrt(config.hidden_size)).to(self.dtype)
        hidden = hidden.masked_scatter(heard[..., None], soft.to(self.dtype))
        size = config.hidden_size_per_layer_input
        own = F.embedding(ids, text.embed_tokens_per_layer.weight).unflatten(2, (-1, size)) * math.sqrt(size)
        projected = linear(hidden, text.per_layer_model_projection.weight).unflatten(2, (-1, size)) * config.hidden_size**-0.5
        own = ((norm(projected, text.per_layer_projection_norm.weight) + own) * 0.5**0.5).to(self.dtype)
        turns = self.turns(positions)
        seen = torch.ones(positions, positions, dtype=torch.bool).tril()[None, None]
        made: dict[str, tuple[Tensor, Tensor]] = {}
        for number, layer in enumerate(text.layers[: self.first_shared]):
            kind = self.kinds[number]
            hidden, made[kind] = self.lower(layer_weights(layer), hidden, own[:, :, number], turns[kind], seen)
        row = torch.arange(rows)[:, None]
        hidden, own = hidden[row, kept], own[row, kept]
        seen = (kept[:, :, None] >= torch.arange(positions))[:, None]
        for number, layer in enumerate(text.layers[self.first_shared :], self.first_shared):
            kind = self.kinds[number]
            at = (turns[kind][0][kept][:, None], turns[kind][1][kept][:, None])
            hidden = self.upper(layer_weights(layer), hidden, own[:, :, number], made[kind], at, seen)
        scores = linear(norm(hidden, text.norm.weight), text.embed_tokens.weight).float()
        cap = config.final_logit_softcapping
        return cap * torch.tanh(scores / cap)


@torch.no_grad()
def check(folder: Path) -> None:
    """Hold it against transformers, in float32, over rows of different lengths; exits with 1 where they differ."""
    from transformers import Gemma4ForConditionalGeneration

    model = Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    quick = Quick(model, fuse=False, dtype=torch.float32)
    torch.manual_seed(0)
    audio, pad = model.config.audio_token_id, 0
    sizes = [37, 60, 12]
    frames = 4 * 60
    mel, mask = torch.zeros(len(sizes), frames, 128), torch.zeros(len(sizes), frames, dtype=torch.bool)
    ids = torch.full((len(sizes), 90), pad)
    for row, size in enumerate(sizes):
        mel[row, : 4 * size], mask[row, : 4 * size] = torch.randn(4 * size, 128) - 3, True
        tokens = [*torch.randint(30, 600, (7,)).tolist(), *[audio] * size, *torch.randint(30, 600, (90 - 7 - size,)).tolist()]
        ids[row] = torch.tensor(tokens)
    kept = torch.stack([torch.arange(60, 80)] * len(sizes))
    theirs = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=(ids == audio).long() * 3,
        input_features=mel, input_features_mask=mask, use_cache=False,
    ).logits  # fmt: skip
    heard = ids == audio
    hidden = quick.tower(mel)
    soft = torch.cat([quick.soft_tokens(hidden)[row, :size] for row, size in enumerate(sizes)])
    ours = quick.logits(ids.masked_fill(heard, pad), heard, soft, kept)
    wanted = theirs[torch.arange(len(sizes))[:, None], kept]
    worst = (ours - wanted).abs().max().item()
    print(f"quick: logits differ by at most {worst:.1e} of {wanted.abs().max():.1f}")
    sys.exit(int(not worst < TOLERANCE))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    check(parser.parse_args().checkpoint)
