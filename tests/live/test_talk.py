"""The command `talk`, whole, at a real sound server with the shipped model."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import soundfile as sf
from room import RATE, Room, first_sound

PROGRAM = str(Path(sys.executable).with_name("edge-assistant"))
TIMER = Path(__file__).parents[2] / "assets" / "demo" / "timer.wav"
VOICE = 0.004


@contextmanager
def talking(*options):
    command = [PROGRAM, "talk", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


def network_sockets(pid):
    """What this process has open towards any network."""
    open_ = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            open_.add(os.readlink(entry))
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")]
    lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return [line for line in lines if f"socket:[{line[9]}]" in open_]


def listening(program):
    """Wait until it listens; the lines until then."""
    lines = []
    while not lines or "listening" not in lines[-1]:
        line = program.stderr.readline()
        assert line, lines
        lines.append(line)
    return lines


def test_a_question_is_answered_through_the_devices(tmp_path):
    pcm, rate_hz = sf.read(TIMER, dtype="float32")
    journal, sound = tmp_path / "talk.jsonl", tmp_path / "heard.wav"
    with Room() as room:
        room.furnish()
        options = ("--journal", str(journal), "--record-audio", str(sound))
        with room.tape(tmp_path / "air.raw") as tape, talking(*options) as program:
            assert "pulse:mic, pulse:speaker" in listening(program)[-1]
            assert first_sound(tape.read()[1], VOICE) is None  # it says nothing unasked
            room.say(pcm, rate_hz).wait()
            spoken_s = tape.seconds
            moments = []
            while not moments or moments[-1]["event"] != "done":
                moments.append(json.loads(program.stdout.readline()))
            assert network_sockets(program.pid) == []
            time.sleep(0.3)
            _, reply = tape.read(spoken_s - 0.5)
            program.send_signal(signal.SIGINT)
            assert program.wait(20) == 130
    call = next(moment for moment in moments if moment["event"] == "tool_call")
    assert (call["name"], call["arguments"]) == ("set_timer", {"minutes": 59})
    assert [moment["text"] for moment in moments if moment["event"] == "say"] == ["Timer set for 59 minutes."]
    heard = first_sound(reply, VOICE)
    assert heard is not None
    assert heard / RATE < 3
    # The journal makes the same decisions again, and shows the same.
    again = subprocess.run([PROGRAM, "replay", str(journal), "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["same"] is True
    kept, kept_hz = sf.read(sound)
    assert kept_hz == 16_000
    assert abs(kept).max() > 0.5 * abs(pcm).max()
    assert sound.stat().st_mode & 0o077 == 0


def test_nothing_is_written_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Room() as room:
        room.furnish()
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        with talking("--seconds", "4") as program:
            listening(program)
            assert program.wait(20) == 0
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {"cookie", "timers.json.lock", "preferences.json.lock"}  # the first of the sound server's library


def test_a_service_manager_ends_it_with_its_files_whole(tmp_path):
    sound = tmp_path / "heard.wav"
    with Room() as room:
        room.furnish()
        with talking("--record-audio", str(sound)) as program:
            listening(program)
            time.sleep(1)
            program.terminate()
            assert program.wait(20) == 0
    assert 0.5 < sf.info(sound).duration < 10


def test_a_network_socket_would_be_seen():
    with socket.create_server(("127.0.0.1", 0)):
        assert len(network_sockets(os.getpid())) == 1


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--microphone", "pulse:absent"], "pulse:mic"),  # what was found is listed
        (["--loudspeaker", "pulse:absent"], "pulse:speaker"),
        (["--echo", "magic"], "half-duplex"),
        (["--barge-in", "wake"], 'mode "wake"'),
        (["--mode", "wake", "--wake-word", "hello world"], "hey jarvis"),
        (["--journal", "/no/such/folder/x.jsonl"], "--journal"),
        (["--record-audio", "/no/such/folder/x.wav"], "--record-audio"),
        (["--model", "/no/such/bundle"], "pocket"),
        (["--mode", "button"], "--talk-pin"),
        (["--seconds", "nan"], "more than 0"),
        (["--seconds", "-1"], "more than 0"),
    ],
)
def test_what_cannot_be_is_one_line(options, line):
    with Room() as room:
        room.furnish()
        ended = subprocess.run(
            [PROGRAM, "talk", *options], capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert ended.stderr.startswith("edge-assistant: ")
    assert line in ended.stderr
    assert ended.stdout == ""


def test_the_servers_own_canceller_is_used_or_told_to_be_missing():
    with Room() as room:
        room.furnish()
        ended = subprocess.run([PROGRAM, "talk", "--echo", "system"], capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 2
        assert "pactl load-module module-echo-cancel" in ended.stderr
        room.pactl("load-module", "module-null-sink", "sink_name=ear")
        room.pactl("load-module", "module-echo-cancel", "source_master=ear.monitor", "sink_master=air")
        with talking("--echo", "system", "--seconds", "6") as program:
            line = listening(program)[-1]
    assert "pulse:ear.monitor.echo-cancel, pulse:air.echo-cancel" in line
