"""What transformers says of the small drafters, in double precision, kept in `references/drafters.npz`.

python tests/parity/make_drafter_references.py            make it again (needs torch and transformers)
python tests/parity/make_drafter_references.py --check    compare what is kept with transformers
"""

import argparse
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Gemma4AssistantForCausalLM, Gemma4ForConditionalGeneration, Gemma4TextConfig

sys.path.insert(0, str(Path(__file__).parent))
from drafters import DRAFTERS, REFERENCED, DrafterShape, make_drafter, target_of
from make_references import FOLDER, double
from shapes import make_checkpoint

PATH = FOLDER / "drafters.npz"
PLACES, STEPS = (3, 17, 41), 3
"""Tokens before the draft, and tokens drafted."""
PLACEHOLDERS = {8, 11, 13}
"""The product gives them the embedding of padding, as transformers does inside the model but not before its drafter."""
MARGIN = 0.02
"""Least distance between the best and the second best, of tokens and of clusters."""


def let_all_layers_share() -> None:
    """transformers 5.23 wants a layer that writes keys in every text model, and so cannot build its own assistants."""
    modes = Gemma4TextConfig.kv_sharing_modes

    def own(self: Gemma4TextConfig) -> list[str | None]:
        shared = self.num_kv_shared_layers == self.num_hidden_layers
        return ["reuse"] * self.num_hidden_layers if shared else modes.fget(self)

    Gemma4TextConfig.kv_sharing_modes = property(own)


def reference(shape: DrafterShape, seed: int) -> dict[str, Any]:
    """Everything kept of one drafter; `margin` is the narrowest decision."""
    with tempfile.TemporaryDirectory() as name, double(), torch.no_grad():
        checkpoint = make_checkpoint(Path(name) / "target", target_of(shape), seed)
        folder = make_drafter(Path(name) / "drafter", shape, seed + 1)
        options: dict[str, Any] = {"dtype": torch.float64, "attn_implementation": "eager"}
        target = Gemma4ForConditionalGeneration.from_pretrained(checkpoint, **options).eval()
        drafter = Gemma4AssistantForCausalLM.from_pretrained(folder, **options).eval()
        files = sorted([*checkpoint.glob("*.safetensors"), *folder.glob("*.safetensors")])
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        text = np.random.RandomState(seed + 2).randint(24, 280, max(PLACES) + 1)
        margins, logits, states, drafted = list[float](), list[Any](), list[Any](), list[int]()
        for place in PLACES:
            # the token at `place` is chosen and not yet in the cache: as `SinglePositionMultiTokenCandidateGenerator` has it
            out = target(input_ids=torch.tensor(text[None, :place]), output_hidden_states=True, return_shared_kv_states=True)
            state, token = out.hidden_states[-1][:, -1:], torch.tensor([[text[place]]])
            for _ in range(STEPS):
                embeds = torch.cat([target.get_input_embeddings()(token), state], dim=-1)
                margins += clusters_margin(drafter, shape, embeds, place, out.shared_kv_states)
                step = run(drafter, embeds, place, out.shared_kv_states)
                best = step.logits[0, 0].topk(2)
                margins.append(float(best.values[0] - best.values[1]))
                state, token = step.last_hidden_state, best.indices[None, :1]
                logits.append(step.logits[0, 0].numpy())
                states.append(state[0, 0].numpy())
                drafted.append(int(token))
    return {
        "seed": seed,
        "weights": digest,
        "margin": min(margins),
        "text": text,
        "logits": np.stack(logits),
        "states": np.stack(states),
        "drafted": np.array(drafted),
    }


def run(drafter: Any, embeds: torch.Tensor, place: int, shared: Any) -> Any:
    return drafter(
        inputs_embeds=embeds, position_ids=torch.tensor([[place]]), shared_kv_states=dict(shared.items()), use_cache=False
    )


def clusters_margin(drafter: Any, shape: DrafterShape, embeds: torch.Tensor, place: int, shared: Any) -> list[float]:
    """How clear the choice of clusters is; [] where all are taken."""
    if not shape.clusters or shape.likeliest == shape.clusters:
        return []
    seen: list[torch.Tensor] = []
    hook = drafter.masked_embedding.centroids.register_forward_hook(lambda _, __, scores: seen.append(scores))
    run(drafter, embeds, place, shared)
    hook.remove()
    best = seen[0].flatten().sort(descending=True).values
    return [float(best[shape.likeliest - 1] - best[shape.likeliest])]


def search(shape: DrafterShape, start: int) -> dict[str, Any]:
    """The first seed whose decisions are all clear, and that drafts no token that stands for sound or pictures."""
    for seed in range(start, start + 300):
        found = reference(shape, seed)
        if found["margin"] >= MARGIN and PLACEHOLDERS.isdisjoint(found["drafted"].tolist()):
            return found
    raise SystemExit("no seed gives clear decisions")


def check(kept: dict[str, Any], found: dict[str, Any]) -> float:
    """The largest difference; infinite where whole numbers differ."""
    if any(not np.array_equal(kept[key], found[key]) for key in ("weights", "text", "drafted")):
        return float("inf")
    return max(float(np.abs(kept[key] - found[key]).max()) for key in ("logits", "states"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    let_all_layers_share()
    if arguments.check:
        failed = 0
        with np.load(PATH) as file:
            for name in REFERENCED:
                kept = {key.partition("/")[2]: file[key] for key in file.files if key.startswith(f"{name}/")}
                worst = check(kept, reference(DRAFTERS[name], int(kept["seed"])))
                failed += worst > 1e-6
                print(f"{name:26} {'differs by' if worst > 1e-6 else 'equal to'} {worst:.1e}", flush=True)
        return 1 if failed else 0
    arrays: dict[str, Any] = {}
    for i, name in enumerate(REFERENCED):
        found = search(DRAFTERS[name], 1000 * (i + 1))
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
        print(f"{name:26} seed {found['seed']}, margin {found['margin']:.3f}", flush=True)
    np.savez_compressed(PATH, **arrays)
    print(f"{PATH.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raise SystemExit(main())
