"""What PEFT's `merge_and_unload` makes of small adapters, in double precision, kept in `references/adapters.npz`.

python tests/parity/make_adapter_references.py            make it again (needs torch, transformers and peft)
python tests/parity/make_adapter_references.py --check    compare the kept one with PEFT
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from peft.utils.other import get_pattern_key
from transformers import Gemma4ForConditionalGeneration

sys.path.insert(0, str(Path(__file__).parent))
from adapters import KINDS, Kind, make_adapter, modules, probe
from make_references import double
from shapes import SHAPES, make_checkpoint

FILE = Path(__file__).parent / "references" / "adapters.npz"
SEED = 7
TEXT = np.random.RandomState(SEED).randint(24, 280, 30)


def rank_of(kind: Kind, path: str) -> int:
    """As PEFT finds it."""
    patterns = kind.settings.get("rank_pattern", {})
    return patterns.get(get_pattern_key(patterns.keys(), path), kind.settings.get("r", LoraConfig().r))


def reference(kind: Kind) -> dict[str, Any]:
    """The rank of each module, each merged weight times a vector, and the merged model's last logits."""
    shape = SHAPES[kind.shape]
    ranks = {path: rank_of(kind, path) for path in modules(kind, shape, SEED)}
    with tempfile.TemporaryDirectory() as name, double(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint = make_checkpoint(Path(name) / "checkpoint", shape, SEED)
        adapter = make_adapter(Path(name) / "adapter", kind, SEED, ranks)
        options: dict[str, Any] = {"dtype": torch.float64, "attn_implementation": "eager"}
        model = Gemma4ForConditionalGeneration.from_pretrained(checkpoint, **options).eval()
        adapted = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
        changed = {path.removesuffix(".base_layer") for path, _ in model.named_modules() if path.endswith(".base_layer")}
        assert changed == ranks.keys(), changed ^ ranks.keys()
        merged = adapted.merge_and_unload()
        weights = {path: merged.get_submodule(path).weight.double().numpy() for path in ranks}
        options = {"use_cache": True, "output_hidden_states": True}
        logits = merged(input_ids=torch.tensor(TEXT[None]), **options).logits[0, -1].numpy()
    found: dict[str, Any] = {"logits": logits}
    for path, weight in weights.items():
        found[f"rank.{path}"] = np.array(ranks[path])
        found[f"merged.{path}"] = (weight @ probe(weight.shape[1])).astype(np.float32)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {f"{name}/{key}": value for name, kind in KINDS.items() for key, value in reference(kind).items()}
    if not arguments.check:
        np.savez_compressed(FILE, **found)
        print(f"{FILE}: {len(found)} arrays, {FILE.stat().st_size} bytes")
        return 0
    with np.load(FILE) as kept:
        worst = (
            max(float(np.abs(kept[key] - value).max()) for key, value in found.items()) if kept.keys() == found.keys() else np.inf
        )
    print(f"{'differs by' if worst > 1e-5 else 'equal to'} {worst:.1e}")
    return int(worst > 1e-5)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raise SystemExit(main())
