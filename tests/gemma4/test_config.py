import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapes import SHAPES, config

from edge_assistant.errors import CheckpointError
from edge_assistant.gemma4.config import Config, Rope, read_features, read_json


def parse(**changes: Any) -> Config:
    whole = config(SHAPES["base"])
    text = {**whole["text_config"], **changes.pop("text", {})}
    audio = {**whole["audio_config"], **changes.pop("audio", {})}
    return Config.parse({**whole, "text_config": text, "audio_config": audio, **changes}, changes.pop("features", {}))


def test_the_shape_of_e2b() -> None:
    """As its config.json says, in the words of the release."""
    text = {
        "hidden_size": 1536,
        "num_hidden_layers": 35,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
        "num_attention_heads": 8,
        "head_dim": 256,
        "global_head_dim": 512,
        "num_kv_shared_layers": 20,
        "intermediate_size": 6144,
        "use_double_wide_mlp": True,
        "sliding_window": 512,
    }
    read = parse(text=text).text
    assert (read.lower, read.source("sliding"), read.source("full")) == (15, 13, 14)
    assert [layer.mlp for layer in read.layers] == [6144] * 15 + [12288] * 20
    assert [layer.head_dim for layer in read.layers[:5]] == [256] * 4 + [512]
    turning = read.rope("full").frequencies(512)
    assert np.count_nonzero(turning) == 64
    assert turning[0] == 1


def test_the_last_layer_always_sees_everything() -> None:
    assert parse(text={"layer_types": ["full_attention"] + ["sliding_attention"] * 5}).text.layers[-1].kind == "full"


def test_rope_frequencies_fall_with_theta() -> None:
    slow, fast = Rope(1e6, 1.0, 1.0).frequencies(8), Rope(1e2, 1.0, 2.0).frequencies(8)
    assert fast.tolist() == pytest.approx([0.5, 0.5 * 100**-0.25, 0.05, 0.5 * 100**-0.75])
    assert slow[-1] < fast[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gemma3"}, "gemma3"),
        ({"audio_config": None}, "no audio tower"),
        ({"text": {"enable_moe_block": True}}, "experts"),
        ({"text": {"num_experts": 8}}, "experts"),
        ({"text": {"use_bidirectional_attention": "all"}}, "both ways"),
        ({"text": {"attention_bias": True}}, "biases"),
        ({"text": {"hidden_size": "64"}}, "hidden_size"),
        ({"text": {"use_double_wide_mlp": 1}}, "use_double_wide_mlp"),
        ({"text": {"hidden_activation": "mish"}}, "mish"),
        ({"text": {"layer_types": ["full_attention"]}}, "layer_types"),
        ({"text": {"layer_types": ["full_attention"] * 3 + ["sliding_attention"] * 3}}, "nobody writes"),
        ({"text": {"num_key_value_heads": 3}}, "evenly"),
        ({"text": {"per_layer_config": {"2": {"head_dim": 32}}}}, "different shapes"),
        ({"text": {"rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 1.0}}}}, "yarn"),
        ({"audio": {"attention_context_right": 2}}, "looks ahead"),
        ({"text_config": None}, "text_config"),
    ],
)
def test_what_cannot_run_is_refused_in_one_clear_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        parse(**changes)
    assert "\n" not in str(caught.value)


def test_random_dither_is_refused() -> None:
    with pytest.raises(CheckpointError, match="dither"):
        Config.parse(config(SHAPES["base"]), {"dither": 1e-4})


def test_settings_saved_in_samples_are_read(tmp_path: Path) -> None:
    saved = {"feature_extractor": {"frame_length": 400, "hop_length": 200, "sampling_rate": 16_000}}
    (tmp_path / "processor_config.json").write_text(json.dumps(saved))
    mel = Config.parse(config(SHAPES["base"]), read_features(tmp_path)).mel
    assert (mel.frame, mel.hop) == (400, 200)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_json_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_json(tmp_path / "config.json")
