import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_assistant.cli import main
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.models import find_model
from edge_assistant.runtimes import settings as settings_module
from edge_assistant.runtimes.opening import open_model
from edge_assistant.runtimes.settings import Settings, Tuned, keep_tuned, read_tuned, tuned_file, usable_processors
from edge_assistant.tune import DRAFTS, is_better, question, tune

DEFAULT = Settings()
LAST = usable_processors()[-1]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def machine(cost: Callable[[Settings], float], noise: float = 0.0) -> Callable[[Settings, int], float]:
    """One that takes so long, give or take."""
    random = np.random.default_rng(3)
    return lambda settings, _: cost(settings) * random.uniform(1 - noise, 1 + noise)


def threads_help(settings: Settings) -> float:
    """Up to three, when they spin; tied they are slower; larger chunks are, too."""
    cost = 0.2 + 0.8 / min(settings.threads, 3)
    cost += 0.4 * (settings.threads > 1 and not settings.spin)
    return cost + 0.2 * bool(settings.cores) + 0.01 * settings.chunk


@pytest.mark.parametrize("noise", [0, 0.02])
def test_it_takes_what_helps_and_nothing_else(noise: float) -> None:
    lines: list[str] = []
    tuned = tune(machine(threads_help, noise), 4, [0, 1, 2, 3], lines.append)
    assert tuned.settings == Settings(threads=3, spin=True)
    assert tuned.gain == pytest.approx(1.04 / (0.2 + 0.8 / 3 + 0.04), rel=0.05)
    assert not any(line.startswith("4 threads") and "better" in line for line in lines)


@pytest.mark.parametrize(("gain", "expected"), [(0.8, 2), (1.0, 0), (1.3, 0)])
def test_it_drafts_where_that_is_faster(gain: float, expected: int) -> None:
    """Two tokens at once are best, or any number is worse."""

    def cost(settings: Settings) -> float:
        return gain + abs(settings.draft - 2) / 10 if settings.draft else 1.0

    asked: list[str] = []
    assert tune(machine(cost), 1, [0], asked.append, DRAFTS).settings == Settings(draft=expected)
    assert sum("drafted" in line for line in asked) == len(DRAFTS)
    assert tune(machine(cost), 1, [0], asked.append).settings == DEFAULT


def test_a_processor_stays_free_for_sound_and_voice() -> None:
    asked: set[int] = set()

    def measure(settings: Settings, _: int) -> float:
        asked.add(settings.threads)
        return 1 / settings.threads

    assert tune(measure, 3, [0, 1, 2, 3], lambda _: None).settings.threads == 3
    assert asked == {1, 2, 3}


def test_affinity_and_chunk_count_where_they_help() -> None:
    def cost(settings: Settings) -> float:
        return 1 / settings.threads - 0.1 * bool(settings.cores) - 0.005 * min(settings.chunk, 8)

    chosen = tune(machine(cost), 3, [0, 1, 2, 3], lambda _: None).settings
    assert chosen == Settings(threads=3, spin=True, cores=(2, 3), chunk=8)


def test_the_defaults_win_every_tie() -> None:
    for noise in (0.0, 0.3):
        tuned = tune(machine(lambda _: 1.0, noise), 4, [0, 1, 2, 3], lambda _: None)
        assert tuned.settings == DEFAULT
        assert tuned.gain == 1


def test_what_was_better_by_chance_meets_the_defaults_once_more() -> None:
    """The machine is slow while the defaults are first measured, and then never again."""
    runs = [0]

    def measure(settings: Settings, _: int) -> float:
        runs[0] += 1
        return 2.0 if settings == DEFAULT and runs[0] <= 14 else 1.0

    lines: list[str] = []
    tuned = tune(measure, 2, [0, 1], lines.append)
    assert any("better" in line for line in lines)
    assert tuned.settings == DEFAULT
    assert lines[-1] == "no better than the defaults, which stay"


@pytest.mark.parametrize(
    ("challenger", "won"),
    [
        ([0.9] * 7, True),
        ([0.98] * 7, False),  # too little
        ([0.9] * 6 + [1.5], True),  # something else happened once
        ([0.9] * 5 + [1.5] * 2, False),  # too often
        ([1.0] * 7, False),
    ],
)
def test_better_is_beyond_doubt(challenger: list[float], won: bool) -> None:
    assert is_better(challenger, [1.0] * 7) is won


def test_a_count_that_does_not_help_ends_the_search() -> None:
    asked: set[int] = set()

    def measure(settings: Settings, _: int) -> float:
        asked.add(settings.threads)
        return 1.0

    tune(measure, 16, list(range(16)), lambda _: None)
    assert asked == {1, 2}


def test_every_run_of_a_number_asks_the_same_and_other_numbers_end_elsewhere() -> None:
    assert np.array_equal(np.concatenate(question(3)), np.concatenate(question(3)))
    assert len({sum(map(len, question(run))) for run in range(7)}) == 7


def tuned_as(**how: object) -> Tuned:
    return Tuned(replace(DEFAULT, **how), 0.5, 1.0)


def test_what_was_kept_comes_back_and_is_used(caplog: pytest.LogCaptureFixture) -> None:
    bundle = Bundle.open(find_model("pocket"))
    assert read_tuned(bundle.identity) is None
    kept = tuned_as(chunk=8)
    keep_tuned(bundle.identity, kept)
    assert read_tuned(bundle.identity) == kept
    assert kept.gain == 2
    model = open_model(bundle.folder)
    session = model.session(64)
    session.feed_text("<bos>")
    session.begin_audio()
    for sound, tokens in ((640 * 8, 0), (320, 8)):  # a chunk is whole when what comes after it has begun
        session.feed_audio(np.zeros(sound, np.float32))
        assert session.position - 2 == tokens
    assert not caplog.records


def test_what_was_kept_before_there_were_drafters_still_holds() -> None:
    bundle = Bundle.open(find_model("pocket"))
    path = keep_tuned(bundle.identity, tuned_as(chunk=8))
    kept = json.loads(path.read_text())
    del kept["settings"]["draft"]
    path.write_text(json.dumps(kept))
    assert read_tuned(bundle.identity) == tuned_as(chunk=8)


@pytest.mark.skipif(len(usable_processors()) < 2, reason="only one processor may be used")
def test_threads_that_are_tied_run(caplog: pytest.LogCaptureFixture) -> None:
    bundle = Bundle.open(find_model("pocket"))
    keep_tuned(bundle.identity, tuned_as(threads=2, spin=True, cores=(LAST,)))
    model = open_model(bundle.folder)
    tied = [tid for tid in os.listdir("/proc/self/task") if os.sched_getaffinity(int(tid)) == {LAST}]
    assert len(tied) == 3  # one beside the caller's, for each of the three graphs
    session = model.session(64)
    session.feed_text("<bos>")
    assert np.isfinite(session.logits()).all()
    assert not caplog.records


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        "\xff\xfe",
        {"settings": {}},
        {"settings": {"threads": 0, "spin": False, "cores": [], "chunk": 4}},
        {"settings": {"threads": 4096, "spin": False, "cores": [], "chunk": 4}},
        {"settings": {"threads": 1, "spin": False, "cores": [1, 2], "chunk": 4}},
        {"settings": {"threads": 1, "spin": False, "cores": [], "chunk": 0}},
        {"settings": {"threads": "many", "spin": False, "cores": [], "chunk": 4}},
        {"settings": {"threads": 1, "spin": False, "cores": [], "chunk": 4, "draft": 9}},
        {"wait_s": None},
        {"format": 99},
        {"bundle": "another"},
        {"processor": "another"},
        {"usable": [0, 1, 2, 3, 4, 5, 6, 7]},
    ],
)
def test_a_file_that_is_broken_or_of_another_machine_is_left_alone(broken: object, caplog: pytest.LogCaptureFixture) -> None:
    bundle = Bundle.open(find_model("pocket"))
    path = keep_tuned(bundle.identity, tuned_as(chunk=8))
    text = broken if isinstance(broken, str) else json.dumps({**json.loads(path.read_text()), **broken})  # type: ignore[dict-item]
    path.write_text(text, encoding="latin-1")
    assert read_tuned(bundle.identity) is None
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert str(path) in caplog.text
    assert open_model(bundle.folder).session(64).position == 0


def test_a_card_that_moves_to_another_machine_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep_tuned("a" * 64, tuned_as(chunk=8))
    monkeypatch.setattr(settings_module, "processor", lambda: "a Raspberry Pi 6")
    assert read_tuned("a" * 64) is None
    assert "another machine" in caplog.text


def test_the_command_measures_keeps_and_forgets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_assistant.tune.RUNS", 3)
    identity = Bundle.open(find_model("pocket")).identity
    assert main(["tune", "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    kept = read_tuned(identity)
    assert kept is not None
    assert found["settings"]["chunk"] == kept.settings.chunk
    assert found["file"] == str(tuned_file(identity))
    assert found["gain"] >= 1
    assert "8 soft tokens at once: " in told.err

    assert main(["advise", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tuned"]["pocket"]["chunk"] == kept.settings.chunk
    assert main(["advise"]) == 0
    assert "Tuned here, pocket: " in capsys.readouterr().out

    assert main(["tune", "--forget"]) == 0
    assert read_tuned(identity) is None
    assert main(["tune", "--forget"]) == 0
    capsys.readouterr()
    assert main(["advise", "--like", "pi5-8gb", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tuned"] == {}


@pytest.mark.parametrize(("chunk", "said"), [(4, "the defaults, which nothing beat"), (8, "2.00 times as fast as the defaults")])
def test_the_last_line_says_who_won(
    chunk: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_assistant.tune.tune", lambda *_: tuned_as(chunk=chunk))
    assert main(["tune"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(said)


def test_a_state_folder_that_cannot_be_written_is_said(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write_text("a file")
    monkeypatch.setattr("edge_assistant.tune.RUNS", 1)
    assert main(["tune"]) == 2
    assert "see that it can be written" in capsys.readouterr().err.splitlines()[-1]
