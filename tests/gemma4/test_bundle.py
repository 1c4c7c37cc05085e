import json
import shutil
from pathlib import Path

import pytest

from edge_assistant.errors import BundleError
from edge_assistant.gemma4 import bundle as bundle_module
from edge_assistant.gemma4.bundle import MANIFEST, SEAL, Bundle
from edge_assistant.runtime import Prompting


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def change(folder: Path, **values: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(folder: Path, words: str) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        Bundle.open(folder)
    assert "\n" not in str(caught.value)


def test_a_whole_bundle_opens(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.manifest.prompting == Prompting()
    assert opened.manifest.quantisation.decoder_bits is None
    assert opened.manifest.ple is not None
    assert set(opened.manifest.files) == {path.name for path in bundle.iterdir()} - {MANIFEST, SEAL}
    assert len(opened.identity) == 64


def test_no_bundle_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "holds no bundle")


@pytest.mark.parametrize("name", ["lower.bin", "encoder.onnx", "tokenizer.json", "ple.bin"])
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    refused(copy, f"{name} is missing")


def test_a_file_cut_short(copy: Path) -> None:
    with (copy / "upper.bin").open("r+b") as file:
        file.truncate(100)
    refused(copy, "cut short")


def test_an_altered_byte(copy: Path) -> None:
    with (copy / "embed.bin").open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    refused(copy, "altered")


def test_a_large_bundle_is_hashed_only_when_asked(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "_SMALL_BYTES", 1)
    with (copy / "embed.bin").open("r+b") as file:
        file.write(b"\xff\xff")
    opened = Bundle.open(copy)
    with pytest.raises(BundleError, match="altered"):
        opened.verify()


def test_another_version(copy: Path) -> None:
    change(copy, format=99)
    refused(copy, "format 99, this program reads formats 1 to 3")


def test_a_manifest_that_is_none(copy: Path) -> None:
    (copy / MANIFEST).write_text("{")
    refused(copy, "not a manifest")


@pytest.mark.parametrize("key", ["files", "model", "quantisation", "embed"])
def test_an_incomplete_manifest(copy: Path, key: str) -> None:
    values = json.loads((copy / MANIFEST).read_text())
    del values[key]
    (copy / MANIFEST).write_text(json.dumps(values))
    refused(copy, "incomplete")


def test_a_model_that_cannot_run(copy: Path) -> None:
    change(copy, model={"model_type": "gemma4"})
    refused(copy, "no model that can run")


def test_identity_is_the_manifest(bundle: Path, copy: Path) -> None:
    assert Bundle.open(copy).identity == Bundle.open(bundle).identity
    change(copy, source="another")
    (copy / SEAL).unlink()
    assert Bundle.open(copy).identity != Bundle.open(bundle).identity


def test_a_cache_of_bits_nobody_has(copy: Path) -> None:
    quantisation = json.loads((copy / MANIFEST).read_text())["quantisation"]
    change(copy, format=3, quantisation={**quantisation, "cache_bits": 6})
    refused(copy, "no cache has 6 bits")


def test_the_bundle_that_ships_keeps_its_floats() -> None:
    """It was made before there was a choice."""
    shipped = Bundle.open(Path(__file__).parents[2] / "assets" / "pocket" / "bundle")
    assert shipped.manifest.quantisation.cache_bits == 32
    assert shipped.manifest.to_json() == (shipped.folder / MANIFEST).read_text(encoding="utf-8")
