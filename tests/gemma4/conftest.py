import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "parity"))

from shapes import SHAPES, make_checkpoint

from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.export import export
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Gemma 4."""
    return make_checkpoint(tmp_path_factory.mktemp("gemma4") / "checkpoint", SHAPES["base"], 7)


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It in float32."""
    folder = tmp_path_factory.mktemp("gemma4") / "bundle"
    export(checkpoint, folder, decoder_bits=None, encoder_bits=None, table_bits=32, blocks=Blocks(8, 16))
    return folder


@pytest.fixture(scope="session")
def coded_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It with keys and values in 8 bits, and all else in float32."""
    folder = tmp_path_factory.mktemp("gemma4") / "coded"
    making = {"decoder_bits": None, "encoder_bits": None, "table_bits": 32, "cache_bits": 8}
    export(checkpoint, folder, blocks=Blocks(8, 16), **making)
    return folder


@pytest.fixture(scope="session", params=["bundle", "coded_bundle"])
def model(request: pytest.FixtureRequest) -> OnnxModel:
    """Every contract holds with both kinds of cache."""
    return OnnxModel.open(request.getfixturevalue(request.param))


@pytest.fixture
def session(model: OnnxModel) -> OnnxSession:
    return model.session(512)
