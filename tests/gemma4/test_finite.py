"""`models verify` finds numbers that are not finite in a bundle whose hashes are right."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from drafters import DRAFTERS, make_drafter

from edge_assistant.cli import main
from edge_assistant.gemma4.bundle import MANIFEST, Bundle, FileEntry, seal, sha256
from edge_assistant.gemma4.export import export


@pytest.fixture(scope="module")
def quantised(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a drafter."""
    folder = tmp_path_factory.mktemp("finite")
    export(checkpoint, folder / "bundle", drafter=make_drafter(folder / "drafter", DRAFTERS["sorted"], 1))
    return folder / "bundle"


def spoilt(source: Path, folder: Path, tensor: str, value: float) -> Path:
    """A copy with one number of a tensor or table altered, and hashes that know it so."""
    bundle = Bundle.open(Path(shutil.copytree(source, folder)))
    name, offset = f"{tensor}.bin", 0
    if tensor in ("embed", "ple"):
        shape = bundle.manifest.embed if tensor == "embed" else bundle.manifest.ple
        assert shape
        record = shape.record
        offset = 5 * record.itemsize + record.fields["values" if shape.bits == 32 else "scales"][1]  # type: ignore[index]
    else:
        for path in folder.glob("*.onnx"):
            for one in onnx.load(path, load_external_data=False).graph.initializer:
                if one.name == tensor:
                    place = {entry.key: entry.value for entry in one.external_data}
                    name, offset = place["location"], int(place["offset"]) + int(place["length"]) - 4
    with (folder / name).open("r+b") as out:
        out.seek(offset)
        out.write(np.array(value, np.float32).tobytes())
    files = bundle.manifest.files | {name: FileEntry((folder / name).stat().st_size, sha256(folder / name))}
    bundle.path(MANIFEST).write_text(replace(bundle.manifest, files=files).to_json())
    seal(folder)
    return folder


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize(
    "tensor",
    [
        "model.language_model.layers.5.mlp.down_proj.weight.scales",
        "model.language_model.layers.0.input_layernorm.weight",
        "model.audio_tower.output_proj.bias",
        "model.embed_tokens.weight.scales",
        "embed",
        "ple",
    ],
)
def test_a_number_that_is_not_finite(
    quantised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tensor: str, value: float
) -> None:
    folder = spoilt(quantised, tmp_path / "spoilt", tensor, value)
    assert main(["models", "verify", str(folder), "--json"]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "has numbers that are not finite; build the bundle again" in told.err
    assert tensor in told.err
    assert not json.loads(told.out)[0]["whole"]


@pytest.mark.parametrize("tensor", ["model.language_model.layers.4.mlp.up_proj.weight", "embed"])
def test_in_floats(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tensor: str) -> None:
    folder = spoilt(bundle, tmp_path / "spoilt", tensor, np.nan)
    assert main(["models", "verify", str(folder)]) == 2
    assert tensor in capsys.readouterr().err


def test_whole_ones(bundle: Path, quantised: Path) -> None:
    assert main(["models", "verify", str(bundle), str(quantised)]) == 0
