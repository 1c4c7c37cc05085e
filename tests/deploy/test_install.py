"""install.sh from a bundle, below a folder: nothing here needs the network or root."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from bundles import DEPLOY, make_bundle, make_key, reseal, write_wheel

SETTINGS = "etc/edge-assistant/config.toml"


def install(root, *arguments, script=DEPLOY / "install.sh", status=0):
    result = subprocess.run(
        ["bash", script, *map(str, arguments), "--root", root], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result


def refused(root, *arguments):
    """One clear line, and nothing was changed; returns the line."""
    before = tree(root)
    result = install(root, *arguments, status=2)
    assert tree(root) == before
    assert result.stderr.startswith("edge-assistant: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def tree(root):
    """Every path below with what it is, links not followed."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def in_use(root, link="current"):
    return (root / "opt/edge-assistant" / link).resolve().name


def version_of(root):
    program = root / "opt/edge-assistant/current/bin/edge-assistant"
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout


def another(bundle, key, to, version):
    """The next version: the same program under a new number."""
    shutil.copytree(bundle, to)
    manifest = to / "manifest"
    manifest.write_text(re.sub("^version=.*", f"version={version}", manifest.read_text(), flags=re.MULTILINE))
    return reseal(to, key)


def test_a_life(bundle, key, board, tmp_path):
    """Installed, installed again, upgraded, set back, upgraded twice, taken off."""
    untouched = tree(board)
    offline = ["--offline", bundle, "--key", f"{key}.pub"]

    dry = install(board, *offline, "--dry-run")
    assert "would switch to version 0.1.0+" in dry.stdout
    assert tree(board) == untouched

    (bundle / "install.sh").chmod(0o644)  # a stick in FAT has no modes
    install(board, *offline)
    assert os.access(board / "opt/edge-assistant/current/install.sh", os.X_OK)  # it is called by its name
    first = in_use(board)
    assert first == "0.1.0+" + hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest()[:8]
    assert version_of(board).startswith("edge-assistant 0.")
    assert (board / "etc/edge-assistant/release-key.pub").read_bytes() == Path(f"{key}.pub").read_bytes()
    assert (board / "var/lib/edge-assistant/models/tiny/manifest.json").is_file()
    assert os.readlink(board / "usr/local/bin/edge-assistant") == "/opt/edge-assistant/current/bin/edge-assistant"
    assert (board / "etc/systemd/system/edge-assistant.service").is_file()

    assert (board / SETTINGS).read_text() == "# settings\n"
    before = tree(board)
    install(board, "--offline", bundle)  # with the key that was kept
    assert tree(board) == before

    (board / SETTINGS).write_text("# wrong\n")
    before = tree(board)
    second = another(bundle, key, tmp_path / "second", "0.1.1")
    own = board / "opt/edge-assistant/current/install.sh"
    assert "config.toml:1: wrong" in install(board, "--offline", second, status=2).stderr
    assert tree(board) == before
    (board / SETTINGS).write_text("# mine\n")
    install(board, "upgrade", "--offline", second, script=own)  # by the script that was installed, not the stick's
    assert (in_use(board).partition("+")[0], in_use(board, "previous")) == ("0.1.1", first)
    assert (board / SETTINGS).read_text() == "# mine\n"

    install(board, "rollback", script=own)
    assert (in_use(board), in_use(board, "previous").partition("+")[0]) == (first, "0.1.1")
    assert version_of(board).startswith("edge-assistant 0.")
    install(board, "rollback")
    assert in_use(board, "previous") == first

    (bundle / "models/tiny/manifest.json").write_text('{"better": true}\n')
    third = another(bundle, key, tmp_path / "third", "0.1.2")
    assert "take tiny along" in install(board, "--offline", third).stdout
    assert "better" in (board / "var/lib/edge-assistant/models/tiny/manifest.json").read_text()
    assert sorted(path.name.partition("+")[0] for path in (board / "opt/edge-assistant/versions").iterdir()) == ["0.1.1", "0.1.2"]

    full = tree(board)
    install(board, "uninstall", "--dry-run")
    assert tree(board) == full
    install(board, "uninstall", "--keep-settings")
    assert (board / SETTINGS).read_text() == "# mine\n"
    assert not (board / "opt").exists()
    install(board, "uninstall")
    assert tree(board) == untouched
    assert "not installed" in install(board, "uninstall").stdout
    assert tree(board) == untouched


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "kind",
    ["wheels/edge_assistant-*.whl", "wheels/requirements.txt", "debs/*.deb", "models/tiny/manifest.json", "systemd/*.service",
     "check/timer.wav", "install.sh", "manifest", "SHA256SUMS", "SHA256SUMS.sig"],
)  # fmt: skip
def test_an_altered_file_is_refused(bundle, key, board, kind):
    file = next(bundle.glob(kind))
    flip(file)
    line = refused(board, "--offline", bundle, "--key", f"{key}.pub")
    assert "not signed" in line if file.name.startswith("SHA256SUMS") else file.name in line


@pytest.mark.parametrize("kind", ["wheels/pip-*.whl", "manifest", "SHA256SUMS", "SHA256SUMS.sig"])
def test_a_missing_file_is_refused(bundle, key, board, kind):
    next(bundle.glob(kind)).unlink()
    refused(board, "--offline", bundle, "--key", f"{key}.pub")


@pytest.mark.parametrize("name", ["wheels/more-1.0-py3-none-any.whl", "SHA256SUMS2", "._manifest"])
def test_a_file_too_many_is_refused(bundle, key, board, name):
    (bundle / name).write_bytes(b"")
    assert name in refused(board, "--offline", bundle, "--key", f"{key}.pub")


def test_a_link_is_refused(bundle, key, board):
    """What a link leads to may change after the check."""
    file = bundle / "check/timer.wav"
    file.rename(bundle.parent / "elsewhere.wav")
    file.symlink_to(bundle.parent / "elsewhere.wav")
    assert "check/timer.wav" in refused(board, "--offline", bundle, "--key", f"{key}.pub")


def test_another_key_is_refused(bundle, key, board, tmp_path):
    other = make_key(tmp_path / "other")
    assert "not signed by" in refused(board, "--offline", bundle, "--key", f"{other}.pub")
    reseal(bundle, other)
    (board / "boot").mkdir()
    shutil.copy(f"{key}.pub", board / "boot/edge-assistant.pub")  # where one puts it when the card is written
    assert "boot/edge-assistant.pub" in refused(board, "--offline", bundle)


def test_a_signature_for_something_else_is_refused(bundle, key, board):
    (bundle / "SHA256SUMS.sig").unlink()
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "file", bundle / "SHA256SUMS"], check=True, stderr=subprocess.PIPE
    )
    assert "not signed by" in refused(board, "--offline", bundle, "--key", f"{key}.pub")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--offline", "BUNDLE"], "no key"),
        (["--offline", "BUNDLE", "--key", "nowhere"], "there is no key"),
        (["--offline", "BUNDLE", "--key", "/etc/hostname"], "neither"),
        (["--offline", "/etc"], "no bundle"),
        (["rollback"], "nothing is installed"),
        ([], "from where"),
        (["--sideways"], "unknown"),
    ],
)
def test_what_cannot_be_is_refused(bundle, board, arguments, word):
    assert word in refused(board, *[bundle if argument == "BUNDLE" else argument for argument in arguments])


@pytest.mark.parametrize("line", ["suite=potato", "architecture=s390x", "python=2.7", f"disk_kib={10**14}"])
def test_a_bundle_for_another_machine_is_refused(bundle, key, board, line):
    name, _, value = line.partition("=")
    manifest = bundle / "manifest"
    manifest.write_text(re.sub(f"^{name}=.*", line, manifest.read_text(), flags=re.MULTILINE))
    reseal(bundle, key)
    assert str(10**14 // 1024 if name == "disk_kib" else value) in refused(board, "--offline", bundle, "--key", f"{key}.pub")


def test_a_version_that_does_not_start_is_not_switched_to(bundle, key, board, tmp_path):
    install(board, "--offline", bundle, "--key", f"{key}.pub")
    before = tree(board)
    bad = Path(shutil.copytree(bundle, tmp_path / "bad"))
    write_wheel(bad / "wheels", "raise SystemExit('no')")
    make_bundle.write_requirements(bad / "wheels")
    reseal(bad, key)
    assert "does not start" in install(board, "--offline", bad, status=1).stderr
    assert tree(board) == before


def test_killed_at_work(bundle, key, board):
    """The power is cut: what is in use is whole or absent, and the next run makes it good."""
    command = ["bash", DEPLOY / "install.sh", "--offline", bundle, "--key", f"{key}.pub", "--root", board]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(board.glob("opt/edge-assistant/versions/*/venv/lib/*/site-packages/edge_assistant")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (board / "opt/edge-assistant/current").exists()
    install(board, "--offline", bundle, "--key", f"{key}.pub")
    assert version_of(board).startswith("edge-assistant 0.")


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
def test_minisign(bundle, board, tmp_path):
    subprocess.run(["minisign", "-G", "-W", "-p", tmp_path / "key.pub", "-s", tmp_path / "key"], check=True, capture_output=True)
    for old in bundle.glob("SHA256SUMS*"):
        old.unlink()
    make_bundle.seal(bundle, None, tmp_path / "key")
    offline = ["--offline", bundle, "--key", tmp_path / "key.pub"]
    assert "would switch" in install(board, *offline, "--dry-run").stdout
    flip(bundle / "SHA256SUMS")
    assert "not signed" in refused(board, *offline)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", [DEPLOY / "install.sh", Path(__file__).with_name("prove-arm64")], ids=lambda path: path.name)
def test_shellcheck(script):
    result = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
