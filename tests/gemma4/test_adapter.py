"""Adapters are merged as PEFT merges them, and what cannot be merged is named and refused."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import KINDS, make_adapter, modules, probe
from shapes import SHAPES, make_checkpoint, write_safetensors

from edge_assistant.cli import main
from edge_assistant.errors import CheckpointError
from edge_assistant.gemma4 import export as export_module
from edge_assistant.gemma4.adapter import Adapted, Adapter
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.export import export
from edge_assistant.runtimes.onnx import OnnxModel

SEED = 7
TEXT = np.random.RandomState(SEED).randint(24, 280, 30)
LOGITS = 5e-3
"""As far as float32 may be from double precision."""
Q = "model.language_model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="session")
def references() -> dict[str, np.ndarray[Any, Any]]:
    with np.load(Path(__file__).parent.parent / "parity" / "references" / "adapters.npz") as file:
        return dict(file)


def ranks_of(kind: str, references: dict[str, np.ndarray[Any, Any]]) -> dict[str, int]:
    prefix = f"{kind}/rank."
    return {name.removeprefix(prefix): int(value) for name, value in references.items() if name.startswith(prefix)}


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """The plainest."""
    kind = KINDS["attention"]
    return make_adapter(tmp_path / "adapter", kind, SEED, dict.fromkeys(modules(kind, SHAPES["base"], SEED), 4))


def settle(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_one(
    folder: Path, module: str, outputs: int, inputs: int, *, zero: bool = False, prefix: str = "base_model.model."
) -> None:
    """An adapter of a single module, of rank 4."""
    b = np.full((outputs, 4), 0.0 if zero else 0.5)
    named = [(f"{prefix}{module}.lora_A.weight", np.ones((4, inputs))), (f"{prefix}{module}.lora_B.weight", b)]
    write_safetensors(folder / "adapter_model.safetensors", named, "F32")


@pytest.mark.parametrize("name", KINDS)
def test_merged_weights_are_those_of_peft(name: str, references: dict[str, Any], tmp_path: Path) -> None:
    kind, ranks = KINDS[name], ranks_of(name, references)
    checkpoint = make_checkpoint(tmp_path / "checkpoint", SHAPES[kind.shape], SEED)
    folder = make_adapter(tmp_path / "adapter", kind, SEED, ranks)
    adapted, plain = Adapted(checkpoint, Adapter.open(folder)), Checkpoint(checkpoint)
    assert len(ranks) >= 2
    for path in ranks:
        merged = adapted.rows(f"{path}.weight")
        expected = references[f"{name}/merged.{path}"]
        before = plain.tensor(f"{path}.weight") @ probe(merged.shape[1])
        assert np.abs(before - expected).max() > 0.01, "an adapter that does nothing shows nothing"
        np.testing.assert_allclose(merged @ probe(merged.shape[1]), expected, rtol=1e-5, atol=2e-5)
        np.testing.assert_array_equal(adapted.tensor(f"{path}.weight"), merged)
    untouched = "model.language_model.norm.weight"
    np.testing.assert_array_equal(adapted.rows(untouched), plain.rows(untouched))


@pytest.mark.parametrize("name", ["patterns", "head", "bfloat16"])
def test_a_bundle_of_it_says_what_the_model_merged_by_peft_says(name: str, references: dict[str, Any], tmp_path: Path) -> None:
    kind = KINDS[name]
    checkpoint = make_checkpoint(tmp_path / "checkpoint", SHAPES[kind.shape], SEED)
    folder = make_adapter(tmp_path / "tuned", kind, SEED, ranks_of(name, references))
    exact: dict[str, Any] = {"decoder_bits": None, "encoder_bits": None, "table_bits": 32, "blocks": Blocks(8, 16)}
    bundle = export(Adapted(checkpoint, Adapter.open(folder)), tmp_path / "bundle", **exact)
    session = OnnxModel.open(bundle.folder).session(64)
    session.feed_ids(TEXT.tolist())
    assert np.abs(session.logits() - references[f"{name}/logits"]).max() < LOGITS


def test_the_command(checkpoint: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "bundle"
    assert main(["export", str(checkpoint), str(bundle), "--adapter", str(adapter)]) == 0
    assert capsys.readouterr().out.strip() == str(bundle)
    plain = export(checkpoint, tmp_path / "plain")
    tuned = Bundle.open(bundle)
    assert tuned.manifest.source == "checkpoint + adapter"
    differ = {name for name, entry in tuned.manifest.files.items() if entry != plain.manifest.files[name]}
    assert differ == {"lower.bin", "upper.bin"}


def test_a_tuned_model_is_installed_by_name(
    checkpoint: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["models", "build", str(checkpoint), "--name", "tuned", "--adapter", str(adapter)]) == 0
    folder = Path(capsys.readouterr().out.strip())
    tuned = export(Adapted(checkpoint, Adapter.open(adapter)), tmp_path / "same")
    assert Bundle.open(folder).manifest.files == tuned.manifest.files


def test_a_build_that_was_stopped_does_not_go_on_with_another_adapter(
    checkpoint: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    command = ["models", "build", str(checkpoint), "--name", "tuned", "--adapter", str(adapter)]
    with monkeypatch.context() as patch:
        patch.setattr(export_module, "write_table", stop)
        assert main(command) == 130
    settle(adapter, lora_alpha=16)
    capsys.readouterr()
    assert main(command) == 0
    tuned = export(Adapted(checkpoint, Adapter.open(adapter)), tmp_path / "same")
    assert Bundle.open(Path(capsys.readouterr().out.strip())).manifest.files == tuned.manifest.files


@pytest.mark.parametrize("verb", [["export"], ["models", "build"]])
def test_a_gguf_file_takes_no_adapter(
    verb: list[str], adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = tmp_path / "model.gguf"
    path.touch()
    target = ["--name", "tuned"] if verb[0] == "models" else [str(tmp_path / "bundle")]
    assert main([*verb, str(path), *target, "--adapter", str(adapter)]) == 2
    assert "quantised" in capsys.readouterr().err


def test_the_command_refuses_in_one_line(
    checkpoint: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(adapter, use_dora=True)
    assert main(["export", str(checkpoint), str(tmp_path / "out" / "bundle"), "--adapter", str(adapter)]) == 2
    said = capsys.readouterr().err
    assert "DoRA" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "biases"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"target_parameters": ["mlp.experts"]}, "target_parameters"),
        ({"layer_replication": [[0, 4]]}, "layer_replication"),
        ({"alora_invocation_tokens": [1, 2]}, "alora"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"r": 8}, "rank 8"),
        ({"r": "four"}, "'r'"),
        ({"rank_pattern": {"q_proj": 2}}, "rank 2"),
        ({"alpha_pattern": {"q_proj": "much"}}, "alpha_pattern"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern"),
        ({"alpha_pattern": {"(": 2}}, "a pattern that is none"),
    ],
)
def test_what_cannot_be_merged_is_named(adapter: Path, changes: dict[str, object], words: str) -> None:
    settle(adapter, **changes)
    with pytest.raises(CheckpointError) as caught:
        Adapter.open(adapter)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", [True, False, None, "gaussian", "orthogonal", "eva"])
def test_starts_that_leave_the_checkpoint_alone(adapter: Path, start: object) -> None:
    settle(adapter, init_lora_weights=start, use_dora=False, modules_to_save=None, layer_replication=None, rank_pattern={})
    assert Adapter.open(adapter).updates


@pytest.mark.parametrize(
    "name",
    [
        f"base_model.model.{Q}.lora_magnitude_vector.weight",
        "base_model.model.model.language_model.embed_tokens.lora_embedding_A",
        f"base_model.model.{Q}.weight",
        f"base_model.model.{Q}.lora_B.bias",
    ],
)
def test_tensors_that_are_no_lora(adapter: Path, name: str) -> None:
    write_safetensors(adapter / "adapter_model.safetensors", [(name, np.ones((4, 4)))], "F32")
    with pytest.raises(CheckpointError, match="no part of a LoRA"):
        Adapter.open(adapter)


def test_half_of_a_pair(adapter: Path) -> None:
    write_safetensors(adapter / "adapter_model.safetensors", [(f"base_model.model.{Q}.lora_A.weight", np.ones((4, 64)))], "F32")
    with pytest.raises(CheckpointError, match="only one of the two"):
        Adapter.open(adapter)


def test_no_adapter_in_it(adapter: Path) -> None:
    write_safetensors(adapter / "adapter_model.safetensors", [], "F32")
    with pytest.raises(CheckpointError, match="holds no adapter"):
        Adapter.open(adapter)


def test_a_file_cut_short(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Adapter.open(adapter)


def test_a_pickle_is_not_opened(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="could run code"):
        Adapter.open(adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file(adapter: Path, name: str) -> None:
    (adapter / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        Adapter.open(adapter)


def test_an_adapter_of_another_model(checkpoint: Path, adapter: Path) -> None:
    write_one(adapter, Q, 128, 64)
    with pytest.raises(CheckpointError, match=r"of shape \[128, 64\], and the checkpoint's has \[64, 64\]"):
        Adapted(checkpoint, Adapter.open(adapter))
    write_one(adapter, "model.language_model.layers.99.self_attn.q_proj", 64, 64)
    with pytest.raises(CheckpointError, match=r"layers\.99"):
        Adapted(checkpoint, Adapter.open(adapter))


def test_a_module_that_is_not_there_and_was_never_trained(checkpoint: Path, adapter: Path) -> None:
    """As the keys of layers that only read those of others: their B stays zero."""
    absent, zero = "model.language_model.layers.5.self_attn.k_proj", np.zeros((16, 4))
    named = [(f"base_model.model.{absent}.lora_A.weight", np.ones((4, 64))), (f"base_model.model.{absent}.lora_B.weight", zero)]
    named += [
        (f"base_model.model.{Q}.lora_A.weight", np.ones((4, 64))),
        (f"base_model.model.{Q}.lora_B.weight", np.ones((64, 4))),
    ]
    write_safetensors(adapter / "adapter_model.safetensors", named, "F32")
    adapted = Adapted(checkpoint, Adapter.open(adapter))
    assert np.allclose(adapted.rows(f"{Q}.weight") - Checkpoint(checkpoint).tensor(f"{Q}.weight"), 8.0)


def test_what_is_trained_for_images_goes_unseen(checkpoint: Path, adapter: Path) -> None:
    write_one(adapter, "model.vision_tower.encoder.layers.0.self_attn.q_proj", 64, 64)
    with pytest.raises(CheckpointError, match="images alone"):
        Adapted(checkpoint, Adapter.open(adapter))


@pytest.mark.parametrize(
    ("prefix", "module"),
    [("base_model.model.", "model.layers.0.self_attn.q_proj"), ("", Q), ("base_model.model.", f"{Q}")],
)
def test_names_of_other_trainers(checkpoint: Path, adapter: Path, prefix: str, module: str) -> None:
    """Of the language model alone, and without PEFT's prefix."""
    write_one(adapter, module, 64, 64, prefix=prefix)
    adapted = Adapted(checkpoint, Adapter.open(adapter))
    added = adapted.rows(f"{Q}.weight") - Checkpoint(checkpoint).tensor(f"{Q}.weight")
    assert np.allclose(added, 4 * 0.5 * 8 / 4)


def test_names_with_the_adapters_own(checkpoint: Path, adapter: Path) -> None:
    named = [
        (f"base_model.model.{Q}.lora_{side}.default.weight", np.ones(shape)) for side, shape in (("A", (4, 64)), ("B", (64, 4)))
    ]
    write_safetensors(adapter / "adapter_model.safetensors", named, "BF16")
    assert Adapter.open(adapter).updates.keys() == {Q}


def test_only_one_merged_tensor_is_in_memory_at_a_time(tmp_path: Path, references: dict[str, Any]) -> None:
    kind = KINDS["every-linear"]
    checkpoint = make_checkpoint(tmp_path / "checkpoint", SHAPES["base"], SEED)
    ranks = ranks_of("every-linear", references)
    adapted = Adapted(checkpoint, Adapter.open(make_adapter(tmp_path / "adapter", kind, SEED, ranks)))
    sizes = [4 * int(np.prod(adapted.shape(f"{path}.weight"))) for path in ranks]
    tracemalloc.start()
    for path in ranks:
        adapted.rows(f"{path}.weight")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * max(sizes) < sum(sizes) / 4
