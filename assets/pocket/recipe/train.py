"""Train pocket, a Gemma 4 with audio input small enough for one CPU core to train, on the feature shards of speech.py.

It starts from a tower that has been warmed up (aligned.py), goes on with the tower alone on all voices, and then trains
everything, with phonemes as a side loss. Schedules run on the clock, not on steps, and the shard folder is read again
every two minutes, so synthesis can go on beside training. Rows of joint training are conversations of one to three
turns. The phoneme head is saved beside the model (ctc.pt) and is not part of it.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import alter
import numpy as np
import quick
import repertoire
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from phonemes import Phonemes
from torch import Tensor, nn

T = TypeVar("T")
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
USER, MODEL = "<|turn>user\n<|audio>", "<audio|><turn|>\n<|turn>model\n"
RESPONSE, END = "<|tool_response>", "<turn|>"
ARGUMENT_WEIGHT, SENTENCE_WEIGHT = 3.0, 0.5
LONGEST_FRAMES = 640
SHARES = {"kokoro": 0.41, "espeak": 0.14, "flite": 0.22, "piper": 0.06, "pico": 0.07, "festival": 0.04, "negative": 0.06}
"""How much of a batch comes from each kind of shard, whatever their sizes."""
INTENT_SHARES = {
    "foreign": 0.19,
    "question": 0.12,
    "timer": 0.1,
    "brightness": 0.05,
    "volume": 0.05,
    "alarm": 0.07,
    "add_time": 0.04,
}
"""How much of each kind's clips; all other intents share the rest evenly, or the numbers, drawn often, drown them.

`question` is of speech outside the repertoire what asks about its things.
"""
LEAST_DRAWN, NOT_YET_HEARD = 0.1, 0.3
"""Clips of one intent are drawn in proportion to this and how unsure the model last was of them (compare Schaul et al. 2016,
arXiv:1511.05952): most are known after one hearing, and a clip that is not is worth many of these."""


# ---- model and tokenizer ----


def make_tokenizer(vocab: int):  # noqa: ANN201 - a transformers class
    """Return a small byte-level BPE with Gemma 4's special tokens, one token for each digit."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    rng, lines = random.Random(0), ["user\n", "model\n", "system\n"] * 50
    for _ in range(8000):
        one = repertoire.request(rng)
        lines += [one.answer, *(repertoire.respond(rng, one.answer) or ())]
    lines += [repertoire.REJECT, repertoire.NOTHING_SAID] * 50
    pieces = [piece for line in lines for piece in re.split(r"<\|?[a-z_\"]+\|?>", line) if piece]
    tokenizer.train_from_iterator(
        pieces,
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "image_token": "<|image|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
            "audio_token": "<|audio|>",
            "sot_token": "<|turn>",
            "eot_token": "<turn|>",
            "stc_token": "<|tool_call>",
            "etc_token": "<tool_call|>",
            "str_token": "<|tool_response>",
            "etr_token": "<tool_response|>",
            "std_token": "<|tool>",
            "etd_token": "<tool|>",
            "escape_token": '<|"|>',
            "soc_token": "<|channel>",
            "eoc_token": "<channel|>",
            "think_token": "<|think|>",
        },
    )


def make_model(tokenizer, args: argparse.Namespace):  # noqa: ANN001, ANN201
    """Return a random model. Every matrix has an input size that is a multiple of 32, for the exporter's blocks."""
    from transformers import (
        Gemma4AudioConfig,
        Gemma4Config,
        Gemma4ForConditionalGeneration,
        Gemma4TextConfig,
        GenerationConfig,
    )

    token = tokenizer.convert_tokens_to_ids
    text = Gemma4TextConfig(
        vocab_size=len(tokenizer),
        vocab_size_per_layer_input=len(tokenizer),
        hidden_size=args.hidden,
        intermediate_size=2 * args.hidden,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,
        global_head_dim=64,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=3,
        sliding_window=512,
        use_double_wide_mlp=True,
        hidden_size_per_layer_input=32,
        final_logit_softcapping=30.0,
        max_position_embeddings=4096,
        initializer_range=args.init,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    audio = Gemma4AudioConfig(
        hidden_size=args.tower,
        num_hidden_layers=args.layers,
        num_attention_heads=4,
        output_proj_dims=args.projection,
        subsampling_conv_channels=[128, args.channels],
        initializer_range=args.init,
    )
    model = Gemma4ForConditionalGeneration(
        Gemma4Config(
            text_config=text,
            audio_config=audio,
            vision_config=None,
            initializer_range=args.init,
            boi_token_id=token("<|image>"),
            eoi_token_id=token("<image|>"),
            image_token_id=token("<|image|>"),
            video_token_id=token("<|video|>"),
            boa_token_id=token("<|audio>"),
            eoa_token_index=token("<audio|>"),
            audio_token_id=token("<|audio|>"),
        )
    ).float()
    model.generation_config = GenerationConfig(
        bos_token_id=2, eos_token_id=[1, token(END), token(RESPONSE)], pad_token_id=0, do_sample=False
    )
    return model


def deepen(model: nn.Module, after: list[int]) -> None:
    """Follow these layers of the tower, from 0, with copies that at first change next to nothing.

    A layer ends with a norm: the copy's has one weight everywhere, the mean size of those before it, and keeps its input.
    """
    tower = model.model.audio_tower
    if strange := set(after) - set(range(len(tower.layers))):
        raise SystemExit(f"--deepen {min(strange)}: the tower has layers 0 to {len(tower.layers) - 1}")
    layers: list[nn.Module] = []
    for number, layer in enumerate(tower.layers):
        layers.append(layer)
        if number in after:
            layers.append(quiet := copy.deepcopy(layer))
            for part in (quiet.feed_forward1, quiet.feed_forward2):
                part.post_layer_norm.weight.data *= 0.1
            quiet.norm_post_attn.weight.data *= 0.1
            quiet.lconv1d.linear_end.linear.weight.data *= 0.1
            quiet.norm_out.weight.data[:] = layer.norm_out.weight.data.square().mean().sqrt()
    tower.layers = nn.ModuleList(layers)
    tower.config.num_hidden_layers = len(layers)


def store(out: Path, model: nn.Module, tokenizer, head: nn.Linear, names: list[str]) -> None:  # noqa: ANN001
    """Write a checkpoint as transformers does, and the phoneme head beside it."""
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    Gemma4AudioFeatureExtractor(fft_overdrive=False).save_pretrained(out)
    torch.save({"head": head.state_dict(), "names": names}, out / "ctc.pt")


# ---- data ----


@dataclass
class Clip:
    """One augmented utterance."""

    mel: np.ndarray
    """float16 [frames, 128]"""
    meta: dict[str, str]
    unsure: float = NOT_YET_HEARD
    """One less the probability of the right answer when it was last heard, or nearly."""

    @property
    def weight(self) -> float:
        """How often it is drawn, beside others of its shelf."""
        return LEAST_DRAWN + self.unsure

    def heard(self, right: float) -> None:
        """Remember the right answer's probability; once is not enough to forget the times before."""
        self.unsure += 0.7 * (1 - right - self.unsure)

    @property
    def tokens(self) -> int:
        return len(self.mel) // 4

    @property
    def shelf(self) -> str:
        """Its intent, for INTENT_SHARES."""
        return "question" if self.meta["intent"] == "foreign" and repertoire.asks(self.meta["text"]) else self.meta["intent"]


@dataclass
class Pool:
    """All clips so far, by kind of shard; `refresh` adds the shards that have come since. Of several peers each has its part."""

    folder: Path
    pattern: str
    rank: int = 0
    peers: int = 1
    clips: dict[str, list[Clip]] = field(default_factory=lambda: defaultdict(list))
    repeats: list[Clip] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def refresh(self) -> int:
        for path in sorted(self.folder.glob(self.pattern)):
            if path.name in self.known:
                continue
            self.known.add(path.name)
            shard = np.load(path)
            mel, offsets = shard["mel"], shard["offsets"]
            kind = path.stem.split("-")[1]
            for index, meta in enumerate(json.loads(str(shard["meta"]))):
                if index % self.peers != self.rank:
                    continue
                clip = Clip(mel[offsets[index] : offsets[index + 1]].copy(), meta)
                self.clips[kind].append(clip)
                if meta["intent"] == repertoire.REPEAT:
                    self.repeats.append(clip)
        return sum(map(len, self.clips.values()))

    def batches(self, frames: int, rng: random.Random) -> Iterator[list[Clip]]:
        """Yield batches of clips of similar length, about `frames` mel frames each, for ever."""
        while True:
            chosen = sorted(draw(self.clips, lambda clip: clip, 800, rng), key=lambda clip: len(clip.mel))
            batches: list[list[Clip]] = [[]]
            for clip in chosen:
                if len(clip.mel) * (len(batches[-1]) + 1) > frames:
                    batches.append([])
                batches[-1].append(clip)
            rng.shuffle(batches)
            yield from filter(None, batches)


def draw(pools: dict[str, list[T]], clip: Callable[[T], Clip], count: int, rng: random.Random) -> list[T]:
    """Draw by SHARES, then by INTENT_SHARES, then by the clips' weights."""
    shelves: dict[str, dict[str, list[T]]] = {}
    for kind, pool in pools.items():
        if SHARES.get(kind):
            shelves[kind] = defaultdict(list)
            for one in pool:
                shelves[kind][clip(one).shelf].append(one)
    rest = 1 - sum(INTENT_SHARES.values())
    chosen = []
    for kind in rng.choices(list(shelves), [SHARES[kind] for kind in shelves], k=count):
        shelf = shelves[kind]
        others = max(1, len(shelf.keys() - INTENT_SHARES.keys()))
        name = rng.choices(list(shelf), [INTENT_SHARES.get(name, rest / others) for name in shelf])[0]
        chosen += rng.choices(shelf[name], [clip(one).weight for one in shelf[name]])
    return chosen


def viterbi(scores: Tensor, lengths: list[int], states: list[list[int]]) -> list[Tensor]:
    """Align log probabilities [clips, tokens, classes] with a sequence of states each, left to right, no state skipped.

    Returns a class for each of a clip's tokens.
    """
    clips, tokens, _ = scores.shape
    longest = max(map(len, states))
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in states])
    emitted = scores.gather(2, padded[:, None].expand(-1, tokens, -1))
    best = torch.full((clips, longest), -1e9)
    best[:, 0] = emitted[:, 0, 0]
    moved = torch.zeros(clips, tokens, longest, dtype=torch.bool)
    for token in range(1, tokens):
        before = F.pad(best[:, :-1], (1, 0), value=-1e9)
        moved[:, token] = before > best
        best = torch.maximum(best, before) + emitted[:, token]
    paths = []
    for row, (length, names) in enumerate(zip(lengths, states, strict=True)):
        steps, at, path = moved[row].tolist(), len(names) - 1, [0] * length
        for token in range(length - 1, -1, -1):
            path[token] = names[at]
            at -= steps[token][at]
        paths.append(torch.tensor(path))
    return paths


# ---- rows: conversations of one to three turns ----


@dataclass
class Row:
    """Token ids and how much each counts in the loss."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    """0 for a token that is given, not learned."""

    def add(self, ids: list[int], weight: float | list[float] = 0.0) -> None:
        self.ids += ids
        self.weights += weight if isinstance(weight, list) else [weight] * len(ids)


class Writer:
    """Writes the token rows that belong to clips."""

    def __init__(self, tokenizer, rng: random.Random) -> None:  # noqa: ANN001
        self.tokenizer, self.rng, self.cache = tokenizer, rng, dict[str, list[int]]()
        self.audio = tokenizer.convert_tokens_to_ids("<|audio|>")

    def ids(self, text: str) -> list[int]:
        if text not in self.cache:
            if len(self.cache) > 50_000:
                self.cache.clear()
            self.cache[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self.cache[text]

    def call(self, row: Row, answer: str) -> None:
        """Append a tool call; what stands between its braces weighs more."""
        ids = self.ids(answer)
        at = len(self.ids(answer.partition("{")[0]))
        row.add(ids, [1.0] * at + [ARGUMENT_WEIGHT] * (len(ids) - at))
        row.add(self.ids(RESPONSE), 1.0)

    def conversation(self, turns: list[tuple[int, str]]) -> Row:
        """Write turns of soft tokens and an answer; with no tokens the call is given, only the sentence is learned."""
        row, said = Row(), repertoire.NOTHING_SAID
        row.add(self.ids("<bos>"))
        for number, (tokens, answer) in enumerate(turns):
            last = number == len(turns) - 1
            row.add(self.ids("\n" + USER if number else USER) + [self.audio] * tokens + self.ids(MODEL))
            told = repertoire.respond(self.rng, answer)
            if told:
                self.call(row, answer)
                if not tokens:
                    row.weights = [0.0] * len(row.weights)
                if last and tokens and self.rng.random() < 0.6:  # shorter: the ear is the harder part
                    return row
                row.add(self.ids(told[0]))
                said = told[1]
                row.add(self.ids(said + END), SENTENCE_WEIGHT)
            else:
                said = said if answer == repertoire.REPEAT else answer
                row.add(self.ids(said + END), 1.0)
        return row


def group(clips: list[Clip], repeats: list[Clip], share: float, rng: random.Random) -> list[list[Clip]]:
    """Make conversations: of one clip, in a share of the batches of two or three, some with a "repeat that"."""
    if rng.random() > share:
        return [[clip] for clip in clips]
    clips, rows = rng.sample(clips, len(clips)), []
    while clips:
        size = rng.choice((1, 2, 2, 3))
        row, clips = clips[:size], clips[size:]
        if repeats and size < 3 and rng.random() < 0.35:
            row.append(rng.choice(repeats))
        rows.append(row)
    return rows


def pad(rows: list[Row]) -> tuple[Tensor, Tensor]:
    """Return ids and loss weights, each [rows, positions], a multiple of 16 at least as long as the longest."""
    longest = -max(len(row.ids) for row in rows) // 16 * -16
    return (
        torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows]),
        torch.tensor([row.weights + [0.0] * (longest - len(row.ids)) for row in rows]),
    )


# ---- training ----


def share_gradients(weights: list[Tensor], last: bool) -> bool:
    """Put the mean of all peers' gradients into each; False once any of them says that it was its last."""
    parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([*(part.flatten() for part in parts), torch.tensor([float(last)])])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for weight, part in zip(weights, flat[:-1].split([weight.numel() for weight in weights]), strict=True):
        weight.grad = part.view_as(weight)
    return not flat[-1]


@contextmanager
def averaged(weights: list[Tensor], average: list[Tensor]) -> Iterator[None]:
    """Put the average of the last steps' weights in their place for a while: better than the last ones."""
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, mean in zip(weights, average, strict=True):
            weight.copy_(mean)
        yield
        for weight, last in zip(weights, kept, strict=True):
            weight.copy_(last)


def make_optimizers(weights: list[Tensor], tables: list[Tensor], args: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices between layers, AdamW for tables, convolutions, norms and, if asked, for all.

    Muon's steps are scaled to be as large as AdamW's (Liu et al. 2025, arXiv:2502.16982), so one learning rate serves both.
    """
    apart = {id(table) for table in tables}
    matrices = [w for w in weights if w.dim() == 2 and id(w) not in apart and not args.adam]
    chosen = {id(matrix) for matrix in matrices}
    others = [w for w in weights if id(w) not in chosen]
    adam = torch.optim.AdamW(
        [
            {"params": [w for w in others if w.dim() > 1], "weight_decay": 0.02},
            {"params": [w for w in others if w.dim() < 2], "weight_decay": 0},
        ],
        lr=args.lr,
        betas=(0.9, 0.98),
        fused=True,
    )
    if not matrices:
        return [adam]
    return [torch.optim.Muon(matrices, lr=args.lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"), adam]


class Trainer:
    """A model in training and the clips so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        from transformers import AutoTokenizer, Gemma4ForConditionalGeneration

        self.args, self.rng = args, random.Random(args.seed)
        self.pool = Pool(args.features, args.glob, args.rank, args.peers)
        self.noises = alter.Noises(args.noises, self.rng)
        self.phonemes = Phonemes(args.features / "phonemes.json")
        print(self.pool.refresh(), "clips", flush=True)
        self.phonemes.learn({clip.meta["text"] for clips in self.pool.clips.values() for clip in clips})
        if args.start:
            self.tokenizer = AutoTokenizer.from_pretrained(args.start)
            self.model = Gemma4ForConditionalGeneration.from_pretrained(args.start, dtype=torch.float32)
            deepen(self.model, args.deepen)
            warm = torch.load(args.start / "ctc.pt")
            names = warm["names"]
            if args.decoder:
                other = Gemma4ForConditionalGeneration.from_pretrained(args.decoder, dtype=torch.float32)
                self.model.model.language_model.load_state_dict(other.model.language_model.state_dict())
        else:
            self.tokenizer = make_tokenizer(args.vocab)
            self.model = make_model(self.tokenizer, args)
            names = sorted({name for word in self.phonemes.words.values() for name in word})
        self.names = names
        self.index = {name: number + 1 for number, name in enumerate(names)}
        self.head = nn.Linear(self.model.config.audio_config.hidden_size, len(names) + 1)
        if args.start:
            self.head.load_state_dict(warm["head"])
        self.tower = self.model.model.audio_tower
        self.quick = quick.Quick(self.model)
        self.writer = Writer(self.tokenizer, self.rng)
        self.cached: dict[str, list[tuple[Clip, Tensor]]] = defaultdict(list)
        print("parameters", sum(weight.numel() for weight in self.model.parameters()), flush=True)

    def altered(self, clips: list[Clip]) -> tuple[Tensor, Tensor, Tensor]:
        """Return pictures, the same before the noise, and lengths, as alter.alter does, as far as the options say."""
        args, mels, engines = self.args, [clip.mel for clip in clips], [clip.meta["engine"] for clip in clips]
        return alter.alter(mels, engines, self.noises, args.noisy, args.loudest_noise, LONGEST_FRAMES, args.reach)

    def spelt(self, clip: Clip) -> list[int]:
        """Return the phoneme classes of a clip's text; cut-up speech has none."""
        names = (name for word in clip.meta["text"].split() for name in self.phonemes.words[word])
        return [self.index[name] for name in names if name in self.index]

    def ctc_loss(self, clips: list[Clip], hidden: Tensor, tokens: list[int]) -> Tensor:
        """Phonemes of the clips, wherever they are."""
        rows = [row for row, clip in enumerate(clips) if clip.meta["text"]]
        if not rows:
            return torch.zeros(())
        scores = self.head(hidden[rows].float()).log_softmax(-1).transpose(0, 1)
        targets = [self.spelt(clips[row]) for row in rows]
        return F.ctc_loss(
            scores,
            torch.tensor([name for target in targets for name in target]),
            torch.tensor([tokens[row] for row in rows]),
            torch.tensor(list(map(len, targets))),
            zero_infinity=True,
        )

    def own_loss(self, clips: list[Clip], hidden: Tensor, clean: Tensor, tokens: list[int]) -> Tensor:
        """Cross entropy of one phoneme for each token, where the model itself puts it; class 0 around the sound."""
        levels = clean.mean(2).unflatten(1, (-1, 4)).amax(2).numpy()  # [clips, tokens], before noise was mixed in
        rows, spans, targets = [], [], []
        for row, clip in enumerate(clips):
            names, level = self.spelt(clip), levels[row, : tokens[row]]
            loud = np.flatnonzero(level > level.min() + 0.4 * (np.quantile(level, 0.95) - level.min()))
            if names and len(loud) and len(names) <= loud[-1] - loud[0] + 1:
                rows.append(row)
                spans.append(slice(loud[0], loud[-1] + 1))
                targets.append(names)
        if not rows:
            return torch.zeros(())
        logits = self.head(hidden[rows].float())
        sizes = [span.stop - span.start for span in spans]
        scores = torch.zeros(len(rows), max(sizes), logits.shape[2])
        for row, (span, known) in enumerate(zip(spans, logits.detach().log_softmax(-1), strict=True)):
            scores[row, : sizes[row]] = known[span]
        wanted = torch.full(logits.shape[:2], -100)
        for row, path in enumerate(viterbi(scores, sizes, targets)):
            wanted[row, : tokens[rows[row]]] = 0
            wanted[row, spans[row]] = path
        return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100)

    def weighted_loss(self, rows: list[Row], soft: Tensor | None = None) -> tuple[Tensor, list[float]]:
        """Cross entropy of the next token, weighted, and the probability of each row's answers.

        `soft` are the rows' soft tokens [soft tokens, width], in order. Sentences that tell a response are no answers here.
        """
        ids, weights = pad(rows)
        learned = [torch.nonzero(row[1:]).flatten() for row in weights]  # the position before each learned token
        kept = torch.zeros(len(rows), max(map(len, learned)), dtype=torch.long)
        share = torch.zeros(kept.shape)
        for number, places in enumerate(learned):
            kept[number, : len(places)] = places
            share[number, : len(places)] = weights[number, places + 1]
        heard = ids == self.writer.audio
        if soft is None:
            soft = torch.zeros(0, self.quick.width)
        logits = self.quick.logits(ids.masked_fill(heard, 0), heard, soft, kept)
        wanted = share > 0
        each = F.cross_entropy(logits[wanted], ids.gather(1, kept + 1)[wanted], reduction="none")
        answers = torch.zeros(share.shape).masked_scatter(wanted, each.detach()).masked_fill(share < 1, 0)
        return (each * share[wanted]).sum() / share.sum(), answers.sum(1).neg().exp().tolist()

    def text_loss(self) -> Tensor:
        """The numbers of a tool response into the sentence, without sound."""
        rows: list[Row] = []
        while len(rows) < 24:
            one = repertoire.request(self.rng)
            if one.answer.startswith("<|tool_call>"):
                rows.append(self.writer.conversation([(0, one.answer)]))
        return self.weighted_loss(rows)[0]

    def add_gradients(self, clips: list[Clip], joint: bool, number: int, log: dict[str, list[float]]) -> None:
        """Add the gradients of one batch."""
        talks = group(clips, self.pool.repeats, self.args.talks, self.rng) if joint else [[clip] for clip in clips]
        clips = [clip for talk in talks for clip in talk]
        values, clean, frames = self.altered(clips)
        tokens = (frames // 4).tolist()
        hidden = self.quick.tower(alter.padded(values, 4 * quick.CHUNK))
        loss = torch.zeros(())
        if joint:
            size = iter(tokens)
            rows = [self.writer.conversation([(next(size), clip.meta["answer"]) for clip in talk]) for talk in talks]
            heard = torch.arange(hidden.shape[1]) < frames[:, None] // 4
            loss, right = self.weighted_loss(rows, self.quick.soft_tokens(hidden[heard]))
            for talk, probability in zip(talks, right, strict=True):
                for clip in talk:
                    clip.heard(probability)
            log["answer"].append(loss.item())
            log["right"].append(float(np.mean(right)))
        side = self.own_loss(clips, hidden, clean, tokens) if self.args.side == "own" else self.ctc_loss(clips, hidden, tokens)
        log[self.args.side].append(side.item())
        (loss + (self.args.share if joint else 1.0) * side).backward()
        if joint and number % 4 == 0:
            text = self.text_loss()
            (0.5 * text).backward()
            log["text"].append(text.item())

    @torch.no_grad()
    def listen(self, most: int) -> None:
        """Run the tower once over at most so many clips of each kind, altered and with noise, for `decode`."""
        self.model.eval()
        for kind, clips in self.pool.clips.items():
            order = sorted(self.rng.sample(clips, min(most, len(clips))), key=lambda clip: len(clip.mel))
            start = time.time()
            for at in range(0, len(order), 24):
                part = order[at : at + 24]
                values, _, frames = self.altered(part)
                hidden = self.quick.tower(alter.padded(values, 4 * quick.CHUNK))
                for clip, row, size in zip(part, hidden, (frames // 4).tolist(), strict=True):
                    self.cached[kind].append((clip, row[:size].clone()))
            print("listened to", len(order), kind, round(time.time() - start), "s", flush=True)

    def decode(self, minutes: float) -> None:
        """Train the decoder alone, on what `listen` kept: many times the steps of joint training."""
        args, inner = self.args, self.model.model
        weights = [*inner.language_model.parameters(), *inner.embed_audio.parameters()]
        optimizers = make_optimizers(weights, self.tables(), args)
        pairs = [pair for kind in self.cached.values() for pair in kind]
        repeats = [pair for pair in pairs if pair[0].meta["intent"] == repertoire.REPEAT]
        batches: list[list[tuple[Clip, Tensor]]] = []

        def step(number: int, log: dict[str, list[float]]) -> int:
            if not batches:
                drawn = draw(self.cached, lambda pair: pair[0], 60 * args.rows, self.rng)
                drawn.sort(key=lambda pair: len(pair[1]))
                batches.extend(drawn[at : at + args.rows] for at in range(0, len(drawn), args.rows))
                self.rng.shuffle(batches)
            batch = batches.pop()
            talks = group(batch, repeats, args.talks, self.rng)
            heard = torch.cat([hidden for talk in talks for _, hidden in talk]).float()
            heard *= 1 + 0.1 * torch.randn_like(heard)
            rows = [self.writer.conversation([(len(hidden), clip.meta["answer"]) for clip, hidden in talk]) for talk in talks]
            loss, _ = self.weighted_loss(rows, self.quick.soft_tokens(heard.to(self.quick.dtype)))
            log["answer"].append(loss.item())
            loss.backward()
            if number % 8 == 0:
                (0.5 * self.text_loss()).backward()
            return len(batch)

        self.model.train()
        self.descend("decoder", minutes, weights, optimizers, step)

    def tables(self) -> list[Tensor]:
        """Return the matrices that are tables: a row for each token or phoneme."""
        text = self.model.model.language_model
        return [text.embed_tokens.weight, text.embed_tokens_per_layer.weight, self.head.weight]

    def rate(self, share: float) -> float:
        """Return the learning rate at a share of the time, as a share of the highest."""
        args = self.args
        if share < args.warm:
            return share / args.warm
        return args.floor + (1 - args.floor) * 0.5 * (1 + math.cos(math.pi * (share - args.warm) / (1 - args.warm)))

    def run(self, minutes: float, joint: bool) -> None:
        """Train the tower alone on phonemes, or everything together."""
        parts = [self.model, self.head] if joint else [self.tower, self.head]
        weights = [w for part in parts for w in part.parameters() if w.requires_grad]
        batches = self.pool.batches(self.args.frames, self.rng)
        scanned = time.time()

        def step(number: int, log: dict[str, list[float]]) -> int:
            nonlocal scanned
            if time.time() - scanned > 120:
                scanned = time.time()
                total = self.pool.refresh()
                self.phonemes.learn({clip.meta["text"] for part in self.pool.clips.values() for clip in part})
                print("clips", total, {kind: len(part) for kind, part in self.pool.clips.items()}, flush=True)
            batch = next(batches)
            self.add_gradients(batch, joint, number, log)
            return len(batch)

        self.model.train()
        self.descend("joint" if joint else "tower", minutes, weights, make_optimizers(weights, self.tables(), self.args), step)

    def descend(
        self,
        name: str,
        minutes: float,
        weights: list[Tensor],
        optimizers: list[torch.optim.Optimizer],
        step: Callable[[int, dict[str, list[float]]], int],
    ) -> None:
        """Go on for so long; `step` adds a batch's gradients, logs its losses by name and returns how many clips it took."""
        args = self.args
        average = [weight.detach().clone() for weight in weights]
        start = told = stored = time.time()
        number = clips = 0
        log: dict[str, list[float]] = defaultdict(list)
        while True:
            now = time.time()
            share = (now - start) / (60 * minutes)
            if share >= 1 and args.peers == 1:
                break
            for group_ in (group_ for optimizer in optimizers for group_ in optimizer.param_groups):
                group_["lr"] = args.lr * self.rate(min(share, 1.0))
            clips += step(number, log)
            if args.peers > 1 and not share_gradients(weights, last=share >= 1):
                break
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            number += 1
            torch._foreach_lerp_(average, [weight.detach() for weight in weights], 1 / min(number, args.horizon))
            if now - stored > 60 * args.save_every:
                stored = now
                with averaged(weights, average):
                    self.store()
            if now - told > 20:
                told = now
                losses = {name: round(float(np.mean(values[-40:])), 3) for name, values in log.items()}
                rate = optimizers[0].param_groups[0]["lr"]
                print(name, number, clips, "clips", round(now - start), "s", losses, f"lr {rate:.5f}", flush=True)
        with averaged(weights, average):
            self.store()

    def store(self) -> None:
        """Write the checkpoint; one of several peers does."""
        if self.args.rank == 0:
            store(self.args.out, self.model, self.tokenizer, self.head, self.names)


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how large the model is."""
    parser.add_argument("--hidden", type=int, default=128, help="width of the decoder")
    parser.add_argument("--tower", type=int, default=192, help="width of the audio tower")
    parser.add_argument("--layers", type=int, default=4, help="layers of the audio tower")
    parser.add_argument("--channels", type=int, default=16, help="channels of the second convolution")
    parser.add_argument("--projection", type=int, default=256, help="width of the tower's output")
    parser.add_argument("--vocab", type=int, default=640)
    parser.add_argument("--init", type=float, default=0.1, help="initializer_range")


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("out", type=Path, help="checkpoint folder to write")
    parser.add_argument("features", type=Path, help="folder of feature shards")
    parser.add_argument("--glob", default="train-*.npz", help="which shards")
    parser.add_argument("--start", type=Path, help="checkpoint to go on from")
    parser.add_argument("--deepen", type=int, nargs="*", default=[], help="layers of --start's tower to double, from 0")
    parser.add_argument("--decoder", type=Path, help="checkpoint to take the decoder from, instead of --start's")
    parser.add_argument("--tower-minutes", type=float, default=9, help="of the tower alone")
    parser.add_argument("--decoder-minutes", type=float, default=20, help="of the decoder alone")
    parser.add_argument("--listen", type=int, default=4000, help="most clips of a kind that the decoder alone learns from")
    parser.add_argument("--rows", type=int, default=16, help="clips in a batch of the decoder alone")
    parser.add_argument("--minutes", type=float, default=60, help="of joint training")
    parser.add_argument("--side", choices=["own", "ctc"], default="own", help="phonemes where the model puts them, or CTC")
    parser.add_argument("--share", type=float, default=0.5, help="weight of the side loss in joint training")
    parser.add_argument("--talks", type=float, default=0.25, help="share of batches that are conversations of turns")
    parser.add_argument("--noisy", type=float, default=0.35, help="share of the clips that noise is mixed into, once more")
    parser.add_argument("--loudest-noise", type=float, default=3.0, help="dB that speech is above it at least")
    parser.add_argument("--reach", type=float, default=1.0, help="how far clips are altered each time, from 0 to 1")
    parser.add_argument("--noises", type=int, default=400, help="pictures of noise to mix from")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--floor", type=float, default=0.02, help="last learning rate, as a share of the first")
    parser.add_argument("--warm", type=float, default=0.03, help="share of the time in which the learning rate rises")
    parser.add_argument("--adam", action="store_true", help="AdamW for every weight, no Muon")
    parser.add_argument("--frames", type=int, default=10000, help="mel frames in a batch")
    parser.add_argument("--horizon", type=int, default=300, help="steps whose weights are averaged for the checkpoint")
    parser.add_argument("--save-every", type=float, default=3, help="minutes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers", type=int, default=1, help="processes that train together, each with its own --rank")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    add_shape(parser)
    args = parser.parse_args()
    if args.deepen and not args.start:
        parser.error("--deepen adds to a trained tower: give its checkpoint with --start, or --layers for a new one")
    torch.set_num_threads(args.threads)
    args.seed += args.rank
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.peers > 1:
        meeting = f"file://{(args.out / 'peers').resolve()}"
        torch.distributed.init_process_group("gloo", meeting, rank=args.rank, world_size=args.peers)
    trainer = Trainer(args)
    if args.tower_minutes:
        trainer.run(args.tower_minutes, joint=False)
    if args.decoder_minutes:
        trainer.listen(args.listen)
        trainer.decode(args.decoder_minutes)
    if args.minutes:
        trainer.run(args.minutes, joint=True)


if __name__ == "__main__":
    main()
