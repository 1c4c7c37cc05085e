import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_assistant.advise import NO_AUDIO, Installed, advise, room_bytes
from edge_assistant.cli import build_parser, main
from edge_assistant.family import A4B, DENSE, E2B, E4B, FAMILY, MEASURED
from edge_assistant.gemma4.cache import Blocks, Cache
from edge_assistant.gemma4.config import Fields, parse_text
from edge_assistant.machine import KNOWN, Gpu, Machine

sys.path.insert(0, str(Path(__file__).parents[1] / "bench" / "e2b"))

import shape

RIGHT = {
    "pi-zero-2w": ("pocket", None),
    "pi4-4gb": ("pocket", None),
    "pi4-8gb": ("pocket", None),
    "pi5-2gb": ("pocket", None),
    "pi5-4gb": ("e2b", 128),
    "pi5-8gb": ("e2b", 32),
    "pi5-16gb": ("e2b", 32),
    "laptop": ("e4b", 32),
    "laptop-8gb": ("e2b", 32),
    "laptop-16gb": ("e4b", 32),
    "desktop-32gb": ("e4b", 32),
    "gpu-12gb": ("e4b", 32),
    "gpu-24gb": ("e4b", 32),
    "server-64-cores": ("e4b", 32),
    "server-gpu-80gb": ("e4b", 32),
}
TEXT = {"gpu-24gb", "server-64-cores", "server-gpu-80gb"}
"""Where the members without audio are worth running."""


def notes(machine: Machine) -> str:
    return "\n".join(advise(machine).notes)


def test_every_known_machine_has_its_right_member() -> None:
    assert {kind: (advise(machine).chosen.name, advise(machine).chosen.block) for kind, machine in KNOWN.items()} == RIGHT


@pytest.mark.parametrize("kind", KNOWN)
def test_a_table_is_whole_and_keeps_its_word(kind: str) -> None:
    machine = KNOWN[kind]
    advice = advise(machine)
    assert sorted(row.name for row in advice.rows) == sorted(["pocket", *(member.name for member in FAMILY)])
    assert [row.verdict for row in advice.rows].count("run") == 1
    assert advice.chosen.verdict == "run"
    assert advice.chosen.memory_bytes <= room_bytes(machine)
    assert advice.text == (("26b-a4b", "31b") if kind in TEXT else ())
    assert all(row.reason for row in advice.rows)
    assert all("no audio input" in row.reason for row in advice.rows if row.name in (A4B.name, DENSE.name))
    assert NO_AUDIO in advice.notes


@pytest.mark.parametrize("kind", KNOWN)
def test_every_command_advised_is_one_that_the_program_takes(kind: str) -> None:
    for command in advise(KNOWN[kind]).commands:
        program, *arguments = shlex.split(command)
        assert program == "edge-assistant"
        build_parser().parse_args(arguments)


E2B_HERE = Installed("e2b", "e2b", 32, whole=True, tuned=False)
FETCH = ("edge-assistant models fetch e2b", "edge-assistant tune e2b", "edge-assistant talk --model e2b")


@pytest.mark.parametrize(
    ("here", "commands"),
    [
        ([], FETCH),
        ([E2B_HERE], FETCH[1:]),
        ([replace(E2B_HERE, tuned=True)], FETCH[2:]),
        ([replace(E2B_HERE, block=128, tuned=True)], FETCH[2:]),
        ([replace(E2B_HERE, name="a", tuned=True), E2B_HERE], FETCH[1:]),
        ([replace(E2B_HERE, name="e2b-qat")], ("edge-assistant tune e2b-qat", "edge-assistant talk --model e2b-qat")),
        ([replace(E2B_HERE, whole=False)], ("edge-assistant models remove e2b", *FETCH)),
        ([replace(E2B_HERE, name="a", whole=False)], FETCH),
        ([replace(E2B_HERE, name="e4b", member="e4b")], FETCH),
    ],
)
def test_what_is_here_is_not_fetched_again(here: list[Installed], commands: tuple[str, ...]) -> None:
    advice = advise(KNOWN["pi5-8gb"], here)
    assert advice.commands == commands
    assert any("of disk" in note for note in advice.notes) == (FETCH[0] in commands)
    for command in commands:
        build_parser().parse_args(shlex.split(command)[1:])


def test_what_is_here_and_too_large_is_made_again() -> None:
    advice = advise(KNOWN["pi5-4gb"], [E2B_HERE])
    assert advice.commands[:2] == ("edge-assistant models remove e2b", "edge-assistant models fetch e2b --block 128")
    assert any("e2b is installed, in blocks of 32, too large" in note for note in advice.notes)
    assert advise(KNOWN["pi5-4gb"], [replace(E2B_HERE, block=128)]).commands == FETCH[1:]


def test_the_memory_formula_meets_what_was_measured() -> None:
    for block, measured in MEASURED.items():
        assert E2B.memory_bytes(block, 2048, cache_bits=32) == pytest.approx(measured, rel=2e-3)


def test_the_shapes_add_up_to_the_published_sizes() -> None:
    billions = [member.shape.matrices() / 1e9 for member in (E2B, E4B, A4B, DENSE)]
    assert billions == pytest.approx([2.3, 4.5, 25.2, 30.7], rel=0.04)
    assert A4B.shape.matrices(active=True) / 1e9 == pytest.approx(3.8, rel=0.01)
    assert E2B.shape.matrices() + E2B.shape.looked_up() == pytest.approx(4.63e9, rel=0.01)


def test_the_cache_of_e2b_is_9_kilobytes_a_token_and_36_in_floats() -> None:
    assert E2B.shape.cache_bytes(1000, 32) == 36_864_000
    assert E2B.shape.cache_bytes(1000, 8) == 36_864_000 // 4 + 1000 * 15 * 2 * 4
    assert DENSE.shape.cache_bytes(4096, 16, windowed=True) < DENSE.shape.cache_bytes(4096, 16)


def test_it_counts_the_bytes_that_a_cache_has() -> None:
    config = parse_text(Fields(shape.TEXT, "E2B"), Fields({}, "E2B"))
    for bits in (8, 32):
        parts = Cache(config, Blocks(64, 64), 1024, bits).parts
        assert E2B.shape.cache_bytes(1024, bits) == sum(part.array.nbytes for layer in parts for part in layer)


def test_a_cache_in_8_bits_makes_room() -> None:
    saved = E2B.memory_bytes() - E2B.memory_bytes(cache_bits=32)
    assert saved == E2B.shape.cache_bytes(4096, 8) - E2B.shape.cache_bytes(4096, 32)
    assert -120e6 < saved < -110e6


def test_too_little_memory_says_what_fits_instead() -> None:
    assert "What fits here is pocket" in notes(KNOWN["pi5-2gb"])
    assert "What fits here is pocket" not in notes(KNOWN["pi5-4gb"])
    assert "blocks of 128, not of 32" in advise(KNOWN["pi5-4gb"]).chosen.reason


def test_no_speed_is_promised_on_a_pi() -> None:
    for kind, machine in KNOWN.items():
        assert ("no speed is promised" in notes(machine)) == kind.startswith("pi")
        assert not any(word in str(advise(machine)) for word in ("tok/s", "tokens a second"))


def test_memory_that_others_hold_is_told() -> None:
    pi = KNOWN["pi5-8gb"]
    assert "free now" in notes(replace(pi, available_bytes=2_000_000_000))
    assert "free now" not in notes(replace(pi, available_bytes=7_000_000_000))


@pytest.mark.parametrize(
    ("disk", "words"), [(100, "is removed when the bundle is made"), (12, "another disk or a USB stick"), (2, "make room first")]
)
def test_disk(disk: int, words: str) -> None:
    assert words in notes(replace(KNOWN["pi5-8gb"], disk_bytes=disk * 10**9))


def test_a_hot_board_is_told() -> None:
    assert "82 °C" in notes(replace(KNOWN["pi5-8gb"], temperature_c=82.0))
    assert "°C" not in notes(replace(KNOWN["pi5-8gb"], temperature_c=55.0))


def test_a_32_bit_system_is_told_and_gets_no_gemma() -> None:
    advice = advise(replace(KNOWN["pi5-8gb"], architecture="armv7l"))
    assert advice.chosen.name == "pocket"
    assert "64-bit" in advice.notes[0]
    assert {row.verdict for row in advice.rows if row.name in ("e2b", "e4b")} == {"no"}


def test_the_same_memory_with_fewer_cores_or_older_ones_gets_the_smaller_member() -> None:
    desktop = KNOWN["desktop-32gb"]
    assert advise(replace(desktop, cores=2)).chosen.name == "e2b"
    assert advise(replace(desktop, features=frozenset({"avx"}))).chosen.name == "pocket"
    assert advise(replace(desktop, architecture="aarch64", features=frozenset({"asimddp", "i8mm"}))).chosen.name == "e4b"
    assert advise(replace(desktop, architecture="aarch64", features=frozenset({"asimddp"}))).chosen.name == "e2b"


def test_training_an_adapter_needs_memory_for_the_weights_as_published() -> None:
    rows = {row.name: row for row in advise(replace(KNOWN["server-gpu-80gb"], gpus=(Gpu("a GPU", 48 << 30),))).rows}
    assert "trained" not in rows["31b"].reason
    assert all("trained" in row.reason for row in advise(KNOWN["server-gpu-80gb"]).rows if row.verdict == "text only")


def test_the_verb_shows_the_table_and_ends_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "--like", "pi5-8gb"]) == 0
    shown = capsys.readouterr().out
    for title in ("Gemma 4 E2B", "Gemma 4 E4B", "Gemma 4 26B A4B", "Gemma 4 31B", "no audio input"):
        assert title in shown
    assert shown.rstrip().splitlines()[-1].strip() == advise(KNOWN["pi5-8gb"]).commands[-1]


def test_this_machine_in_json(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "not" / "there" / "yet"))
    assert main(["advise", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["run"] == said["models"][0]["name"]
    assert said["machine"]["memory_bytes"] > 1 << 28
    assert said["machine"]["disk_bytes"] > 0
    assert said["commands"]


def test_the_machines_that_the_help_names_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["advise", "--help"])
    named = " ".join(capsys.readouterr().out.split()).partition("answer for such a machine: ")[2].partition(", …")[0]
    assert len(named.split(", ")) == 5
    for kind in named.split(", "):
        assert main(["advise", "--like", kind, "--json"]) == 0


def test_an_unknown_machine_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "--like", "pi6"]) == 2
    said = capsys.readouterr().err
    assert "pi6" in said
    assert all(kind in said for kind in KNOWN)
