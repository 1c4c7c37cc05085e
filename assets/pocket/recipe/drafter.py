"""Train a drafter for pocket, and measure how many of its guesses are right.

    python assets/pocket/recipe/drafter.py train OUT [--cpu-minutes 10]     torch and transformers, as train.py
    python assets/pocket/recipe/drafter.py measure BUNDLE                   edge-assistant; the bundle has the drafter

It learns what pocket itself says next, from pocket's own states, keys and values, on conversations without sound: calls, and the
sentences after what the tools gave back. From each place it drafts three tokens, as it will be asked to: from its own states,
at one position, over the keys of before (Gemma4AssistantForCausalLM).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import repertoire

if TYPE_CHECKING:
    from torch import Tensor

HERE = Path(__file__).parent
POCKET = HERE.parent / "checkpoint"
USER, MODEL, RESPONSE, END = "<|turn>user\n", "<turn|>\n<|turn>model\n", "<|tool_response>", "<turn|>"
STEPS, ROWS = 3, 24
RATE, WARM = 3e-3, 40
KEPT, FRESH = 48, 0.1
"""Batches of which pocket's part is kept, for that is most of the work, and how often one of them is made anew."""
MEASURED = 200


def conversation(rng: random.Random) -> Iterator[tuple[str, bool]]:
    """Pieces of one to three turns, and whether the model says them."""
    yield "<bos>", False
    for turn in range(rng.choice((1, 1, 2, 3))):
        yield ("\n" if turn else "") + USER + MODEL, False
        answer = repertoire.request(rng).answer
        told = repertoire.respond(rng, answer)
        if told:
            yield answer + RESPONSE, True
            yield told[0], False
            yield told[1] + END, True
        else:
            yield (repertoire.NOTHING_SAID if answer == repertoire.REPEAT else answer) + END, True


# ---- training ----


@dataclass(frozen=True)
class Batch:
    """Conversations, and what pocket makes of them. Each [rows, longest] and more."""

    ids: Tensor
    own: Tensor
    """Which of them the model says."""
    said: Tensor
    """What it says after each."""
    embeds: Tensor
    states: Tensor
    shared: dict[str, tuple[Tensor, Tensor]]
    """Keys and values by kind of layer."""


class Trainer:
    """Pocket, which stays as it is, and a drafter."""

    def __init__(self, seed: int) -> None:
        import torch
        from transformers import AutoTokenizer, Gemma4ForConditionalGeneration, Gemma4TextConfig

        sharing = Gemma4TextConfig.kv_sharing_modes

        def modes(config: Gemma4TextConfig) -> list[str | None]:
            # transformers 5.23 wants a layer that writes keys in every text model, and so cannot build its own drafters
            count = config.num_hidden_layers
            return ["reuse"] * count if config.num_kv_shared_layers == count else sharing.fget(config)

        Gemma4TextConfig.kv_sharing_modes = property(modes)
        torch.manual_seed(seed)
        self.rng = random.Random(seed)
        self.kept: list[Batch] = []
        self.tokenizer = AutoTokenizer.from_pretrained(POCKET)
        self.model = Gemma4ForConditionalGeneration.from_pretrained(
            POCKET, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.drafter = self._make()
        print("parameters", sum(weight.numel() for weight in self.drafter.parameters()), flush=True)

    def _make(self) -> Any:
        from transformers import Gemma4AssistantConfig, Gemma4AssistantForCausalLM, Gemma4TextConfig

        target = self.model.config.text_config
        kinds = ["sliding_attention", "full_attention"]
        text = Gemma4TextConfig(
            vocab_size=target.vocab_size,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=len(kinds),
            num_kv_shared_layers=len(kinds),
            num_attention_heads=4,
            num_key_value_heads=target.num_key_value_heads,
            head_dim=32,
            global_head_dim=64,
            layer_types=kinds,
            sliding_window=target.sliding_window,
            hidden_size_per_layer_input=0,
            vocab_size_per_layer_input=0,
            initializer_range=0.1,
            max_position_embeddings=4096,
            attn_implementation="eager",
        )
        return Gemma4AssistantForCausalLM(
            Gemma4AssistantConfig(text_config=text, backbone_hidden_size=target.hidden_size)
        ).float()

    def batch(self) -> Batch:
        """One of those that are kept, or a new one."""
        if len(self.kept) < KEPT:
            self.kept.append(self.listen())
            return self.kept[-1]
        number = self.rng.randrange(KEPT)
        if self.rng.random() < FRESH:
            self.kept[number] = self.listen()
        return self.kept[number]

    def listen(self) -> Batch:
        """New conversations, and what pocket makes of them."""
        import torch

        rows: list[tuple[list[int], list[bool]]] = []
        for _ in range(ROWS):
            ids, own = list[int](), list[bool]()
            for piece, said in conversation(self.rng):
                tokens = self.tokenizer.encode(piece, add_special_tokens=False)
                ids, own = ids + tokens, own + [said] * len(tokens)
            rows.append((ids, own))
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
        real = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows])
        own = torch.tensor([own + [False] * (longest - len(own)) for _, own in rows])
        with torch.no_grad():
            out = self.model(
                input_ids=ids, attention_mask=real, output_hidden_states=True, return_shared_kv_states=True, use_cache=False
            )
            embeds = self.model.get_input_embeddings()(ids)
        shared = {kind: (key, value) for kind, (key, value) in out.shared_kv_states.items()}
        return Batch(ids, own, out.logits.argmax(-1), embeds, out.hidden_states[-1], shared)

    def loss(self) -> tuple[Tensor, list[float]]:
        """Of one batch, and how often each step's guess is what the model says."""
        import torch
        import torch.nn.functional as F  # noqa: N812 - its usual name

        batch = self.batch()
        ids, own, said, embeds, shared = batch.ids, batch.own, batch.said, batch.embeds, batch.shared
        length = ids.shape[1]
        places = torch.arange(length)
        mask = torch.where(places[None, :] < places[:, None], 0.0, -1e9)[None, None]
        masks = dict.fromkeys(shared, mask)  # rows are far shorter than the window
        state = F.pad(batch.states[:, :-1], (0, 0, 1, 0))
        on_path = own & (places > 0)
        total, right = torch.zeros(()), list[float]()
        for step in range(STEPS):
            count = length - step
            x = torch.cat([embeds[:, step:], state[:, :count]], -1)
            x = self.drafter.model(
                inputs_embeds=self.drafter.pre_projection(x),
                attention_mask={kind: each[:, :, :count] for kind, each in masks.items()},
                position_ids=places[None, :count],
                shared_kv_states=shared,
                use_cache=False,
                output_hidden_states=True,  # or it would go on with the last place only
            ).last_hidden_state
            state = self.drafter.post_projection(x)
            # what is guessed counts where the model says it, and said all guesses before
            guessed = torch.zeros_like(own[:, :count])
            guessed[:, : count - 1] = own[:, step + 1 :] & on_path[:, : count - 1]
            logits, truth = self.drafter.lm_head(x)[guessed], said[:, step:][guessed]
            total = total + F.cross_entropy(logits, truth)
            right.append(float((logits.argmax(-1) == truth).float().mean()))
            on_path = on_path[:, : count - 1] & (said[:, step : length - 1] == ids[:, step + 1 :])
        return total / STEPS, right

    def train(self, out: Path, minutes: float) -> None:
        import torch

        torch.set_num_threads(1)
        optimiser = torch.optim.AdamW(self.drafter.parameters(), lr=RATE, weight_decay=0.01)
        begin, told, step = time.process_time(), 0.0, 0
        while (spent := (time.process_time() - begin) / 60) < minutes:
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / WARM) * max(0.02, 1 - spent / minutes)
            loss, right = self.loss()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.drafter.parameters(), 1.0)
            optimiser.step()
            step += 1
            if spent - told > minutes / 40:
                told = spent
                print(
                    f"{spent:.2f} min, step {step}: loss {float(loss):.3f}, right {[round(each, 3) for each in right]}",
                    flush=True,
                )
                self.drafter.save_pretrained(out)
        self.drafter.save_pretrained(out)


# ---- measuring ----


def measure(bundle: Path) -> None:
    """Sentences that pocket says after a tool's response: tokens a pass of the model, and whether they stay the same."""
    from edge_assistant.gemma4.cache import Cache
    from edge_assistant.runtime import Sampling
    from edge_assistant.runtimes.engine import Decoder
    from edge_assistant.runtimes.onnx import OnnxModel

    passes = 0
    run = Decoder._add

    def counted(self: Decoder, cache: Cache, embeds: Any, ple_rows: Any, *, apart: bool) -> Any:
        nonlocal passes
        passes += 1
        return run(self, cache, embeds, ple_rows, apart=apart)

    Decoder._add = counted
    rng = random.Random(2024)
    prompts: list[str] = []
    while len(prompts) < MEASURED:
        pieces = list(conversation(rng))
        last = max(i for i, (_, said) in enumerate(pieces) if said)
        prompts.append("".join(piece for piece, _ in pieces[:last]))
    expected: list[list[int]] = []
    for draft in (0, 1, 2, 3, 4):
        session, tokens, total, spent = OnnxModel.open(bundle, draft=draft).session(1024), 0, 0, 0.0
        for number, prompt in enumerate(prompts):
            session.cut(0)
            session.feed_text(prompt)
            passes, begin = 0, time.process_time()
            answer = [token.id for token in session.decode(Sampling(max_tokens=64))]
            spent += time.process_time() - begin
            tokens, total = tokens + len(answer), total + passes
            if draft == 0:
                expected.append(answer)
            elif answer != expected[number]:
                raise SystemExit(f"with {draft} drafted the answer to {prompt!r} is another one")
        print(
            f"{draft} drafted: {tokens / total:.2f} tokens a pass, {1000 * spent / tokens:.2f} ms of processor time a token",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train")
    train.add_argument("out", type=Path)
    train.add_argument("--cpu-minutes", type=float, default=10)
    train.add_argument("--seed", type=int, default=0)
    actions.add_parser("measure").add_argument("bundle", type=Path)
    args = parser.parse_args()
    if args.action == "train":
        Trainer(args.seed).train(args.out, args.cpu_minutes)
    else:
        sys.path.insert(0, str(HERE.parents[2]))
        measure(args.bundle)


if __name__ == "__main__":
    main()
