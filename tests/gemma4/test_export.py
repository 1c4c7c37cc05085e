import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from shapes import SHAPES, Shape, make_checkpoint

from edge_assistant.cli import main
from edge_assistant.errors import BundleError, CheckpointError, EdgeAssistantError, UsageError
from edge_assistant.gemma4 import export as export_module
from edge_assistant.gemma4 import folder
from edge_assistant.gemma4.bundle import MANIFEST, Bundle
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.export import export
from edge_assistant.runtime import Prompting


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def refused(checkpoint: Path, words: str, error: type[EdgeAssistantError] = CheckpointError, **options: Any) -> None:
    """With one clear line, and nothing left behind."""
    bundle = checkpoint.parent / "out" / "bundle"
    with pytest.raises(error, match=words) as caught:
        export(checkpoint, bundle, **options)
    assert "\n" not in str(caught.value)
    assert not bundle.parent.exists() or not list(bundle.parent.iterdir())


def set_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_tensors_opened_beforehand_make_the_same_bundle(checkpoint: Path, tmp_path: Path) -> None:
    one, other = export(checkpoint, tmp_path / "one"), export(Checkpoint(checkpoint), tmp_path / "other")
    assert one.manifest == other.manifest


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "holds no safetensors")


def test_no_audio_tower(copy: Path) -> None:
    set_config(copy, audio_config=None)
    refused(copy, "no audio tower")


def test_experts(copy: Path) -> None:
    text = json.loads((copy / "config.json").read_text())["text_config"]
    set_config(copy, text_config={**text, "enable_moe_block": True})
    refused(copy, "experts")


def test_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    refused(copy, "no safetensors")


def test_a_download_cut_short(copy: Path) -> None:
    with (copy / "model.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 1000)
    refused(copy, "cut short")


def test_a_page_instead_of_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_text("<html>not found</html>")
    refused(copy, "not a safetensors file")


def test_no_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    refused(copy, "tokenizer")


def test_a_missing_shard(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", Shape(shards=3), 7)
    (checkpoint / "model-00002-of-00003.safetensors").unlink()
    refused(checkpoint, "00002-of-00003.safetensors is missing")


def test_a_missing_tensor(copy: Path) -> None:
    text = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(text.replace(b"layers.1.mlp.up_proj", b"layers.1.mlp.up_pork", 1))
    refused(copy, "layers.1.mlp.up_proj")


@pytest.mark.parametrize("bits", [4, None])
@pytest.mark.parametrize(
    "name",
    [
        "model.language_model.layers.4.mlp.up_proj.weight",
        "model.language_model.layers.0.input_layernorm.weight",
        "model.language_model.layers.2.layer_scalar",
        "model.language_model.embed_tokens_per_layer.weight",
        "model.audio_tower.layers.1.lconv1d.depthwise_conv1d.weight",
        "model.audio_tower.layers.1.self_attn.q_proj.input_max",
        "model.embed_audio.embedding_projection.weight",
    ],
)
def test_numbers_that_are_not_finite(copy: Path, name: str, bits: int | None) -> None:
    """Where activations are rounded to 8 bits a NaN is lost without a trace: it is found now or never."""
    entry = Checkpoint(copy)._entry(name)
    with entry.file.open("r+b") as file:
        file.seek(entry.offset)
        file.write(np.array(np.nan, entry.dtype).tobytes())
    options: dict[str, Any] = {"decoder_bits": bits, "encoder_bits": bits, "table_bits": bits or 32}
    refused(copy, f"{name} has numbers that are not finite", **options)


def test_weights_that_do_not_fit_the_config(copy: Path) -> None:
    text = json.loads((copy / "config.json").read_text())["text_config"]
    set_config(copy, text_config={**text, "intermediate_size": 128})
    refused(copy, r"mlp.* as config\.json says")


def test_a_name_that_is_taken(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine").write_text("keep")
    with pytest.raises(UsageError, match="exists already"):
        export(copy, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "mine").read_text() == "keep"


@pytest.mark.parametrize(
    "wish", [{"decoder_bits": 5}, {"encoder_bits": 2}, {"table_bits": 16}, {"block": 48}, {"cache_bits": 16}]
)
def test_bits_nobody_has(copy: Path, tmp_path: Path, wish: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="cannot quantise"):
        export(copy, tmp_path / "bundle", **wish)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", ["build_encoder", "build_upper", "write_table", "seal", "settle"])
@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, fault: BaseException
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(folder if step == "settle" else export_module, step, fail)
    with pytest.raises(type(fault)):
        export(checkpoint, tmp_path / "out" / "bundle")
    assert not list((tmp_path / "out").iterdir())


def test_killed_in_the_middle_nothing_has_the_name(checkpoint: Path, tmp_path: Path) -> None:
    """SIGKILL: what is left is a hidden folder of another name, and the next export works."""
    program = f"""
        import os, signal
        from pathlib import Path
        from edge_assistant.gemma4 import export
        export.write_table = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        export.export(Path({str(checkpoint)!r}), Path({str(tmp_path / "bundle")!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "bundle").exists()
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    assert export(checkpoint, tmp_path / "bundle").manifest.files


def test_shards_make_the_same_bundle_as_one_file(checkpoint: Path, tmp_path: Path) -> None:
    shards = make_checkpoint(tmp_path / "checkpoint", Shape(shards=4), 7)
    one, many = export(checkpoint, tmp_path / "one"), export(shards, tmp_path / "many")
    assert one.manifest.files == many.manifest.files


def test_exporting_twice_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    assert export(checkpoint, tmp_path / "a").identity == export(checkpoint, tmp_path / "b").identity


def test_prompting_and_quantisation_are_kept(checkpoint: Path, tmp_path: Path) -> None:
    wish = Prompting(system=False, min_call_probability=0.7)
    manifest = export(checkpoint, tmp_path / "b", decoder_bits=8, block=64, table_bits=4, prompting=wish).manifest
    assert manifest.prompting == wish
    assert (manifest.quantisation.decoder_bits, manifest.quantisation.encoder_bits, manifest.quantisation.block) == (8, 8, 64)
    assert manifest.embed.bits == 4


@pytest.mark.parametrize(
    ("decoder_bits", "wish", "found"), [(4, None, 8), (4, 32, 32), (8, None, 32), (8, 8, 8), (None, None, 32)]
)
def test_a_cache_has_8_bits_beside_weights_of_4_or_where_it_is_asked_for(
    checkpoint: Path, tmp_path: Path, decoder_bits: int | None, wish: int | None, found: int
) -> None:
    bundle = export(checkpoint, tmp_path / "b", decoder_bits=decoder_bits, cache_bits=wish)
    assert bundle.manifest.quantisation.cache_bits == found
    written = json.loads((bundle.folder / MANIFEST).read_text())
    assert written["format"] == (3 if found == 8 else 1)
    assert ("cache_bits" in written["quantisation"]) == (found == 8)  # a bundle without is as it was
    assert Bundle.open(bundle.folder).manifest == bundle.manifest
    types = {node.name: node.type for node in onnxruntime.InferenceSession(bundle.path("upper.onnx")).get_inputs()}
    assert (types["key.full"], types["value.sliding"]) == (("tensor(int8)",) if found == 8 else ("tensor(float)",)) * 2
    assert ("key_scale.full" in types) == (found == 8)


def test_the_command_line_knows_the_cache(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, options, found in (("a", [], 8), ("b", ["--cache-bits", "32"], 32), ("c", ["--bits", "8"], 32)):
        assert main(["export", str(checkpoint), str(tmp_path / name), *options]) == 0
        assert Bundle.open(tmp_path / name).manifest.quantisation.cache_bits == found
    with pytest.raises(SystemExit) as left:
        main(["export", str(checkpoint), str(tmp_path / "d"), "--cache-bits", "16"])
    assert left.value.code == 2
    assert "invalid choice: 16" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_checkpoint(tmp_path: Path) -> None:
    """64 million weights, of which never more than a slice (4 million) is in memory in a few forms."""
    vocab, layers, ple = 65_536, 4, 240
    text = {"num_hidden_layers": layers, "layer_types": ["full_attention"] * layers, "num_kv_shared_layers": 2}
    checkpoint = make_checkpoint(tmp_path / "checkpoint", SHAPES["base"], 7)
    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"] |= text | {"vocab_size_per_layer_input": vocab, "hidden_size_per_layer_input": ple}
    (checkpoint / "config.json").write_text(json.dumps(config))
    grown = {
        "model.language_model.embed_tokens_per_layer.weight": (vocab, layers * ple),
        "model.language_model.per_layer_model_projection.weight": (layers * ple, 64),
        "model.language_model.per_layer_projection_norm.weight": (ple,),
    }
    for i in range(layers):
        grown |= {f"model.language_model.layers.{i}.per_layer_input_gate.weight": (ple, 64)}
        grown |= {f"model.language_model.layers.{i}.per_layer_projection.weight": (64, ple)}
        for part, rows in (("q", 128), ("k", 32), ("v", 32)):
            grown[f"model.language_model.layers.{i}.self_attn.{part}_proj.weight"] = (rows, 64)
        grown[f"model.language_model.layers.{i}.self_attn.o_proj.weight"] = (64, 128)
        grown |= {f"model.language_model.layers.{i}.self_attn.{part}_norm.weight": (32,) for part in "qk"}
        wide = 96 * (2 if i >= 2 else 1)
        grown |= {f"model.language_model.layers.{i}.mlp.{part}_proj.weight": (wide, 64) for part in ("gate", "up")}
        grown[f"model.language_model.layers.{i}.mlp.down_proj.weight"] = (64, wide)
    add_sparse(checkpoint, grown)
    size = (checkpoint / "big.safetensors").stat().st_size
    assert size > 120 << 20
    tracemalloc.start()
    export(checkpoint, tmp_path / "bundle", progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


def add_sparse(checkpoint: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    """Zeros in bfloat16 that take no room on the disk, as a second shard that wins over the first."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with (checkpoint / "big.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    (checkpoint / "model.safetensors").rename(checkpoint / "a.safetensors")
    index = {"weight_map": {"first": "a.safetensors", "second": "big.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))


def test_it_reports_what_is_wrong_with_the_tokenizer_as_a_checkpoint_error(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{}")
    refused(copy, "tokenizer")
    with pytest.raises(CheckpointError) as caught:
        export(copy, copy.parent / "bundle")
    assert not isinstance(caught.value, BundleError)
