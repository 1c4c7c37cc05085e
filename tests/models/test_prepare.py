import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from installing import refused

from edge_assistant.cli import main
from edge_assistant.models import find_model
from edge_assistant.runtimes import onnx as onnx_module
from edge_assistant.runtimes.opening import open_model
from edge_assistant.runtimes.prepared import prepared_bytes


@pytest.fixture
def built(models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["models", "build", str(checkpoint), "--name", "e2b"]) == 0
    assert "`edge-assistant tune e2b`" in capsys.readouterr().err.splitlines()[-1]
    return models


def logits() -> np.ndarray:
    session = open_model(find_model("e2b")).session(64)
    session.feed_text("<bos>hello")
    return session.logits()


def mapped(folder: Path) -> bool:
    """This process has the packed weights mapped."""
    return str(folder) in Path("/proc/self/maps").read_text()


def test_prepared_weights_are_mapped_and_say_the_same_to_the_bit(
    built: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    plain = logits()
    assert main(["models", "prepare", "e2b", "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    folder = Path(found["folder"])
    assert folder.parent == built / ".prepared"
    assert "to prepare e2b takes" in told.err
    assert "for the packed weights" in told.err
    model = open_model(find_model("e2b"))
    assert mapped(folder)
    session = model.session(64)
    session.feed_text("<bos>hello")
    assert np.array_equal(session.logits(), plain)
    assert found["bytes"] <= prepared_bytes(model.bundle) + (1 << 20)
    assert not caplog.records

    first = (folder / "stamp.json").stat().st_mtime_ns
    assert main(["models", "prepare", "e2b"]) == 0
    assert (folder / "stamp.json").stat().st_mtime_ns == first  # there is nothing to do

    assert main(["models", "list", "--json"]) == 0
    assert main(["models", "remove", "e2b"]) == 0
    assert not folder.exists()


def test_those_of_another_machine_are_left_alone_and_made_anew(
    built: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "prepare", "e2b"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    stamp = folder / "stamp.json"
    stamp.write_text(stamp.read_text().replace('"processor": "', '"processor": "another '))
    assert np.isfinite(logits()).all()
    assert [record.message for record in caplog.records] == [
        f"{folder} was packed for another processor or onnxruntime and is left alone; prepare the model again"
    ]
    caplog.clear()
    assert main(["models", "prepare", "e2b"]) == 0
    assert np.isfinite(logits()).all()
    assert not caplog.records


def test_no_room_is_said_before_anything_is_written(
    built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(built)
    monkeypatch.setattr("edge_assistant.install.shutil.disk_usage", lambda _: usage._replace(free=1000))
    assert "no room to prepare e2b" in refused(capsys, "prepare", "e2b")
    assert not any((built / ".prepared").iterdir())


def test_who_has_none_pays_nothing(built: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(onnx_module, "is_prepared", lambda *_: False)
    assert np.isfinite(logits()).all()
    assert not caplog.records
