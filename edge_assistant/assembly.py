"""What `ask` and `talk` put together alike: tools, and a brain that knows of them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from edge_assistant.brain import Brain
from edge_assistant.prompt import INSTRUCTIONS, format_system
from edge_assistant.runtime import Session
from edge_assistant.tools import Toolbox
from edge_assistant.tools.clock import clock_tools
from edge_assistant.tools.plugins import plugin_tools
from edge_assistant.tools.timer import Timers, timer_tools


def make_tools(
    timers: Timers, local_time: Callable[[], datetime] = datetime.now, switched: Mapping[str, bool] | None = None
) -> Toolbox:
    """Everything the assistant can do, plug-ins included; `switched` turns tools on or off by name."""
    own = [*clock_tools(local_time), *timer_tools(timers)]
    return Toolbox([*own, *plugin_tools([each.name for each in own])], switched)


def make_brain(session: Session, tools: Toolbox, prefixes: Path | None) -> Brain:
    """A brain that may use these tools; `prefixes` is the folder that keeps what its cache holds after the system turn."""
    system = format_system(INSTRUCTIONS, tools.declarations)
    return Brain(session, system, prefix=prefixes and prefixes / f"{sha256(system.encode()).hexdigest()[:16]}.npz")
