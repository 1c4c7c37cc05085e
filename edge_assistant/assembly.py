"""What `ask` and `talk` put together alike: tools, and a brain that knows of them."""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from edge_assistant.assistant import Observe
from edge_assistant.brain import Brain
from edge_assistant.errors import StorageError
from edge_assistant.frames import Event, SpeechEnded, Stopped
from edge_assistant.prompt import INSTRUCTIONS, format_system
from edge_assistant.runtime import Session
from edge_assistant.state import Keeper, StateFile
from edge_assistant.tools import Tool, Toolbox
from edge_assistant.tools.abilities import ability_tools
from edge_assistant.tools.clock import clock_tools
from edge_assistant.tools.plugins import plugin_tools
from edge_assistant.tools.schedule import Timers
from edge_assistant.tools.timer import timer_tools
from edge_assistant.turn import Command, Ring
from edge_assistant.wallclock import Clock

log = logging.getLogger(__name__)


def make_tools(
    timers: Timers,
    local_time: Callable[[], datetime] = datetime.now,
    switched: Mapping[str, bool] | None = None,
    more: Iterable[Tool] = (),
) -> Toolbox:
    """Everything the assistant can do, those of its equipment (`more`) and plug-ins included; `switched` turns some on or off."""
    clock = clock_tools(local_time, lambda: timers.clock_trusted)
    own = [*clock, *timer_tools(timers), *more, *ability_tools(lambda: toolbox.declarations)]
    toolbox = Toolbox([*own, *plugin_tools([each.name for each in own])], switched)
    return toolbox


def answer_rings(timers: Timers) -> Observe:
    """What is to see every step of the loop, so that a timer stops ringing when somebody has heard it."""

    def observe(event: Event, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Ring):
                timers.sounded(command.text)
        if isinstance(event, Stopped | SpeechEnded):
            timers.answered(unheard=isinstance(event, Stopped))

    return observe


@contextmanager
def open_timers(clock: Clock, folder: Path | None) -> Generator[Timers]:
    """Timers that go on where they were, if there is a folder that keeps them and nobody else rings them."""
    file = StateFile(folder / "timers.json") if folder else None
    ours = False
    try:
        ours = file is not None and file.claim()
    except StorageError as error:
        log.error("%s", error)
        ours = True  # what can be read can be rung
    if file is None or not ours:
        if file:
            log.warning("another edge-assistant rings the timers: those of this conversation end with it")
        yield Timers(clock)
        return
    with Keeper(file) as keeper:
        yield Timers(clock, keeper, file.load())
    file.release()


def make_brain(session: Session, tools: Toolbox, prefixes: Path | None) -> Brain:
    """A brain that may use these tools; `prefixes` is the folder that keeps what its cache holds after the system turn."""
    system = format_system(INSTRUCTIONS, tools.declarations)
    prefix = prefixes and prefixes / f"{sha256(system.encode()).hexdigest()[:16]}.npz"
    return Brain(session, system, prefix=prefix, transcribed=tools.transcribed)
