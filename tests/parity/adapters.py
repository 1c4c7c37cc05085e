"""Small random LoRA adapters of many kinds, made of a seed with numpy alone."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from shapes import SHAPES, Shape, tensors, write_safetensors

ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
PER_LAYER = ("per_layer_input_gate", "per_layer_projection")


@dataclass(frozen=True)
class Kind:
    """One adapter: which modules it changes, by the ends of their paths, and its settings."""

    targets: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    shape: str = "base"
    dtype: str = "F32"
    where: str = r".*language_model\..*"

    @property
    def target_modules(self) -> str:
        """As a regular expression, which PEFT matches with the whole path."""
        ends = "|".join(target.replace(".", r"\.") for target in self.targets)
        return rf"{self.where}({ends})"


KINDS: dict[str, Kind] = {
    "attention": Kind(("q_proj", "v_proj"), {"r": 4, "lora_alpha": 8}),
    "every-linear": Kind((*ATTENTION, *MLP, *PER_LAYER), {"r": 2, "lora_alpha": 16}),
    "rslora": Kind((*ATTENTION, *MLP), {"r": 4, "lora_alpha": 8, "use_rslora": True}),
    "patterns": Kind(
        (*ATTENTION, *MLP),
        {
            "r": 4,
            "lora_alpha": 6,
            "rank_pattern": {r"layers\.[01]\.self_attn\.q_proj": 2, "down_proj": 8, "proj": 3},
            "alpha_pattern": {r"layers\.2\.mlp\..*": 1, "o_proj": 32},
        },
    ),
    "patterns-rslora": Kind(
        MLP, {"r": 4, "use_rslora": True, "lora_alpha": 4, "rank_pattern": {"up_proj": 7}, "alpha_pattern": {"gate_proj": 9}}
    ),
    "bfloat16": Kind((*ATTENTION, *MLP), {"r": 8, "lora_alpha": 8}, dtype="BF16"),
    "transposed-by-mistake": Kind(("q_proj", "o_proj"), {"r": 4, "lora_alpha": 4, "fan_in_fan_out": True}),
    "head": Kind(("lm_head", "per_layer_model_projection"), {"r": 4, "lora_alpha": 8}, shape="untied-head", where=r"(.*\.)?"),
    "ears": Kind(
        ("ffw_layer_1.linear", "post.linear", "relative_k_proj", "embedding_projection"),
        {"r": 4, "lora_alpha": 8},
        where=r".*audio.*\.",
    ),
}


def modules(kind: Kind, shape: Shape, seed: int) -> dict[str, tuple[int, int]]:
    """Path and weight shape of every module that is changed."""
    found: dict[str, tuple[int, int]] = {}
    for name, value in tensors(shape, seed):
        path = name.removesuffix(".weight")
        if value.ndim == 2 and re.fullmatch(kind.target_modules, path):
            found[path] = value.shape
    return found


def make_adapter(folder: Path, kind: Kind, seed: int, ranks: dict[str, int]) -> Path:
    """A folder as PEFT saves it. `ranks`: of each module."""
    folder.mkdir(parents=True)
    settings = {
        "peft_type": "LORA",
        "target_modules": kind.target_modules,
        "bias": "none",
        "init_lora_weights": True,
        "lora_dropout": 0.05,
        "inference_mode": True,
        "base_model_name_or_path": "a/model",
        "task_type": None,
        **kind.settings,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    random, named = np.random.RandomState(seed), list[tuple[str, np.ndarray[Any, Any]]]()
    for path, (outputs, inputs) in modules(kind, SHAPES[kind.shape], seed).items():
        rank = ranks[path]
        named.append((f"base_model.model.{path}.lora_A.weight", random.standard_normal((rank, inputs)) / np.sqrt(inputs)))
        named.append((f"base_model.model.{path}.lora_B.weight", random.standard_normal((outputs, rank)) * 0.4))
    write_safetensors(folder / "adapter_model.safetensors", named, kind.dtype)
    return folder


def probe(inputs: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A vector by whose product a merged weight is remembered."""
    return np.random.RandomState(inputs).standard_normal(inputs)
