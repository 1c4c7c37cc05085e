import json
from pathlib import Path

import numpy as np
import pytest

from edge_assistant.errors import BundleError, UsageError
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.gemma4.export import export
from edge_assistant.runtimes import engine
from edge_assistant.runtimes import prepared as prepared_module
from edge_assistant.runtimes.engine import Threads, open_graph
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.runtimes.prepared import is_prepared, prepare


@pytest.fixture(scope="module")
def four_bits(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("four") / "bundle"
    export(checkpoint, folder)
    return folder


def logits(model: OnnxModel) -> np.ndarray:
    session = model.session(64)
    session.feed_text("<bos>")
    session.begin_audio()
    session.feed_audio(np.sin(np.arange(8000) / 7).astype(np.float32))
    session.end_audio()
    return session.logits()


def test_it_says_the_same_to_the_bit_from_its_own_files(four_bits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = logits(OnnxModel.open(four_bits))
    prepare(four_bits, tmp_path / "packed")
    opened: list[Path] = []

    def spy(path: Path, threads: Threads) -> object:
        opened.append(path)
        return open_graph(path, threads)

    monkeypatch.setattr(engine, "open_graph", spy)
    assert np.array_equal(logits(OnnxModel.open(four_bits, prepared=tmp_path / "packed")), plain)
    assert {path.parent for path in opened} == {tmp_path / "packed"}


def test_what_does_not_fit_is_left_alone(four_bits: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, opened = tmp_path / "packed", Bundle.open(four_bits)
    assert not is_prepared(opened, packed)
    prepare(four_bits, packed)
    assert is_prepared(opened, packed)
    assert not is_prepared(Bundle.open(bundle), packed)
    for name in ("processor", "runtime_version"):
        with monkeypatch.context() as patch:
            patch.setattr(prepared_module, name, lambda: "another")
            assert not is_prepared(opened, packed)
    stamp = packed / "stamp.json"
    kept = stamp.read_text()
    for broken in ("{", "[]", json.dumps({**json.loads(kept), "files": 3})):
        stamp.write_text(broken)
        assert not is_prepared(opened, packed)
    stamp.write_text(kept)
    with (packed / "upper.bin").open("ab") as file:
        file.write(b"x")
    assert not is_prepared(opened, packed)
    assert logits(OnnxModel.open(four_bits, prepared=packed)).any()


def test_all_or_nothing(four_bits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BundleError("no", "")

    monkeypatch.setattr(prepared_module, "open_graph", fail)
    with pytest.raises(BundleError):
        prepare(four_bits, tmp_path / "packed")
    assert not list(tmp_path.iterdir())
    (tmp_path / "packed").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        prepare(four_bits, tmp_path / "packed")
