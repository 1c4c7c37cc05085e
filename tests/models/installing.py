"""The command, and what it leaves on the disk."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge_assistant.cli import main


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} if folder.exists() else set()


def start(*arguments: object, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """The command in a process of its own, which says when everything is loaded and it begins."""
    program = (
        "import sys, edge_assistant.install, edge_assistant.hub; from edge_assistant.cli import main;"
        "print('begin', flush=True); sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Exit status 2 and one clear line; the space that is told of beforehand is not counted."""
    capsys.readouterr()
    assert main(["models", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = [line for line in told.err.splitlines() if not line.startswith("edge-assistant: to ")]
    assert len(lines) == 1, told.err
    assert lines[0].startswith("edge-assistant: ")
    assert "; " in lines[0]  # the mend
    return lines[0]
