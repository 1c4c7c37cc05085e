"""The models that are published as a pair of GGUF files."""

import shutil
from pathlib import Path

import pytest
from gguf_pairs import make_pair
from hub_server import Hub
from installing import content, refused, tree

from edge_assistant import install
from edge_assistant.cli import main
from edge_assistant.models import KNOWN, find_model


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a repository has them: beside other files."""
    made = make_pair(tmp_path_factory.mktemp("pair")).decoder.parent
    folder = tmp_path_factory.mktemp("gguf") / "gemma-4-E2B-it-qat-q4_0-gguf"
    folder.mkdir()
    for path in made.glob("*.gguf"):
        shutil.copy(path, folder)
    (folder / "README.md").write_text("not wanted")
    return folder


def test_fetched_taken_and_built_they_are_the_same(hub: Hub, models: Path, pair: Path) -> None:
    hub.repositories[KNOWN["e2b-qat"]] = pair
    decoder = next(path for path in pair.glob("*.gguf") if "mmproj" not in path.name)
    assert main(["models", "fetch", "e2b-qat"]) == 0
    assert tree(models) == {"e2b-qat", *(f"e2b-qat/{path.name}" for path in find_model("e2b-qat").iterdir())}
    fetched = content(find_model("e2b-qat"))
    assert main(["models", "fetch", "taken", "--from", str(pair)]) == 0
    assert main(["models", "build", str(decoder), "--name", "built"]) == 0
    assert fetched == content(find_model("taken")) == content(find_model("built"))
    assert main(["models", "verify"]) == 0


def test_which_files_are_the_pair(hub: Hub, models: Path, pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install._pair(["a-Q4_0.gguf", "a-Q8_0.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"], "here") == [
        "a-Q4_0.gguf",
        "mmproj-BF16.gguf",
    ]
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(next(path for path in pair.glob("*.gguf") if "mmproj" not in path.name), alone)
    hub.repositories[KNOWN["e2b-qat"]] = alone
    for arguments in (["fetch", "e2b-qat"], ["fetch", "e2b-qat", "--from", str(alone)], ["build", str(alone), "--name", "x"]):
        assert "holds no pair of GGUF files" in refused(capsys, *arguments)
    assert not any("resolve" in path and ".gguf" in path for path, _, _ in hub.asked)


def test_without_the_package_that_reads_them(
    hub: Hub, models: Path, pair: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories[KNOWN["e2b-qat"]] = pair
    monkeypatch.setattr(install, "find_spec", lambda _: None)
    assert "edge-assistant[gguf]" in refused(capsys, "fetch", "e2b-qat")
    assert not any(".gguf" in path.rpartition("/")[2] for path, _, _ in hub.asked)
