"""A LoRA adapter as PEFT, Unsloth and others write it, merged into a checkpoint while that is read.

    merged = weight + scale · B·A        scale = alpha / r, or alpha / √r with `use_rslora`

One tensor at a time, in float32: the merged checkpoint never lies anywhere. An adapter trained on a quantised checkpoint (QLoRA)
is merged into the checkpoint it was quantised from, as PEFT does it. What cannot be honoured is named and refused.
Source: peft 0.21, `tuners/lora/layer.py`, `tuners/lora/model.py` and `utils/other.py` (`get_pattern_key`).
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import deserialize as untyped_deserialize  # pyright: ignore[reportUnknownVariableType]

from edge_assistant.errors import CheckpointError, UsageError
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.config import Fields, read_json
from edge_assistant.gemma4.gguf import SUFFIX

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TYPES: dict[str, Any] = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
_deserialize = cast(Callable[[bytes], list[tuple[str, dict[str, Any]]]], untyped_deserialize)
_PREFIX = "base_model.model."
_SIDE = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight")
_UNHEARD = ("model.vision_tower.", "model.embed_vision.")
"""Parts that no bundle has: what is trained there goes unseen."""
_MERGE_FIRST = "merge the adapter with PEFT (merge_and_unload), save the model and export that"
_REFUSED: Final[Mapping[str, str]] = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules beside the adapter (modules_to_save)",
    "lora_bias": "biases (lora_bias)",
    "trainable_token_indices": "trained tokens (trainable_token_indices)",
    "target_parameters": "adapted parameters (target_parameters)",
    "layer_replication": "replicated layers (layer_replication)",
    "use_qalora": "QA-LoRA",
    "alora_invocation_tokens": "activated LoRA (alora_invocation_tokens)",
    "use_bdlora": "BD-LoRA",
    "arrow_config": "a router of adapters (arrow_config)",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "Megatron's layers (megatron_config)",
}
"""Settings that change what an adapter computes, and their names for people."""
_PLAIN_STARTS = ("True", "False", "None", "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` that leave the checkpoint as it was; others train against an altered one."""


@dataclass(frozen=True, slots=True)
class Update:
    """What is added to one weight."""

    a: NDArray[Any]
    """Any float type. Shape [rank, inputs]."""
    b: NDArray[Any]
    """Shape [outputs, rank]."""
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weight: [outputs, inputs]."""
        return len(self.b), self.a.shape[1]

    def added_to(self, weight: NDArray[Any]) -> NDArray[np.float32]:
        """The merged weight. Shape [outputs, inputs]."""
        merged = self.b.astype(np.float32) @ self.a.astype(np.float32)
        merged *= np.float32(self.scale)
        merged += weight.astype(np.float32)
        return merged


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's folder, read and checked."""

    name: str
    updates: dict[str, Update]
    """By the module's path in the model that was trained, such as model.language_model.layers.0.self_attn.q_proj."""

    @classmethod
    def open(cls, folder: Path) -> "Adapter":
        """Read `adapter_config.json` and `adapter_model.safetensors`.

        Raises CheckpointError: they are absent, broken, or ask for more than plain LoRA.
        """
        settings = _Settings(Fields(read_json(_find(folder, CONFIG)), CONFIG))
        sides: dict[str, dict[str, NDArray[Any]]] = {}
        for name, value in _read_tensors(_find(folder, WEIGHTS)).items():
            found = _SIDE.fullmatch(name.removeprefix(_PREFIX))
            if found is None or value.ndim != 2:
                raise CheckpointError(f"{WEIGHTS} holds {name}, which is no part of a LoRA of matrices", _MERGE_FIRST)
            sides.setdefault(found["module"], {})[found["side"]] = value
        if not sides:
            raise CheckpointError(f"{folder / WEIGHTS} holds no adapter", "is it the folder that the training saved?")
        updates = {module: settings.update(module, pair) for module, pair in sorted(sides.items())}
        return cls(folder.resolve().name, updates)


def adapted(checkpoint: Path, adapter: Path) -> "Adapted":
    """The tensors of a checkpoint's folder with those of an adapter's folder merged in. Raises CheckpointError, UsageError."""
    if checkpoint.suffix == SUFFIX:
        raise UsageError(
            f"{checkpoint} is quantised, and an adapter is merged before that", "give the folder of the published checkpoint"
        )
    return Adapted(checkpoint, Adapter.open(adapter))


class Adapted(Checkpoint):
    """A checkpoint's tensors with an adapter merged in."""

    def __init__(self, folder: Path, adapter: Adapter) -> None:
        super().__init__(folder)
        self._adapter = adapter
        self._updates: dict[str, Update] = {}
        for module, update in adapter.updates.items():
            if module.startswith(_UNHEARD):
                continue
            name = self._find_weight(module, update)
            if name is not None:
                self._updates[name] = update
        if not self._updates:
            raise CheckpointError(
                f"the adapter {adapter.name} changes nothing that a bundle has", "was it trained on images alone?"
            )

    @property
    def name(self) -> str:
        """What a bundle calls its source."""
        return f"{self.folder.resolve().name} + {self._adapter.name}"

    def rows(self, name: str) -> NDArray[Any]:
        """The tensor as it lies in the file, mapped; an adapted one in float32, in memory."""
        rows, update = super().rows(name), self._updates.get(name)
        return rows if update is None else update.added_to(rows)

    def _find_weight(self, module: str, update: Update) -> str | None:
        """The name of a module's weight; None for one that is not there and that the training never touched."""
        # trained as a language model alone, it lacks a level of names
        names = (f"{module}.weight", f"{module.replace('model.', 'model.language_model.', 1)}.weight")
        name = next((name for name in names if name in self), None)
        if name is None:
            if not np.any(update.b):
                return None
            raise CheckpointError(
                f"the adapter {self._adapter.name} changes {module}, which the checkpoint has not as a weight of its own",
                "name the checkpoint that it was trained on",
            )
        if self.shape(name) != update.shape:
            raise CheckpointError(
                f"the adapter {self._adapter.name} is for a {module} of shape {list(update.shape)}, and the checkpoint's "
                f"has {list(self.shape(name))}",
                "name the checkpoint that it was trained on",
            )
        return name


class _Settings:
    """`adapter_config.json`, checked."""

    def __init__(self, fields: Fields) -> None:
        kind = fields.text("peft_type", "LORA")
        if kind != "LORA":
            raise CheckpointError(f"the adapter is of kind {kind}", f"only LoRA can be merged; {_MERGE_FIRST}")
        for key, words in _REFUSED.items():
            if fields.values.get(key):
                raise CheckpointError(f"the adapter uses {words}, which cannot be merged here", _MERGE_FIRST)
        if fields.text("bias", "none") != "none":
            raise CheckpointError("the adapter has trained biases, which no released Gemma 4 has", _MERGE_FIRST)
        start = str(fields.values.get("init_lora_weights", True))
        if start not in _PLAIN_STARTS:
            raise CheckpointError(f"the adapter started from {start}, which alters the checkpoint beneath it", _MERGE_FIRST)
        # `fan_in_fan_out` is for layers that keep their weight transposed; Gemma's do not, and PEFT ignores it there, too
        self._rank, self._alpha = fields.integer("r", 8), fields.number("lora_alpha", 8)
        self._ranks, self._alphas = (_pattern(fields, f"{key}_pattern") for key in ("rank", "alpha"))
        self._rslora = fields.flag("use_rslora", False)

    def update(self, module: str, pair: Mapping[str, NDArray[Any]]) -> Update:
        """Of a module's A and B. Raises CheckpointError."""
        if len(pair) != 2:
            raise CheckpointError(f"the adapter has only one of the two matrices of {module}", "fetch it again")
        rank = int(_matching(self._ranks, module, self._rank))
        if pair["A"].shape[0] != rank or pair["B"].shape[1] != rank:
            shapes = f"{list(pair['A'].shape)} and {list(pair['B'].shape)}"
            raise CheckpointError(
                f"{CONFIG} gives {module} the rank {rank}, and its matrices have shapes {shapes}", "fetch it again"
            )
        alpha = _matching(self._alphas, module, self._alpha)
        return Update(pair["A"], pair["B"], alpha / (math.sqrt(rank) if self._rslora else rank))


def _pattern(fields: Fields, key: str) -> dict[str, float]:
    """Numbers by patterns of module paths."""
    given: Any = fields.values.get(key) or {}
    if not isinstance(given, Mapping):
        raise CheckpointError(f"{fields.name} has {key!r} = {given!r}, which is not of the expected type")
    part = Fields(cast(Mapping[str, Any], given), f"{fields.name}: {key}")
    return {name: part.number(name) for name in part.values}


def _matching(patterns: Mapping[str, float], module: str, default: float) -> float:
    """Of the first pattern that is the path's end, as PEFT matches them."""
    try:
        return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)
    except re.error as fault:
        raise CheckpointError(f"{CONFIG} has a pattern that is none: {fault}") from fault


def _find(folder: Path, name: str) -> Path:
    path = folder / name
    if path.is_file():
        return path
    if name == WEIGHTS and (folder / "adapter_model.bin").exists():
        raise CheckpointError(
            f"{folder} has its weights as adapter_model.bin, which could run code when it is opened",
            "save the adapter again with safe_serialization=True",
        )
    raise CheckpointError(f"{folder} has no {name}", "give the folder of a LoRA adapter as PEFT saves it")


def _read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """All of them, in their own types."""
    try:
        listed = _deserialize(path.read_bytes())
    except (SafetensorError, OSError) as fault:
        raise CheckpointError(f"{path} cannot be read: {fault}", "fetch it again") from fault
    out: dict[str, NDArray[Any]] = {}
    for name, entry in listed:
        if entry["dtype"] not in _TYPES:
            raise CheckpointError(f"{path} has {name} in {entry['dtype']}", "only floating point can be merged")
        out[name] = np.frombuffer(entry["data"], _TYPES[entry["dtype"]]).reshape(entry["shape"])
    return out
