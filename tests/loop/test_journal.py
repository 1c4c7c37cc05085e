"""A journal makes the same decisions again, and tells when they are others."""

import json
import resource

import numpy as np
import pytest
import soundfile as sf
from sim import World
from test_dialogues import dialogue

from edge_assistant.attention import AttentionConfig
from edge_assistant.audio_record import AudioRecord
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.errors import JournalError, UsageError
from edge_assistant.frames import FRAME_SAMPLES, Frame
from edge_assistant.hearing import HearingConfig
from edge_assistant.journal import FORMAT, Journal
from edge_assistant.replay import replay
from edge_assistant.turn import Command


def journaled(tmp_path, seed):
    path = tmp_path / f"{seed}.jsonl"
    with Journal(path, EndpointConfig(), AttentionConfig(), hearing=HearingConfig(), judged=False) as journal:
        world: World = dialogue(seed, journal)
    return path, world


@pytest.mark.parametrize("seed", range(12))
def test_the_same_decisions_again(tmp_path, seed):
    path, world = journaled(tmp_path, seed)
    shown = []
    found = replay(path, shown.append)
    assert found.frames == world.now
    assert found.commands == sum(isinstance(x, Command) for _, x in world.log)
    assert [(m.event, m.turn) for m in shown] == [(m.event, m.turn) for m in world.moments]


def test_another_decision_is_told(tmp_path):
    path = tmp_path / "x.jsonl"
    with Journal(path, EndpointConfig(), AttentionConfig(), judged=False) as journal:
        World("Hello.<turn|>", journal=journal).run("." * 20 + "#" * 30 + "." * 100)
    replay(path)
    text = path.read_text()
    path.write_text(text.replace('"end_ms": 608', '"end_ms": 800', 1))
    with pytest.raises(JournalError, match=r"line \d+: it says .*Say.* now decided: nothing"):
        replay(path)


def test_a_changed_line_is_told(tmp_path):
    path, _ = journaled(tmp_path, 3)
    lines = path.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if '"command"' in line)
    path.write_text("\n".join([*lines[:at], *lines[at + 1 :], ""]))
    with pytest.raises(JournalError, match=f"line {at + 1}: .* is decided now"):
        replay(path)


def test_a_journal_that_breaks_off_is_as_good_as_far_as_it_goes(tmp_path):
    path, world = journaled(tmp_path, 3)
    frames = [n for n, line in enumerate(path.read_text().splitlines()) if '"frame"' in line]
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text[: frames[-1]]) + text[frames[-1]][:9])
    assert replay(path).frames == world.now - 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is no journal"),
        ("hello\n", "line 1: no JSON"),
        ("[]\n", "line 1: no object"),
        ("{}\n", "is no journal"),
        ('{"journal": 99}\n', "of another version"),
        ('{"journal": 2, "endpoint": {"what": 1}, "attention": {}, "judged": false}\n', "is no journal"),
        (
            '{"journal": 2, "endpoint": {}, "attention": {}, "hearing": null, "judged": false}\n{"event": "Nonsense"}\n',
            "line 2: neither",
        ),
    ],
)
def test_what_is_no_journal(tmp_path, text, what):
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(JournalError, match=what):
        replay(path)
    with pytest.raises(JournalError, match="cannot read"):
        replay(tmp_path / "absent.jsonl")


def test_a_journal_that_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match="cannot write"):
        Journal(tmp_path / "no" / "x.jsonl", EndpointConfig(), AttentionConfig(), judged=False)


def test_a_full_disk_ends_the_journal_and_not_the_talk(tmp_path, caplog):
    path = tmp_path / "full.jsonl"
    path.symlink_to("/dev/full")
    with Journal(path, EndpointConfig(), AttentionConfig(), hearing=HearingConfig(), judged=False) as journal:
        world = dialogue(3, journal)
        assert world.all("Say")
    assert "No space left" in caplog.text


def test_the_journal_holds_no_sound(tmp_path):
    path, _ = journaled(tmp_path, 3)
    for line in map(json.loads, path.read_text().splitlines()):
        assert len(json.dumps(line)) < 500
        assert line.get("journal", FORMAT) == FORMAT


def test_the_same_script_gives_the_same_journal(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for seed in range(5):
        one, other = (journaled(tmp_path / name, seed)[0].read_bytes() for name in "ab")
        assert one == other


def test_a_full_disk_ends_the_record_and_not_the_talk(tmp_path, caplog):
    path = tmp_path / "heard.wav"
    size, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with AudioRecord(path) as record:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
            for number in range(100):
                record.record(Frame(number, np.full(FRAME_SAMPLES, 0.1, np.float32)), None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    assert caplog.text.count("ends here") == 1
    assert path.stat().st_size <= 20_000


def test_lost_frames_are_silence_in_the_record(tmp_path):
    path = tmp_path / "heard.wav"
    with AudioRecord(path) as record:
        for number in (0, 1, 4):
            record.record(Frame(number, np.full(FRAME_SAMPLES, 0.5, np.float32)), None)
    pcm, rate_hz = sf.read(path)
    assert rate_hz == 16_000
    assert list(pcm[::FRAME_SAMPLES].round(2)) == [0.5, 0.5, 0, 0, 0.5]
