"""`advise` knows the models that are installed."""

import json
from pathlib import Path

import pytest

from edge_assistant import machine
from edge_assistant.cli import main
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.runtimes.settings import Settings, Tuned, keep_tuned


@pytest.fixture(autouse=True)
def pi(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here is a Raspberry Pi 5 with 8 GB."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(machine, "read_machine", lambda _: machine.KNOWN["pi5-8gb"])


def commands(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    capsys.readouterr()
    assert main(["advise", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)["commands"]


@pytest.mark.parametrize("name", ["e2b", "gemma-4-E2B-it"])
def test_it_ends_with_the_command_that_fits(
    models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert commands(capsys)[0] == "edge-assistant models fetch e2b"
    assert main(["models", "build", str(checkpoint), "--name", name]) == 0
    tune, talk = f"edge-assistant tune {name}", f"edge-assistant talk --model {name}"
    assert commands(capsys) == [tune, talk]
    assert main(["advise"]) == 0
    shown = capsys.readouterr().out
    assert f"is installed, as {name}" in shown
    assert "models fetch" not in shown
    assert commands(capsys, "--like", "pi5-8gb")[0] == "edge-assistant models fetch e2b"
    keep_tuned(Bundle.open(models / name).identity, Tuned(Settings(), 1.0, 1.0))
    assert commands(capsys) == [talk]
    (models / name / "upper.bin").unlink()
    fetch = ["edge-assistant models fetch e2b", "edge-assistant tune e2b", "edge-assistant talk --model e2b"]
    assert commands(capsys) == (["edge-assistant models remove e2b", *fetch] if name == "e2b" else fetch)


def test_what_is_none_of_the_family_changes_nothing(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = commands(capsys)
    (models / "nothing").mkdir(parents=True)
    (models / "a file").write_text("")
    (models / ".e2b.fetch").mkdir()
    assert commands(capsys) == before
