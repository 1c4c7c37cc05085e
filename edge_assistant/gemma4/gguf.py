"""A GGUF pair, the decoder's file and the multimodal projector's, read as the checkpoint it was made from.

Tensors go by the names they have in a published checkpoint; the `gguf` package knows what llama.cpp calls them. Quantised ones
keep their codes and scales (`ggml.py`). What a converter changed on the way is changed back: a depthwise convolution lost an
axis, `per_dim_scale` went through softplus.
Source: https://github.com/ggml-org/llama.cpp `conversion/gemma.py`, `Gemma4Model` and `Gemma4VisionAudioModel`.
"""

import importlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import CheckpointError, UsageError
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.config import read_features, read_json
from edge_assistant.gemma4.ggml import QUANTISED, Quantised, quantised
from edge_assistant.gemma4.metadata import audio_config, completed, placeholders, text_config, tokenizer_json

SUFFIX = ".gguf"
CHECKPOINT = "name the folder with config.json and *.safetensors, or a GGUF file"
"""What a checkpoint can be."""
_FLOATS = ("F32", "F16", "BF16")
_AUDIO = ("a.", "mm.a.")
"""Tensors of the projector that are read; the others see."""
_DIMENSIONS = {"lconv1d.depthwise_conv1d.weight": 1}
"""Axes of one that a converter leaves out, by place."""


class GgufFile:
    """One file: its metadata and where its tensors lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.gguf: Any = importlib.import_module("gguf")
        except ImportError:
            raise CheckpointError(
                "reading GGUF files needs the package gguf", "install it: pip install 'edge-assistant[gguf]'"
            ) from None
        try:
            # an unknown type or a cut file is whatever numpy says of it
            self._reader: Any = _reader(self.gguf)(path)
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist") from None
        except (ValueError, IndexError, KeyError, TypeError, OSError, OverflowError) as fault:
            words = " ".join(str(fault).split())
            raise CheckpointError(f"{path} cannot be read as GGUF or is cut short: {words}", "fetch it again") from fault
        self.tensors: dict[str, Any] = {tensor.name: tensor for tensor in self._reader.tensors}
        if (parts := self.get("split.count", 1)) > 1:
            raise CheckpointError(f"{path} is one of {parts} parts", "join them with llama-gguf-split --merge")

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the metadata: a number, a text, or a list of them."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def need(self, key: str) -> Any:
        """A value that must be there. Raises CheckpointError."""
        value = self.get(key)
        if value is None:
            raise CheckpointError(f"{self.path} has no {key!r} in its metadata", "is it a complete Gemma 4 with audio?")
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        """Outputs first. Raises CheckpointError when there is no such tensor."""
        if name not in self.tensors:
            raise CheckpointError(f"{self.path} has no tensor {name!r}", "is it a complete Gemma 4 with audio?")
        return tuple(int(size) for size in reversed(self.tensors[name].shape))

    def check_types(self, prefixes: tuple[str, ...]) -> None:
        """Raises CheckpointError, and names the first, when tensors whose names begin so are of a type nobody here reads."""
        for name, tensor in self.tensors.items():
            kind = tensor.tensor_type.name
            if name.startswith(prefixes) and kind not in QUANTISED and kind not in _FLOATS:
                raise CheckpointError(
                    f"{self.path}: {name} is of type {kind}", f"only {', '.join([*QUANTISED, *_FLOATS])} are supported"
                )

    def array(self, name: str) -> NDArray[Any]:
        """A tensor of floats, mapped, not read; a quantised one restored."""
        if coded := self.quantised(name):
            return coded.restored(slice(None)).reshape(self.shape(name))
        data = np.asarray(self.tensors[name].data)
        return data.view(ml_dtypes.bfloat16) if self.tensors[name].tensor_type.name == "BF16" else data

    def quantised(self, name: str) -> Quantised | None:
        """None when it is of floats."""
        kind = self.tensors[name].tensor_type.name
        return quantised(np.asarray(self.tensors[name].data), kind) if kind in QUANTISED else None


class Gguf(Checkpoint):
    """The pair. `config.json`, `processor_config.json` or `preprocessor_config.json` beside it say what the files do not."""

    def __init__(self, decoder: Path, projector: Path | None = None) -> None:
        self.folder = decoder.parent
        self._decoder = GgufFile(decoder)
        if (kind := self._decoder.get("general.architecture")) != "gemma4":
            raise CheckpointError(f"{decoder} is of architecture {kind!r}", "only Gemma 4 with audio (E2B, E4B) can be exported")
        self._decoder.check_types(("",))
        self._projector = GgufFile(projector or _beside(decoder))
        _check_hears(self._projector)
        self._projector.check_types(_AUDIO)
        if any(tensor.tensor_type.name in QUANTISED for tensor in self._decoder.tensors.values()):
            self.least_bits = 8
        arch, package = self._decoder.gguf.MODEL_ARCH, self._decoder.gguf
        self._text_names: Any = package.get_tensor_name_map(arch.GEMMA4, self._decoder.need("gemma4.block_count"))
        self._audio_names: Any = package.get_tensor_name_map(arch.MMPROJ, self._projector.need("clip.audio.block_count"))

    @property
    def name(self) -> str:
        return self._decoder.path.name

    def config(self) -> dict[str, Any]:
        """Reconstructed; where the files say nothing, from config.json beside them, else as every published Gemma 4 has it."""
        found = {
            "model_type": "gemma4",
            "text_config": text_config(self._decoder),
            "audio_config": audio_config(self._projector),
            "tie_word_embeddings": "output.weight" not in self._decoder.tensors,
            **placeholders(self._decoder),
        }
        beside = self.folder / "config.json"
        return completed(found, read_json(beside), beside) if beside.exists() else found

    def features(self) -> dict[str, Any]:
        bins = {"feature_size": int(self._projector.need("clip.audio.num_mel_bins"))}
        return completed(bins, read_features(self.folder), self.folder)

    def tokenizer(self) -> bytes:
        return tokenizer_json(self._decoder)

    def template(self) -> str | None:
        return self._decoder.get("tokenizer.chat_template")

    def __contains__(self, name: str) -> bool:
        file, own = self._find(name)
        return own in file.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        file, own = self._find(name)
        shape = list(file.shape(own))
        for ending, place in _DIMENSIONS.items():
            if name.endswith(ending):
                shape.insert(place, 1)
        return tuple(shape)

    def rows(self, name: str) -> NDArray[Any]:
        file, own = self._find(name)
        shape = self.shape(name)
        values = file.array(own).reshape(shape)
        return _unsoftened(values, own) if name.endswith("per_dim_scale") else values

    def quantised(self, name: str) -> Quantised | None:
        file, own = self._find(name)
        file.shape(own)
        return file.quantised(own)

    def _find(self, name: str) -> tuple[GgufFile, str]:
        """The file that has a tensor, and its name there."""
        hears = name.startswith(("model.audio_tower.", "model.embed_audio."))
        file, names = (self._projector, self._audio_names) if hears else (self._decoder, self._text_names)
        own = name.replace("model.audio_tower.", "conformer.").replace("model.language_model.", "model.").replace(".linear.", ".")
        if own.endswith(("per_dim_scale", "layer_scalar")):
            own += ".weight"
        found = names.get_name(own, (".weight", ".bias", ".input_min", ".input_max", ".output_min", ".output_max"))
        return file, found or name


def _reader(package: Any) -> Any:
    """The package's reader over plain arrays: it makes millions of views, and those of np.memmap are four times slower."""

    class Reader(package.GGUFReader):
        @property
        def data(self) -> NDArray[np.uint8]:
            return self._plain

        @data.setter
        def data(self, mapped: NDArray[np.uint8]) -> None:
            self._plain = np.asarray(mapped)

    return Reader


def opened(path: Path, projector: Path | None = None) -> Checkpoint:
    """A checkpoint's tensors: of a folder of safetensors, or of a GGUF file. Raises CheckpointError, UsageError."""
    if path.suffix == SUFFIX:
        return Gguf(path, projector)
    if projector:
        raise UsageError(f"{path} is no GGUF file and needs no projector", "leave --projector out")
    if path.is_file():
        raise CheckpointError(f"{path} is neither a folder nor a GGUF file", CHECKPOINT)
    return Checkpoint(path)


def _beside(decoder: Path) -> Path:
    """The projector in the decoder's folder."""
    found = sorted(path for path in decoder.parent.glob(f"*{SUFFIX}") if "mmproj" in path.name.lower() and path != decoder)
    if len(found) == 1:
        return found[0]
    many = f"several projector files ({', '.join(path.name for path in found)})" if found else "no projector file (mmproj…gguf)"
    raise UsageError(f"{decoder.parent} holds {many}", "name the one that belongs to the model: --projector FILE")


def _check_hears(projector: GgufFile) -> None:
    """Raises CheckpointError."""
    if (kind := projector.get("general.architecture")) != "clip":
        raise CheckpointError(f"{projector.path} is of architecture {kind!r}", "name the model's projector file (mmproj…gguf)")
    kind = projector.get("clip.audio.projector_type") or projector.get("clip.projector_type")
    if not projector.get("clip.has_audio_encoder", False) or kind != "gemma4a":
        raise CheckpointError(
            f"{projector.path} has no audio tower of Gemma 4 (projector type {kind!r})", "take the projector of E2B or E4B"
        )


def _unsoftened(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """The inverse of softplus."""
    soft = values.astype(np.float64)
    if not np.all(soft > 0):
        raise CheckpointError(f"{name} has values that no softplus gives", "convert the model with a newer llama.cpp")
    return (soft + np.log(-np.expm1(-soft))).astype(np.float32)
