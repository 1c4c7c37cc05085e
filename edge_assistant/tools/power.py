"""Shutting the machine down, and starting it again: off until configured, and only after a spoken yes.

The command runs when the sentence that announces it has been heard to its end; speaking over that sentence calls it off.
"""

import logging
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from edge_assistant.frames import Due, Event
from edge_assistant.tools.contract import Cancel, Result, Risk, Tool, ToolError, tool
from edge_assistant.turn import Command, Hush

log = logging.getLogger(__name__)

COMMANDS: Mapping[str, Sequence[str]] = {"shut_down": ("systemctl", "poweroff"), "restart": ("systemctl", "reboot")}
COMMAND_S = 30.0

Run = Callable[[Sequence[str]], str]
"""Runs a command; returns what went wrong, "" if nothing did."""


def run_command(command: Sequence[str]) -> str:
    """Run it, and wait for it."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else ""


class Power:
    """What is to happen to the machine. `observe` sees every step of the loop, and `due` is asked at every frame."""

    def __init__(self, commands: Mapping[str, Sequence[str]] | None = None, run: Run = run_command) -> None:
        """`commands`: by the name of the tool."""
        self._commands, self._run = commands or COMMANDS, run
        self._planned: tuple[str, Cancel] | None = None
        self._news: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def plan(self, name: str, cancel: Cancel) -> None:
        """Do it as soon as the reply has been heard. Raises ToolError."""
        if not self._commands.get(name):
            raise ToolError("no command is configured for it")
        self._planned = name, cancel

    def observe(self, _event: Event, commands: list[Command]) -> None:
        """Take a step: a reply that is spoken over calls it off."""
        if self._planned and any(isinstance(command, Hush) for command in commands):
            self._planned = None
            self._news.put(Due("I stay on.", "listening"))

    def due(self, at_rest: bool) -> list[Event]:
        """What there is to tell; and, with everything heard, do what is planned."""
        planned = self._planned
        if planned and at_rest:
            self._planned = None
            name, cancel = planned
            if not cancel.is_set():
                threading.Thread(target=self._carry_out, args=(name,), name=name, daemon=True).start()
        return [self._news.get() for _ in range(self._news.qsize())]

    def _carry_out(self, name: str) -> None:
        log.warning("%s: %s", name, " ".join(self._commands[name]))
        if fault := self._run(self._commands[name]):
            log.error("%s does not work: %s", name, fault)
            words = "shut down" if name == "shut_down" else "restart"
            self._news.put(Due(f"I could not {words}: I am not allowed to, or it does not work.", "error"))


def power_tools(power: Power) -> list[Tool]:
    """`shut_down` and `restart`."""

    def shut_down(cancel: Cancel) -> Result:
        """Shut this machine down."""
        power.plan("shut_down", cancel)
        return Result({"will": "shut down after this sentence"}, "I will shut down now.")

    def restart(cancel: Cancel) -> Result:
        """Restart this machine."""
        power.plan("restart", cancel)
        return Result({"will": "restart after this sentence"}, "I will restart now.")

    return [
        tool(shut_down, risk=Risk.OFF, question="Shall I shut down?"),
        tool(restart, risk=Risk.OFF, question="Shall I restart?"),
    ]
