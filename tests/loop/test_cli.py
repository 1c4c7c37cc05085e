"""The command as a user calls it, in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from edge_assistant.cli import VERBS, main

DEMO = Path(__file__).parents[2] / "assets" / "demo"
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}


def command(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "edge_assistant.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT, **more,
    )  # fmt: skip


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_every_help_has_an_example(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"] if verb else ["--help"])
    assert left.value.code == 0
    assert "edge-assistant" in capsys.readouterr().out.split("example")[1]


def test_version(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("edge-assistant 0.")


@pytest.mark.parametrize(
    "arguments", [[], ["sing"], ["ask"], ["ask", "--pase", "fast", "x.wav"], ["ask", "x.wav", "--pace", "slow"]]
)
def test_a_wrong_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage:")


def one_line(result):
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("edge-assistant: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_missing_file():
    assert "no such file" in one_line(command("ask", "nowhere.wav"))


def test_the_second_file_is_looked_at_before_the_first_is_answered(tmp_path):
    sf.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 16_000, "FLOAT")
    assert "NaN" in one_line(command("ask", DEMO / "timer.wav", tmp_path / "nan.wav"))


def test_a_missing_model():
    line = one_line(command("ask", DEMO / "timer.wav", "--model", "nowhere"))
    assert "no model nowhere" in line
    assert "pocket" in line


def test_a_folder_that_is_no_bundle(tmp_path):
    one_line(command("ask", DEMO / "timer.wav", "--model", tmp_path))


def test_a_reply_that_cannot_be_written(tmp_path):
    assert "no such folder" in one_line(command("ask", DEMO / "timer.wav", "--say", tmp_path / "no" / "out.wav"))


def test_a_question_is_not_overwritten(tmp_path):
    sf.write(tmp_path / "question.wav", np.zeros(16_000), 16_000)
    before = (tmp_path / "question.wav").read_bytes()
    one_line(command("ask", tmp_path / "question.wav", "--say", tmp_path / "question.wav"))
    assert (tmp_path / "question.wav").read_bytes() == before


def test_a_checkpoint_that_is_none(tmp_path):
    one_line(command("export", tmp_path, tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


# With pocket, the model that ships.


def test_json_is_all_that_is_on_stdout(tmp_path):
    result = command("ask", DEMO / "timer.wav", "--pace", "fast", "--json", "--say", tmp_path / "out.wav")
    assert result.returncode == 0, result.stderr
    moments = [json.loads(line) for line in result.stdout.splitlines()]
    assert moments[0]["event"] == "speech_started"
    assert moments[-1]["event"] == "done"
    assert sf.info(tmp_path / "out.wav").duration > 2


def test_the_table_is_plain_without_a_terminal():
    result = command("ask", DEMO / "timer.wav", "--pace", "fast")
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    assert "speech ended" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 120


def test_quiet_prints_only_what_is_said():
    result = command("ask", DEMO / "time.wav", "--pace", "fast", "--quiet")
    assert re.fullmatch(r"It is \d{1,2}:\d\d\.\n", result.stdout)


def test_a_closed_pipe_is_no_drama():
    script = f"{sys.executable} -m edge_assistant.cli ask {DEMO / 'timer.wav'} --pace fast --json | head -n 1"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT)
    assert result.stdout.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


def test_interrupted_by_hand(tmp_path):
    sf.write(tmp_path / "long.wav", np.zeros(16_000 * 60, np.float32), 16_000)
    arguments = [sys.executable, "-m", "edge_assistant.cli", "ask", tmp_path / "long.wav", "--say", tmp_path / "out.wav"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    while not list(tmp_path.glob(".out.wav.part")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""
    assert sf.info(tmp_path / "out.wav").samplerate == 22_050
