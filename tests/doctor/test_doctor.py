"""The verb, on this machine."""

import json
import os
import re
import subprocess
import sys

import pytest

from edge_assistant.cli import main
from edge_assistant.doctor import examine
from edge_assistant.doctor.examine import adopt
from edge_assistant.doctor.finding import Finding, Verdict


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return tmp_path


def doctor(*options, **environment):
    return subprocess.run(
        [sys.executable, "-m", "edge_assistant.cli", "doctor", *options],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_every_finding_says_what_it_looked_at_and_every_bad_one_the_mend(alone):
    told = doctor("--quick", "--json")
    report = json.loads(told.stdout)
    assert {"configuration", "model", "voice", "memory", "disk", "clock", "network", "sockets"} <= {
        each["check"] for each in report["findings"]
    }
    for each in report["findings"]:
        assert each["looked_at"], each
        assert each["found"], each
        assert bool(each["mend"]) == (each["verdict"] in ("warning", "fault")), each
    assert told.returncode == {"well": 0, "absent": 0, "warning": 1, "fault": 2}[report["verdict"]]
    assert "Traceback" not in told.stderr
    sockets = report["findings"][-1]
    assert (sockets["check"], sockets["verdict"]) == ("sockets", "well")  # no dependency has opened one


def test_a_bad_configuration_is_a_fault_and_the_rest_is_looked_at(alone):
    (alone / "edge-assistant").mkdir()
    (alone / "edge-assistant" / "config.toml").write_text('[talk]\nmode = "wkae"\n')
    told = doctor("--quick")
    assert told.returncode == 2
    assert "fault    configuration: " in told.stdout
    assert 'did you mean "wake"' in told.stdout
    assert "sockets: " in told.stdout
    assert "\x1b" not in told.stdout


def test_colours_are_for_terminals_that_want_them(alone):
    script = f"{sys.executable} -m edge_assistant.cli doctor --quick"

    def at_a_terminal(**environment):
        return subprocess.run(
            ["script", "-qec", script, "/dev/null"], capture_output=True, text=True, timeout=120, check=False,
            env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment},
        ).stdout  # fmt: skip

    assert re.search(r"\x1b\[[0-9;]*32mok", at_a_terminal())
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", at_a_terminal(NO_COLOR="1"))


@pytest.mark.parametrize(
    ("verdict", "status"), [(Verdict.WELL, 0), (Verdict.ABSENT, 0), (Verdict.WARNING, 1), (Verdict.FAULT, 2)]
)
def test_exit_status(verdict, status, monkeypatch, capsys):
    monkeypatch.setattr(examine, "examine", lambda quick: iter([Finding("x", verdict, "here", "that", "this")]))
    try:
        left = main(["doctor", "--json"])
    except SystemExit as error:
        left = error.code
    assert left == status
    assert json.loads(capsys.readouterr().out)["findings"][0]["verdict"] == verdict.name.lower()


def test_root_looks_where_the_service_looks(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    adopt('HOME=/var/lib/e XDG_DATA_HOME=/var/lib "EDGE_ASSISTANT_TALK_WAKE_WORD=hey you" PULSE_SERVER=p LD_PRELOAD=x')
    assert os.environ["HOME"] == "/var/lib/e"
    assert os.environ["XDG_DATA_HOME"] == "/var/lib"
    assert os.environ["EDGE_ASSISTANT_TALK_WAKE_WORD"] == "hey you"
    assert os.environ["PULSE_SERVER"] == "p"
    assert os.environ.get("LD_PRELOAD") != "x"
