"""A model is installed with its drafter: built, fetched, from a stick, and gone on with after a kill."""

import shutil
from pathlib import Path

import pytest
from drafters import DRAFTERS, make_drafter
from hub_server import Hub
from installing import content, refused, tree

from edge_assistant.cli import main
from edge_assistant.gemma4 import export as export_module
from edge_assistant.gemma4.bundle import Bundle, Quantisation
from edge_assistant.gemma4.config import Config, read_json
from edge_assistant.gemma4.drafter import DrafterConfig
from edge_assistant.gemma4.export import bundle_bytes


@pytest.fixture
def drafter(tmp_path: Path) -> Path:
    return make_drafter(tmp_path / "gemma-4-E2B-it-assistant", DRAFTERS["sorted"], 1)


def test_built_from_a_stick_and_copied(models: Path, checkpoint: Path, drafter: Path, tmp_path: Path) -> None:
    assert main(["models", "build", str(checkpoint), "--name", "e2b", "--drafter", str(drafter)]) == 0
    built = content(models / "e2b")
    assert {"drafter.onnx", "drafter.bin"} < set(built)
    assert Bundle.open(models / "e2b").manifest.drafter.source == drafter.name  # type: ignore[union-attr]
    shutil.copytree(models / "e2b", tmp_path / "stick")
    for more in (["--from", str(tmp_path / "stick")], ["--from", str(checkpoint), "--drafter", str(drafter)]):
        assert main(["models", "remove", "e2b"]) == 0
        assert main(["models", "fetch", "e2b", *more]) == 0
        assert content(models / "e2b") == built


def test_fetched_beside_a_drafter_that_is_here(models: Path, drafter: Path, hub: Hub) -> None:
    assert main(["models", "fetch", "e2b", "--drafter", str(drafter)]) == 0
    assert Bundle.open(models / "e2b").drafter is not None


def test_interrupted_it_goes_on_and_another_drafter_begins_afresh(
    models: Path, checkpoint: Path, drafter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    build, write_table = export_module._graph, export_module.write_table
    interrupt = True

    def counted(opened: object, make: object, path: Path) -> None:
        built.append(path.stem)
        build(opened, make, path)  # type: ignore[arg-type]

    def interrupted(*arguments: object) -> None:
        """After all graphs."""
        if interrupt:
            raise KeyboardInterrupt
        write_table(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(export_module, "_graph", counted)
    monkeypatch.setattr(export_module, "write_table", interrupted)
    command = ["models", "build", str(checkpoint), "--name", "e2b", "--drafter"]
    graphs = ["encoder", "lower", "upper", "drafter"]
    for _ in range(3):
        assert main([*command, str(drafter)]) != 0
    assert built == graphs  # the second time they are there, and the third, though nothing was finished in between
    other = make_drafter(tmp_path / "other" / drafter.name, DRAFTERS["sorted"], 2)
    interrupt = False
    assert main([*command, str(other)]) == 0
    assert built == graphs * 2


def test_what_is_no_drafter_is_refused(
    models: Path, checkpoint: Path, drafter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no folder" in refused(capsys, "build", str(checkpoint), "--drafter", str(tmp_path / "nowhere"))
    assert "model type 'gemma4'" in refused(capsys, "build", str(checkpoint), "--drafter", str(checkpoint))
    assert main(["models", "build", str(checkpoint), "--name", "e2b"]) == 0
    stick = Path(shutil.copytree(models / "e2b", tmp_path / "stick"))
    assert main(["models", "remove", "e2b"]) == 0
    capsys.readouterr()
    assert "is a bundle" in refused(capsys, "fetch", "e2b", "--from", str(stick), "--drafter", str(drafter))
    assert tree(models) == set()


def test_the_space_that_is_told_counts_the_drafter(checkpoint: Path, drafter: Path) -> None:
    config = Config.parse(read_json(checkpoint / "config.json"), {})
    drafts = DrafterConfig.parse(read_json(drafter / "config.json"), config.text)
    for bits in (4, 8, None):
        quantisation = Quantisation(bits, 8, 32)
        more = bundle_bytes(config, quantisation, 8, drafts) - bundle_bytes(config, quantisation, 8)
        assert more >= drafts.weights * (1 if bits else 4)
