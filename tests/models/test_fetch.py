import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hub_server import COMMIT, REPOSITORY, Hub
from installing import content, refused, start, tree
from shapes import Shape, make_checkpoint

from edge_assistant import hub as hub_module
from edge_assistant import install
from edge_assistant.cli import main
from edge_assistant.models import find_model

WEIGHTS = "model-00001-of-00002.safetensors"


def nothing_half_made(models: Path) -> None:
    """No model, and of the files that are fetched none that is not whole has its name."""
    assert not (models / "e2b").exists()
    assert not (models / ".e2b.part").exists()


def test_fetched_built_verified(hub: Hub, models: Path, reference: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "e2b"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(models / "e2b") == str(find_model("e2b"))
    assert "to fetch" in told.err
    assert "are free in" in told.err
    assert content(models / "e2b") == reference
    assert tree(models) == {"e2b", *(f"e2b/{name}" for name in reference)}
    assert not any("README" in path for path, _, _ in hub.asked)
    assert "exists already" in refused(capsys, "fetch", "e2b")


def test_the_token_is_sent(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert main(["models", "fetch", "e2b"]) == 0
    assert {token for _, _, token in hub.asked} == {"Bearer hf_mine"}


def test_any_repository_a_revision_and_the_checkpoint_kept(
    hub: Hub, models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["models", "fetch", REPOSITORY, "--name", "mine", "--revision", "main", "--keep", "--json"]
    assert main(arguments) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["name"], about["folder"], about["source"]) == ("mine", str(models / "mine"), "gemma-4-E2B-it")
    kept = content(models / ".mine.fetch" / "gemma-4-E2B-it")
    assert kept == {name: body for name, body in content(checkpoint).items() if name != "README.md"}


def test_the_environment_names_the_hub(hub: Hub, models: Path, reference: dict[str, bytes]) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "XDG_DATA_HOME": str(models.parent.parent)}
    process = start("models", "fetch", "e2b", environment=environment)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert content(models / "e2b") == reference


def test_a_connection_cut_twenty_times(hub: Hub, models: Path, reference: dict[str, bytes], checkpoint: Path) -> None:
    chance, cuts = random.Random(4), 0

    def cut(size: int) -> int | None:
        nonlocal cuts
        if cuts == 20 or size < 100_000:
            return None
        cuts += 1
        return chance.randrange(size // 4)

    hub.cut = cut
    assert main(["models", "fetch", "e2b"]) == 0
    assert cuts == 20
    assert content(models / "e2b") == reference
    # what had arrived was not fetched again, but for a piece that was not whole
    whole = sum(path.stat().st_size for path in checkpoint.iterdir() if path.name != "README.md")
    assert hub.sent < whole + 20 * 1000
    assert any(wanted for _, wanted, _ in hub.asked)


def test_stopped_and_run_again_it_goes_on(
    hub: Hub, models: Path, reference: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    body = (hub.repositories[REPOSITORY] / WEIGHTS).stat().st_size
    hub.cut = lambda size: size // 2 if size == body else 0 if size > 100_000 else None
    assert "goes on where it was" in refused(capsys, "fetch", "e2b")
    nothing_half_made(models)
    hub.cut = lambda _: None
    hub.asked.clear()
    assert main(["models", "fetch", "e2b"]) == 0
    fetched = [(path.rpartition("/")[2], wanted) for path, wanted, _ in hub.asked if "resolve" in path]
    assert [name for name, _ in fetched] == [WEIGHTS, WEIGHTS.replace("00001-", "00002-", 1)]
    assert body // 2 - 1000 < int(fetched[0][1].removeprefix("bytes=").rstrip("-")) <= body // 2
    assert fetched[1][1] == ""
    assert content(models / "e2b") == reference


def test_stopped_and_the_branch_moved_on(
    hub: Hub, models: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What had arrived and is another file now goes; what stayed the same stays, and goes on where it was."""
    other_half = (checkpoint / WEIGHTS.replace("00001-", "00002-", 1)).stat().st_size
    hub.cut = lambda size: size // 2 if size == other_half else 0 if size in range(100_000, other_half) else None
    refused(capsys, "fetch", "e2b")
    kept = models / ".e2b.fetch" / "gemma-4-E2B-it"
    (kept / "of-the-commit-before.safetensors").write_bytes(b"stale")
    (kept / "folder").mkdir()  # no file of the repository's: nothing to this
    after = shutil.copytree(checkpoint, tmp_path / "gemma-4-E2B-it")
    other = make_checkpoint(tmp_path / "other", Shape(shards=2, dtype="BF16"), 8)
    shutil.copy(other / WEIGHTS, after / WEIGHTS)
    hub.repositories, hub.commit, hub.cut = {REPOSITORY: after}, "d" * 40, lambda _: None
    hub.asked.clear()
    assert main(["models", "fetch", "e2b", "--keep"]) == 0
    fetched = {path.rpartition("/")[2]: wanted for path, wanted, _ in hub.asked if "resolve" in path}
    assert fetched.keys() == {WEIGHTS, WEIGHTS.replace("00001-", "00002-", 1)}
    assert fetched.pop(WEIGHTS) == ""
    assert all(wanted.startswith("bytes=") for wanted in fetched.values())
    (after / "README.md").unlink()
    (kept / "folder").rmdir()
    assert content(kept) == content(after)
    assert main(["models", "build", str(after), "--name", "other"]) == 0
    assert content(models / "e2b") == content(models / "other")


def test_killed_while_fetching(hub: Hub, models: Path, reference: dict[str, bytes]) -> None:
    """Each run gets a little further than the one before."""
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "XDG_DATA_HOME": str(models.parent.parent)}
    halves = Counter[int]()

    def cut(size: int) -> int | None:
        halves[size] += 1
        if size > 100_000:
            running.kill()
            return size // 2
        return None

    for _ in range(3):
        hub.cut = lambda _: None
        running = start("models", "fetch", "e2b", environment=environment)
        hub.cut = cut
        running.communicate(timeout=60)
        assert running.returncode in (0, -signal.SIGKILL)
    assert any(number > 0 for number in halves.values())
    hub.cut = lambda _: None
    if not (models / "e2b").exists():
        nothing_half_made(models)
        assert main(["models", "fetch", "e2b"]) == 0
    assert content(models / "e2b") == reference


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, "", r"refuses .* HF_TOKEN"),
        (401, "GatedRepo", r"gated.*accept its terms"),
        (403, "GatedRepo", r"gated.*accept its terms"),
        (403, "", "forbids"),
        (404, "RepoNotFound", "no repository"),
        (404, "RevisionNotFound", "no revision"),
        (429, "", "too many requests"),
        (500, "", "answers 500"),
        (503, "", "answers 503"),
    ],
)
@pytest.mark.parametrize("where", ["/api/", WEIGHTS])
def test_refusals(  # noqa: PLR0917
    hub: Hub, models: Path, capsys: pytest.CaptureFixture[str], status: int, error: str, words: str, where: str
) -> None:
    hub.status, hub.error = (lambda path: status if where in path else 200), error
    line = refused(capsys, "fetch", "e2b")
    assert re.search(words, line), line
    nothing_half_made(models)


def test_a_token_that_is_not_accepted(
    hub: Hub, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    hub.status = lambda path: 401 if WEIGHTS in path else 200
    line = refused(capsys, "fetch", "e2b")
    assert "not accepted" in line
    assert "hf_old" not in line


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS])
def test_a_wrong_checksum(
    hub: Hub, models: Path, capsys: pytest.CaptureFixture[str], name: str, reference: dict[str, bytes]
) -> None:
    def alter(file: str, body: bytes) -> bytes:
        return body[:-50] + bytes([body[-50] ^ 1]) + body[-49:] if file == name else body

    hub.alter = alter
    assert f"{name} of {REPOSITORY} arrived altered" in refused(capsys, "fetch", "e2b")
    nothing_half_made(models)
    assert not any(name in path for path in tree(models))
    hub.alter = lambda _, body: body
    assert main(["models", "fetch", "e2b"]) == 0
    assert content(models / "e2b") == reference


def test_truncated(hub: Hub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hub itself has less than it says."""
    hub.alter = lambda file, body: body[:-100] if file == WEIGHTS else body
    refused(capsys, "fetch", "e2b")
    nothing_half_made(models)
    assert not any(path.endswith(WEIGHTS) for path in tree(models))


def test_longer_than_it_says(hub: Hub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.alter = lambda file, body: body + b"more" if file == WEIGHTS else body
    refused(capsys, "fetch", "e2b")
    nothing_half_made(models)


def test_no_hub(models: Path, hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in refused(capsys, "fetch", "e2b")
    assert tree(models) == set()


def test_offline(models: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "edge_assistant.cli", "models", "fetch", "e2b"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["nobody", "a/b/c", "../e2b", "two words"])
def test_names_that_are_none(hub: Hub, models: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    said = refused(capsys, "fetch", name)
    assert tree(models) == set()
    if name == "nobody":
        assert "e2b, e4b, e2b-qat, e4b-qat" in said
        assert hub.asked == []


def test_what_cannot_be_built_is_refused_before_its_weights_are_fetched(
    hub: Hub, models: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = Path(shutil.copytree(checkpoint, tmp_path / "deaf"))
    config = json.loads((deaf / "config.json").read_text())
    (deaf / "config.json").write_text(json.dumps({**config, "audio_config": None}))
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("nothing")
    hub.repositories |= {"some/deaf": deaf, "some/empty": empty}
    assert "no audio tower" in refused(capsys, "fetch", "some/deaf")
    assert "holds no config.json" in refused(capsys, "fetch", "some/empty")
    assert not any("safetensors" in path and "index" not in path for path, _, _ in hub.asked)


def test_no_room_is_said_before_the_first_byte(
    hub: Hub, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: usage(10**9, 9 * 10**8, 10**8))
    line = refused(capsys, "fetch", "e2b")
    assert "no room to fetch google/gemma-4-E2B-it" in line
    assert "0.1 GB are free" in line
    assert not any("safetensors" in path and "index" not in path for path, _, _ in hub.asked)


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: object, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


def test_the_disk_is_full_while_fetching(
    hub: Hub, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reference: dict[str, bytes]
) -> None:
    real = hub_module.http_get
    monkeypatch.setattr(hub_module, "http_get", lambda url, file, **more: real(url, Full(file, 20_000), **more))
    assert "No space left on device; free some room" in refused(capsys, "fetch", "e2b")
    nothing_half_made(models)
    monkeypatch.setattr(hub_module, "http_get", real)
    assert main(["models", "fetch", "e2b"]) == 0
    assert content(models / "e2b") == reference


def test_a_real_disk_is_full(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a small disk")
    usage = type(shutil.disk_usage("/"))
    try:
        monkeypatch.setenv("XDG_DATA_HOME", str(disk))
        assert "no room to fetch" in refused(capsys, "fetch", "e2b")
        monkeypatch.setattr(install.shutil, "disk_usage", lambda _: usage(10**12, 0, 10**12))
        assert "No space left on device" in refused(capsys, "fetch", "e2b")
        nothing_half_made(disk / "edge-assistant" / "models")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written(
    hub: Hub, models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models.mkdir(parents=True)
    if os.geteuid() == 0:  # nothing forbids root to write, but the disk
        options = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(models)]
        if subprocess.run(options, check=False, capture_output=True).returncode:
            pytest.skip("root without the right to mount")
    else:
        models.chmod(0o500)
    try:
        for arguments in (["fetch", "e2b"], ["fetch", "e2b", "--from", str(checkpoint)], ["build", str(checkpoint)]):
            assert "see that the folder can be written" in refused(capsys, *arguments)
        assert tree(models) == set()
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(models)], check=True)
        else:
            models.chmod(0o700)


def test_nothing_is_fetched_where_a_user_is_answered() -> None:
    """Not by looking for the word: by loading and running what answers."""
    program = """
import sys
from edge_assistant.cli import main
import edge_assistant.talk, edge_assistant.ask, edge_assistant.brain, edge_assistant.runtimes.onnx, edge_assistant.models
from edge_assistant.verbs import ask, talk
assert main(["ask", sys.argv[1], "--pace", "fast"]) == 0
opened = {"edge_assistant.hub", "edge_assistant.install", "huggingface_hub", "httpx2", "http.client", "requests"}
loaded = opened & set(sys.modules)
assert not loaded, loaded
"""
    demo = Path(__file__).parents[2] / "assets" / "demo" / "timer.wav"
    done = subprocess.run([sys.executable, "-c", program, str(demo)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_commit_is_pinned(hub: Hub, models: Path) -> None:
    """All files are of one commit, whatever is pushed in between."""
    assert main(["models", "fetch", "e2b"]) == 0
    assert all(f"/resolve/{COMMIT}/" in path for path, _, _ in hub.asked if "resolve" in path)


def test_the_hub_is_asked_once_for_each_thing(hub: Hub, models: Path) -> None:
    begin = time.monotonic()
    assert main(["models", "fetch", "e2b"]) == 0
    assert max(Counter(path for path, _, _ in hub.asked).values()) == 1
    assert time.monotonic() - begin < 20
