"""Tools of somebody else's package are found without touching our code; one that is faulty does no harm."""

import io
import logging
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from edge_assistant.assembly import make_tools
from edge_assistant.prompt import ToolCall
from edge_assistant.tools import Toolbox
from edge_assistant.tools.plugins import plugin_tools
from edge_assistant.tools.schedule import Timers
from edge_assistant.wallclock import SystemClock

GARDEN = Path(__file__).parent / "garden"


def package(folder, name, source, points):
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edge_assistant.tools]\n" + points)


def test_a_package_is_found_and_used(monkeypatch):
    monkeypatch.syspath_prepend(str(GARDEN))
    box = make_tools(Timers(SystemClock()))
    declared = {each.name: each for each in box.declarations}
    assert declared["water"].description == "Water a bed of the garden."
    assert box.use(ToolCall("water", {"bed": "herbs"})).text == "Watering the herbs for 5 minutes."
    assert "error" in box.use(ToolCall("water", {"bed": "lawn"})).values
    assert box.use(ToolCall("soil", {})).values == {"herbs": 5, "roses": 0}
    assert box.use(ToolCall("mow", {})).question == "Shall I mow the lawn?"
    assert box.use(ToolCall("get_time", {})).values["time"]


FAULTY = {
    "raises": ("raise RuntimeError('no garden')\n", "RuntimeError: no garden"),
    "quits": ("import sys\nsys.exit(1)\n", "SystemExit: 1"),
    "wrong": ("def (\n", "SyntaxError"),
    "missing": ("", "AttributeError"),
    "nothing": ("tools = 7\n", "TypeError: int is neither"),
    "mute": ("def tools(x):\n    'Do.'\n", "TypeError: tools: the docstring must say"),
    "thief": ("def get_time():\n    'The wrong time.'\ntools = get_time\n", "the name get_time is taken"),
    "hangs": ("import time\ntime.sleep(3)\n", "TimeoutError: not loaded within"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_package_costs_one_line(fault, tmp_path, monkeypatch, caplog):
    source, line = FAULTY[fault]
    name = f"faulty_{fault}"
    package(tmp_path, name, source, f"{fault} = {name}:tools\n")
    package(tmp_path, f"good_{fault}", "def ping():\n    'Ping.'\n    return 'pong'\n", f"zz = good_{fault}:ping\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = plugin_tools(["get_time"], limit_s=0.5)
    assert [each.name for each in found if each.name == "ping"] == ["ping"]  # the next one is loaded all the same
    assert {each.name for each in found}.isdisjoint({"get_time", "tools"})
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(records) == 1
    assert line in records[0].getMessage()


def test_two_packages_of_one_name(tmp_path, monkeypatch, caplog):
    for name in ("first", "second"):
        package(tmp_path, f"pings_{name}", f"def ping():\n    'Ping.'\n    return '{name}'\n", f"{name} = pings_{name}:ping\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    box = Toolbox(plugin_tools([]))
    assert box.use(ToolCall("ping", {})).text == "first"
    assert "second are left out: ValueError: the name ping is taken" in caplog.text


def test_what_a_package_prints_is_not_our_output(tmp_path, monkeypatch, capsys):
    package(tmp_path, "prints", "print('hello')\ndef chat():\n    'Chat.'\n    return 'hi'\n", "prints = prints:chat\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    out = io.StringIO()
    with redirect_stdout(out):
        assert [each.name for each in plugin_tools([])] == ["chat"]
    assert out.getvalue() == ""
    assert "hello" in capsys.readouterr().err


NO_NETWORK = """
import socket, sys
def refuse(*_, **__): raise AssertionError("a socket was opened")
socket.socket = socket.create_connection = refuse
sys.path.insert(0, sys.argv[1])
from edge_assistant.tools.plugins import plugin_tools
print(sorted(each.name for each in plugin_tools([])))
"""


def test_no_network_is_needed():
    done = subprocess.run([sys.executable, "-c", NO_NETWORK, str(GARDEN)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['mow', 'soil', 'water']"
