"""What a Gemma 4 checkpoint says about itself: `config.json` and the feature extractor's settings, read once, nothing assumed.

Source of every field and default: transformers 5.23, `models/gemma4/configuration_gemma4.py` and `feature_extraction_gemma4.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import CheckpointError

Kind = Literal["sliding", "full"]
KINDS: Final[tuple[Kind, Kind]] = ("sliding", "full")

_ACTIVATIONS = ("gelu_pytorch_tanh", "gelu", "silu", "relu")


class Fields:
    """One JSON object, read with types; a missing or ill-typed field is a `CheckpointError` that names it."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.values = values
        self.name = name

    def _typed(self, key: str, kinds: tuple[type, ...], default: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise CheckpointError(f"{self.name} has no {key!r}", "export a complete Gemma 4 checkpoint")
        if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
            raise CheckpointError(f"{self.name} has {key!r} = {value!r}, which is not of the expected type")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        return int(self._typed(key, (int,), default))

    def number(self, key: str, default: float | None = None) -> float:
        return float(self._typed(key, (int, float), default))

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._typed(key, (bool,), default))

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._typed(key, (str,), default))

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise CheckpointError(f"{self.name} has {key!r} = {value!r}", f"only {', '.join(choices)} are supported")
        return value

    def part(self, key: str) -> "Fields":
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{self.name} has no {key!r}", "give a complete Gemma 4 checkpoint")
        return Fields(cast(Mapping[str, Any], value), f"{self.name}: {key}")


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding of one kind of layer."""

    theta: float
    rotated: float
    """Fraction of the head that turns; the rest stands still."""
    factor: float
    """Frequencies are divided by it."""

    def frequencies(self, head_dim: int) -> NDArray[np.float32]:
        """Radians per position. Shape [head_dim / 2]."""
        turning = int(self.rotated * head_dim // 2)
        exponents = np.arange(0, 2 * turning, 2, dtype=np.float32) / np.float32(head_dim)
        out = np.zeros(head_dim // 2, np.float32)
        out[:turning] = np.float32(1) / np.float32(self.theta) ** exponents / np.float32(self.factor)
        return out


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer."""

    kind: Kind
    head_dim: int
    kv_heads: int
    shared: bool
    """It has no keys and values: it reads those of the last layer of its kind that has."""
    keys_are_values: bool
    mlp: int
    """Inner width of the gated MLP."""


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The decoder."""

    vocab: int
    hidden: int
    heads: int
    layers: tuple[Layer, ...]
    window: int
    """Positions that a sliding layer sees, its own included."""
    sliding_rope: Rope
    full_rope: Rope
    activation: str
    epsilon: float
    softcap: float | None
    ple: int
    """Width of the per-layer embedding; 0 when there is none."""
    ple_vocab: int
    tied: bool
    pad_id: int

    @property
    def lower(self) -> int:
        """How many layers write keys and values; the rest only read."""
        return sum(not layer.shared for layer in self.layers)

    def rope(self, kind: Kind) -> Rope:
        return self.sliding_rope if kind == "sliding" else self.full_rope

    def source(self, kind: Kind) -> int:
        """The layer whose keys and values the shared layers of this kind read."""
        return max(i for i, layer in enumerate(self.layers[: self.lower]) if layer.kind == kind)

    def first(self, kind: Kind) -> Layer | None:
        """A layer of this kind: all of one kind have the same shape."""
        return next((layer for layer in self.layers if layer.kind == kind), None)


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """The audio encoder: two convolutions, conformer layers, a projection."""

    hidden: int
    layers: int
    heads: int
    channels: tuple[int, int]
    kernel: int
    """Frames of the depthwise convolution, its own included."""
    chunk: int
    left: int
    softcap: float
    residual: float
    clip: float
    clipped_linears: bool
    activation: str
    epsilon: float
    output: int

    @property
    def past(self) -> int:
        """Frames before its own that attention sees."""
        return self.left - 2

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True, slots=True)
class MelConfig:
    """The feature extractor."""

    bins: int = 128
    rate_hz: int = 16_000
    frame_ms: float = 20.0
    hop_ms: float = 10.0
    low_hz: float = 0.0
    high_hz: float = 8_000.0
    preemphasis: float = 0.0
    preemphasis_htk: bool = True
    overdrive: bool = False
    """Twice the transform's length."""
    scale: float = 1.0
    floor: float = 1e-3
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return round(self.rate_hz * self.frame_ms / 1000.0)

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return round(self.rate_hz * self.hop_ms / 1000.0)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole model."""

    text: TextConfig
    audio: AudioConfig
    mel: MelConfig
    placeholders: frozenset[int]
    """Ids that stand for soft tokens of any kind; fed as text they count as padding."""

    @classmethod
    def parse(cls, model: Mapping[str, Any], features: Mapping[str, Any]) -> "Config":
        """From the JSON of `config.json` and of the feature extractor ({} for its defaults)."""
        fields = Fields(model, "config.json")
        kind = fields.text("model_type", "?")
        if kind != "gemma4":
            raise CheckpointError(
                f"the checkpoint is of model type {kind!r}", "only Gemma 4 with audio (E2B, E4B) can be exported"
            )
        if not isinstance(model.get("audio_config"), Mapping):
            raise CheckpointError("the checkpoint has no audio tower", "take a Gemma 4 that hears: E2B or E4B")
        text = parse_text(fields.part("text_config"), fields)
        keys = {"image_token_id": 258_880, "video_token_id": 258_884, "audio_token_id": 258_881}
        placeholders = frozenset(fields.integer(key, default) for key, default in keys.items())
        return cls(text, _audio(fields.part("audio_config")), _mel(Fields(features, "feature extractor")), placeholders)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError."""
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist", "give the folder of a complete Gemma 4 checkpoint") from None
    except (ValueError, OSError) as fault:
        raise CheckpointError(f"{path} cannot be read: {fault}") from fault
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return cast(dict[str, Any], value)


def read_features(folder: Path) -> dict[str, Any]:
    """The feature extractor's settings of a checkpoint; {} when it has none of its own."""
    if (folder / "processor_config.json").exists():
        part = read_json(folder / "processor_config.json").get("feature_extractor")
        if isinstance(part, dict):
            return cast(dict[str, Any], part)
    if (folder / "preprocessor_config.json").exists():
        return read_json(folder / "preprocessor_config.json")
    return {}


def parse_text(fields: Fields, whole: Fields) -> TextConfig:
    """The decoder's part of `config.json`. Raises CheckpointError."""
    if fields.flag("enable_moe_block", False) or (fields.values.get("num_experts") or 0):
        raise CheckpointError("the checkpoint has experts (mixture of experts)", "take a dense Gemma 4: E2B or E4B")
    if fields.values.get("use_bidirectional_attention") == "all":
        raise CheckpointError("the checkpoint attends both ways and cannot answer token by token")
    if fields.flag("attention_bias", False):
        raise CheckpointError("the checkpoint has biases in its attention, which no released Gemma 4 has")
    softcap = fields.values.get("final_logit_softcapping")
    vocab = fields.integer("vocab_size", 262_144)
    return TextConfig(
        vocab=vocab,
        hidden=fields.integer("hidden_size", 2304),
        heads=fields.integer("num_attention_heads", 8),
        layers=_layers(fields),
        window=fields.integer("sliding_window", 512),
        sliding_rope=_rope(fields, "sliding"),
        full_rope=_rope(fields, "full"),
        activation=fields.choice("hidden_activation", _ACTIVATIONS, "gelu_pytorch_tanh"),
        epsilon=fields.number("rms_norm_eps", 1e-6),
        softcap=None if softcap is None else fields.number("final_logit_softcapping"),
        ple=fields.integer("hidden_size_per_layer_input", 256),
        ple_vocab=fields.integer("vocab_size_per_layer_input", 262_144),
        tied=whole.flag("tie_word_embeddings", fields.flag("tie_word_embeddings", True)),
        pad_id=fields.integer("pad_token_id", 0),
    )


def _layers(fields: Fields) -> tuple[Layer, ...]:
    count = fields.integer("num_hidden_layers", 30)
    shared = fields.integer("num_kv_shared_layers", 0)
    names: list[str] = list(fields.values.get("layer_types") or [])
    if not names:
        names = ["sliding_attention" if (i + 1) % 6 else "full_attention" for i in range(count)]
    if len(names) != count or set(names) - {"sliding_attention", "full_attention"}:
        raise CheckpointError(f"{fields.name} has layer_types that do not fit its {count} layers")
    names[-1] = "full_attention"  # as transformers does: the last layer always sees everything
    heads, head_dim = fields.integer("num_key_value_heads", 4), fields.integer("head_dim", 256)
    keys_are_values = fields.flag("attention_k_eq_v", False)
    global_heads = fields.values.get("num_global_key_value_heads") if keys_are_values else None
    own: dict[str, Any] = dict(fields.values.get("per_layer_config") or {})
    wide = fields.flag("use_double_wide_mlp", False)
    mlp = fields.integer("intermediate_size", 9216)
    layers: list[Layer] = []
    for i, name in enumerate(names):
        full, reads = name == "full_attention", i >= count - shared
        settings = Fields(own.get(str(i)) or {}, f"{fields.name}: per_layer_config {i}")
        layers.append(
            Layer(
                kind="full" if full else "sliding",
                head_dim=settings.integer("head_dim", fields.integer("global_head_dim", 512) if full and not own else head_dim),
                kv_heads=settings.integer("num_key_value_heads", global_heads if full and global_heads else heads),
                shared=reads,
                keys_are_values=keys_are_values and full,
                mlp=mlp * (2 if wide and reads else 1),
            )
        )
    _check_layers(layers, fields)
    return tuple(layers)


def _check_layers(layers: list[Layer], fields: Fields) -> None:
    heads = fields.integer("num_attention_heads", 8)
    writers = {layer.kind for layer in layers if not layer.shared}
    for kind in KINDS:
        shapes = {(layer.head_dim, layer.kv_heads) for layer in layers if layer.kind == kind}
        if len(shapes) > 1:
            raise CheckpointError(f"{fields.name} has {kind} layers of different shapes")
        if shapes and kind not in writers:
            raise CheckpointError(f"{fields.name} has {kind} layers that read keys nobody writes")
        if any(heads % kv_heads for _, kv_heads in shapes):
            raise CheckpointError(f"{fields.name} has {heads} heads that cannot share its key heads evenly")


def _rope(fields: Fields, kind: Kind) -> Rope:
    defaults: dict[Kind, dict[str, Any]] = {
        "sliding": {"rope_type": "default", "rope_theta": 10_000.0},
        "full": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
    }
    given: Mapping[str, Any] = fields.values.get("rope_parameters") or {}
    part = Fields(given.get(f"{kind}_attention") or defaults[kind], f"{fields.name}: rope_parameters of {kind} layers")
    style = part.choice("rope_type", ("default", "proportional"), "default")
    if style == "default":
        return Rope(part.number("rope_theta"), 1.0, 1.0)
    return Rope(part.number("rope_theta"), part.number("partial_rotary_factor", 1.0), part.number("factor", 1.0))


def _audio(fields: Fields) -> AudioConfig:
    if fields.integer("attention_context_right", 0):
        raise CheckpointError("the audio tower looks ahead and cannot hear while you speak")
    first, second = list(fields.values.get("subsampling_conv_channels") or (128, 32))
    return AudioConfig(
        hidden=fields.integer("hidden_size", 1024),
        layers=fields.integer("num_hidden_layers", 12),
        heads=fields.integer("num_attention_heads", 8),
        channels=(int(first), int(second)),
        kernel=fields.integer("conv_kernel_size", 5),
        chunk=fields.integer("attention_chunk_size", 12),
        left=fields.integer("attention_context_left", 13),
        softcap=fields.number("attention_logit_cap", 50.0),
        residual=fields.number("residual_weight", 0.5),
        clip=fields.number("gradient_clipping", 1e10),
        clipped_linears=fields.flag("use_clipped_linears", True),
        activation=fields.choice("hidden_act", _ACTIVATIONS, "silu"),
        epsilon=fields.number("rms_norm_eps", 1e-6),
        output=fields.integer("output_proj_dims", 1536),
    )


def _mel(fields: Fields) -> MelConfig:
    if fields.number("dither", 0.0):
        raise CheckpointError("the feature extractor adds random dither, so no two readings of a sound would be equal")
    mean, deviation = fields.values.get("per_bin_mean"), fields.values.get("per_bin_stddev")
    return MelConfig(
        bins=fields.integer("feature_size", 128),
        rate_hz=fields.integer("sampling_rate", 16_000),
        frame_ms=fields.number("frame_length_ms", _ms(fields, "frame_length", 20.0)),
        hop_ms=fields.number("hop_length_ms", _ms(fields, "hop_length", 10.0)),
        low_hz=fields.number("min_frequency", 0.0),
        high_hz=fields.number("max_frequency", 8_000.0),
        preemphasis=fields.number("preemphasis", 0.0),
        preemphasis_htk=fields.flag("preemphasis_htk_flavor", True),
        overdrive=fields.flag("fft_overdrive", False),
        scale=fields.number("input_scale_factor", 1.0),
        floor=fields.number("mel_floor", 1e-3),
        mean=None if mean is None else tuple(float(x) for x in mean),
        deviation=None if deviation is None else tuple(float(x) for x in deviation),
    )


def _ms(fields: Fields, key: str, default: float) -> float:
    """A length that a saved extractor keeps in samples."""
    return 1000.0 * fields.integer(key) / fields.integer("sampling_rate", 16_000) if key in fields.values else default
