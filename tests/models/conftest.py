import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "parity"))
sys.path.insert(0, str(Path(__file__).parent))

import huggingface_hub.file_download
from hub_server import REPOSITORY, Hub, serving
from huggingface_hub import constants
from installing import content
from shapes import Shape, make_checkpoint

from edge_assistant import hub as hub_module
from edge_assistant.cli import main


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Gemma 4 in two shards."""
    folder = make_checkpoint(tmp_path_factory.mktemp("hub") / "gemma-4-E2B-it", Shape(shards=2, dtype="BF16"), 7)
    (folder / "README.md").write_text("not wanted")
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are installed."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "edge-assistant" / "models"


@pytest.fixture
def hub(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """It, served; nobody waits between two tries, and pieces are as small as the files."""
    with serving(Hub({REPOSITORY: checkpoint})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(hub_module.time, "sleep", lambda _: None)
        monkeypatch.setattr(hub_module, "_CHUNK_BYTES", 1000)
        yield hub
        huggingface_hub.close_session()


@pytest.fixture(scope="session")
def reference(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bundle as it is when nothing goes wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("reference")))
        assert main(["models", "build", str(checkpoint), "--name", "e2b"]) == 0
        from edge_assistant.models import find_model

        return content(find_model("e2b"))
