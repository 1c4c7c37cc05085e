import threading

import pytest
from parrot import call

from edge_assistant.config import Config
from edge_assistant.config import Power as Commands
from edge_assistant.frames import Due
from edge_assistant.tools import Cancel, ToolError
from edge_assistant.tools.power import Power, run_command
from edge_assistant.turn import Hush, Say

PATIENCE_S = 5
ON = Config(tools={"shut_down": True, "restart": True})


class Machine:
    """Runs nothing, and keeps what it was told to run."""

    def __init__(self, fault=""):
        self.commands, self.fault, self.ran = [], fault, threading.Event()

    def __call__(self, command):
        self.commands.append(tuple(command))
        self.ran.set()
        return self.fault


def test_it_shuts_down_after_a_yes_and_after_saying_so(talk):
    machine = Machine()
    it = talk(call("shut_down"), "Yes.<turn|>", config=ON, run=machine)
    assert it.said == ["Shall I shut down?", "I will shut down now."]
    assert machine.ran.wait(PATIENCE_S)
    assert machine.commands == [("systemctl", "poweroff")]


def test_the_command_is_the_persons(talk):
    machine = Machine()
    config = Config(tools={"restart": True}, power=Commands(restart=("sudo", "-n", "reboot")))
    it = talk(call("restart"), "Yes, please.<turn|>", config=config, run=machine)
    assert it.said == ["Shall I restart?", "I will restart now."]
    assert machine.ran.wait(PATIENCE_S)
    assert machine.commands == [("sudo", "-n", "reboot")]


@pytest.mark.parametrize("answer", ["No.", "Yes, but not now.", "What?", "", "I said shut down."])
def test_whatever_is_no_yes_leaves_it_on(talk, answer):
    machine = Machine()
    it = talk(call("shut_down"), f"{answer}<turn|>", config=ON, run=machine)
    assert it.said[0] == "Shall I shut down?"
    assert "I will shut down now." not in it.said
    assert not machine.ran.wait(0.1)


def test_it_is_off_until_it_is_configured(talk):
    machine = Machine()
    it = talk(call("shut_down"), call("restart"), run=machine)
    assert it.responses == [{"error": "not available here"}] * 2
    assert not machine.ran.wait(0.1)


def test_nothing_runs_before_the_sentence_was_heard():
    machine = Machine()
    power = Power(run=machine)
    power.plan("restart", Cancel())
    power.observe(None, [Say(1, "I will restart now.")])
    assert [power.due(at_rest=False) for _ in range(100)] == [[]] * 100
    assert machine.commands == []
    power.due(at_rest=True)
    assert machine.ran.wait(PATIENCE_S)
    power.due(at_rest=True)
    assert machine.commands == [("systemctl", "reboot")]


def test_speaking_over_it_calls_it_off():
    machine = Machine()
    power = Power(run=machine)
    power.plan("shut_down", Cancel())
    power.observe(None, [Hush(1)])
    assert power.due(at_rest=True) == [Due("I stay on.", "listening")]
    assert power.due(at_rest=True) == []
    assert not machine.ran.wait(0.1)


def test_a_call_that_nobody_waited_for_does_nothing():
    machine = Machine()
    power = Power(run=machine)
    cancel = Cancel()
    power.plan("shut_down", cancel)
    cancel.set()
    assert power.due(at_rest=True) == []
    assert not machine.ran.wait(0.1)


def test_a_command_that_does_not_work_is_told():
    machine = Machine("access denied")
    power = Power(run=machine)
    power.plan("shut_down", Cancel())
    news = power.due(at_rest=True)
    assert machine.ran.wait(PATIENCE_S)
    for _ in range(100):
        news += power.due(at_rest=True)
        if news:
            break
        threading.Event().wait(0.01)
    assert news == [Due("I could not shut down: I am not allowed to, or it does not work.", "error")]


def test_no_command():
    with pytest.raises(ToolError):
        Power({"shut_down": ()}).plan("shut_down", Cancel())


def test_commands():
    assert run_command(("true",)) == ""
    assert run_command(("false",)) == "exit status 1"
    assert run_command(("sh", "-c", "echo no >&2; exit 3")) == "no"
    assert "No such file" in run_command(("/no/such/command",))
