"""What make-bundle takes, and what it refuses before the first download."""

import re
import struct
import subprocess
import sys
import zipfile

import pytest
from bundles import DEPLOY, make_bundle


def run(*arguments):
    command = [sys.executable, DEPLOY / "make-bundle", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("suite", make_bundle.SUITES)
def test_the_lock_has_all_that_is_needed(suite):
    """A dependency that was added without `make-bundle --relock` would be missed on the board only."""
    text = (DEPLOY / "locks" / f"{suite}.txt").read_text()
    locked = dict(re.findall(r"^(\S+)==\S+((?: \\\n *--hash=sha256:\S+)*)", text, re.MULTILINE))
    assert all(locked.values())
    project = make_bundle.project()
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["wake"], *extras["aec3"], "pip"]
    assert {plain(re.match(r"[\w.-]+", want)[0]) for want in wanted} - set(map(plain, locked)) == set()


def plain(name):
    return re.sub("[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--key"),
        (["--key", "nowhere"], "no nowhere"),
        (["--key", DEPLOY / "install.sh", "--out", DEPLOY], "there already"),
        (["--key", DEPLOY / "install.sh", "--model", "e2b"], "NAME=FOLDER"),
        (["--key", DEPLOY / "install.sh", "--model", f"pocket={DEPLOY}"], "NAME=FOLDER"),
        (["--key", DEPLOY / "install.sh", "--model", f"e2b={DEPLOY}"], "no bundle"),
        (["--key", DEPLOY / "install.sh", "--suite", "potato"], "potato"),
    ],
)
def test_what_cannot_be_is_refused(arguments, word, tmp_path):
    if "--out" not in arguments:
        arguments = [*arguments, "--out", tmp_path / "out"]
    result = run(*arguments)
    assert result.returncode == 2
    assert word in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def elf(*alignments):
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, len(alignments) + 1)
    loads = b"".join(struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, 0, alignment) for alignment in alignments)
    return bytes(head) + loads + struct.pack("<IIQQQQQQ", 2, 6, 0, 0, 0, 0, 0, 8)


def test_a_library_for_small_pages_is_refused(tmp_path):
    """Python itself, a real one, passes; 4 KiB would not load on a Raspberry Pi 5."""
    with zipfile.ZipFile(tmp_path / "good-1.whl", "w") as wheel:
        wheel.writestr("good.so.2", elf(0x10000, 0x4000))
        wheel.writestr("text.so", "not a library")
    make_bundle.check_pages(tmp_path)
    with zipfile.ZipFile(tmp_path / "small-1.whl", "w") as wheel:
        wheel.writestr("small.abi3.so", elf(0x10000, 0x1000))
    with pytest.raises(make_bundle.Fault, match=r"small.abi3.so in small-1.whl is aligned to 4096"):
        make_bundle.check_pages(tmp_path)


def test_alignment_is_read_as_readelf_reads_it():
    library = sys.modules["_ctypes"].__file__ if "_ctypes" in sys.modules else __import__("_ctypes").__file__
    readelf = subprocess.run(["readelf", "-lW", library], capture_output=True, text=True, check=False)
    if readelf.returncode:
        pytest.skip("no readelf")
    seen = [int(line.split()[-1], 16) for line in readelf.stdout.splitlines() if line.strip().startswith("LOAD")]
    with open(library, "rb") as file:
        assert make_bundle.alignment(file.read()) == min(seen)
