"""A model is installed with its drafter: built, fetched, from a stick, and gone on with after a kill."""

import json
import shutil
from pathlib import Path

import pytest
from drafters import DRAFTERS, make_drafter
from hub_server import REPOSITORY, Hub
from installing import content, refused, tree

from edge_assistant import install
from edge_assistant.cli import main
from edge_assistant.gemma4 import export as export_module
from edge_assistant.gemma4.bundle import Bundle, Quantisation
from edge_assistant.gemma4.config import Config, read_json
from edge_assistant.gemma4.drafter import DrafterConfig
from edge_assistant.gemma4.export import bundle_bytes

ASSISTANT = f"{REPOSITORY}-assistant"


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


def weights_asked(hub: Hub) -> list[str]:
    return [path for path, _, _ in hub.asked if path.endswith(".safetensors")]


def built_with(models: Path, checkpoint: Path, drafter: Path) -> dict[str, bytes]:
    """The bundle as it is when both lie here already."""
    assert main(["models", "build", str(checkpoint), "--name", "here", "--drafter", str(drafter)]) == 0
    built = content(models / "here")
    assert main(["models", "remove", "here"]) == 0
    return built


@pytest.mark.parametrize("options", [["--with-drafter"], ["--drafter", ASSISTANT]])
def test_fetched_with_its_drafter(  # noqa: PLR0917
    models: Path, checkpoint: Path, drafter: Path, hub: Hub, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    hub.repositories[ASSISTANT] = drafter
    (drafter / "tokenizer.json").write_text("the model's own is enough")
    built = built_with(models, checkpoint, drafter)
    capsys.readouterr()
    assert main(["models", "fetch", "e2b", *options, "--json"]) == 0
    told = capsys.readouterr()
    assert f"to fetch {REPOSITORY} and {ASSISTANT} takes" in told.err
    assert json.loads(told.out)["drafter"] == "gemma-4-E2B-it-assistant"
    assert content(models / "e2b") == built
    assert tree(models) == {"e2b", *(f"e2b/{name}" for name in built)}
    assert main(["models", "list"]) == 0
    assert "gemma-4-E2B-it with drafter gemma-4-E2B-it-assistant" in capsys.readouterr().out
    assert {path.rpartition("/")[2] for path, _, _ in hub.asked if path.startswith(f"/{ASSISTANT}/resolve/")} == {
        "config.json",
        "model.safetensors",
    }


def test_a_drafter_is_fetched_only_when_it_is_asked_for(models: Path, drafter: Path, hub: Hub) -> None:
    hub.repositories[ASSISTANT] = drafter
    assert main(["models", "fetch", "e2b"]) == 0
    assert not any("assistant" in path for path, _, _ in hub.asked)
    assert Bundle.open(models / "e2b").drafter is None


def test_cut_off_in_the_drafter_it_goes_on(
    models: Path, checkpoint: Path, drafter: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[ASSISTANT] = drafter
    size = (drafter / "model.safetensors").stat().st_size
    built = built_with(models, checkpoint, drafter)
    hub.cut = lambda left: left // 2 if left == size else 0 if left > 100_000 else None
    assert "goes on where it was" in refused(capsys, "fetch", "e2b", "--with-drafter")
    assert not (models / "e2b").exists()
    hub.cut = lambda _: None
    hub.asked.clear()
    assert main(["models", "fetch", "e2b", "--with-drafter", "--keep"]) == 0
    begin = next(wanted for path, wanted, _ in hub.asked if path.startswith(f"/{ASSISTANT}/") and path.endswith(".safetensors"))
    assert int(begin.removeprefix("bytes=").rstrip("-")) >= size // 2 - 1000
    assert content(models / "e2b") == built
    assert (models / ".e2b.fetch" / "drafter" / ASSISTANT / "model.safetensors").stat().st_size == size


def test_an_altered_drafter_and_one_that_is_not_given(
    models: Path, drafter: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[ASSISTANT] = drafter
    hub.alter = lambda name, body: body[:-1] + bytes([body[-1] ^ 1]) if name == "model.safetensors" else body
    assert f"model.safetensors of {ASSISTANT} arrived altered" in refused(capsys, "fetch", "e2b", "--with-drafter")
    hub.alter = lambda _, body: body
    hub.status, hub.error = (lambda path: 401 if "assistant" in path else 200), "GatedRepo"
    assert "accept its terms" in refused(capsys, "fetch", "e2b", "--with-drafter")
    assert not (models / "e2b").exists()


def test_a_drafter_that_cannot_be_is_refused_before_any_weights_are_fetched(
    models: Path, drafter: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide, empty = Path(shutil.copytree(drafter, tmp_path / "wide")), tmp_path / "empty"
    config = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps({**config, "backbone_hidden_size": 2560}))
    empty.mkdir()
    (empty / "README.md").write_text("nothing")
    bare = Path(shutil.copytree(drafter, tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    hub.repositories |= {"some/wide": wide, "some/empty": empty, "some/bare": bare}
    for given, words in {
        "some/wide": "for a model of width 2560",
        "some/empty": "some/empty holds no config.json",
        "some/bare": "some/bare holds no model.safetensors",
        "some/nothing": "there is no repository some/nothing",
        REPOSITORY: "model type 'gemma4'",
    }.items():
        assert words in refused(capsys, "fetch", "e2b", "--drafter", given)
    assert weights_asked(hub) == []
    hub.asked.clear()
    nowhere = str(tmp_path / "nowhere")
    assert f"{nowhere} is no folder" in refused(capsys, "fetch", "e2b", "--drafter", nowhere)
    assert "no drafter of e2b-qat is known" in refused(capsys, "fetch", "e2b-qat", "--with-drafter")
    assert "no drafter of some/wide is known" in refused(capsys, "fetch", "some/wide", "--with-drafter")
    assert hub.asked == []


def test_no_room_counts_the_drafter(
    models: Path, drafter: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories[ASSISTANT] = drafter
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: usage(10**9, 9 * 10**8, 10**8))
    assert f"no room to fetch {REPOSITORY} and {ASSISTANT}" in refused(capsys, "fetch", "e2b", "--with-drafter")
    assert weights_asked(hub) == []


def test_from_a_folder_no_drafter_is_fetched(
    models: Path, checkpoint: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = ("fetch", "e2b", "--from", str(checkpoint))
    assert "name the drafter's folder with --drafter" in refused(capsys, *stick, "--with-drafter")
    assert f"{ASSISTANT} is no folder" in refused(capsys, *stick, "--drafter", ASSISTANT)
    assert hub.asked == []


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
