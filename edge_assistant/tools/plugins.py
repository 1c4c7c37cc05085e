"""Tools that other packages bring, as entry points of the group `edge_assistant.tools`.

    [project.entry-points."edge_assistant.tools"]
    garden = "garden_tools:water"

What it names is a typed function, a `Tool`, or a list of them. One that cannot be loaded costs a line in the log, and no more.
"""

import contextlib
import logging
import queue
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from edge_assistant.tools.contract import Tool, tool

log = logging.getLogger(__name__)

GROUP = "edge_assistant.tools"
LOAD_S = 5.0
"""Seconds that a plug-in may take to load."""


def plugin_tools(taken: Collection[str], found: Iterable[EntryPoint] | None = None, limit_s: float = LOAD_S) -> list[Tool]:
    """The tools of every plug-in that can be loaded and takes none of the names that are `taken`."""
    tools: dict[str, Tool] = {}
    points = entry_points(group=GROUP) if found is None else found
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for what the assistant tells
        for point in sorted(points, key=lambda each: each.name):
            try:
                brought = _in_time(point, limit_s)
                if twice := [each.name for each in brought if each.name in taken or each.name in tools]:
                    raise ValueError(f"the name {twice[0]} is taken")
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                log.warning("the tools of %s are left out: %s: %s", point.name, type(error).__name__, error)
            else:
                tools |= {each.name: each for each in brought}
    return list(tools.values())


def _in_time(point: EntryPoint, limit_s: float) -> list[Tool]:
    """Load it on a thread of its own: one that hangs is left behind."""
    answers: queue.SimpleQueue[list[Tool] | BaseException] = queue.SimpleQueue()

    def load() -> None:
        try:
            answers.put(_tools_of(point.load()))
        except BaseException as error:  # noqa: BLE001 - handed on
            answers.put(error)

    threading.Thread(target=load, name=f"plug-in {point.name}", daemon=True).start()
    try:
        answer = answers.get(timeout=limit_s)
    except queue.Empty:
        raise TimeoutError(f"not loaded within {limit_s:g} s") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _tools_of(brought: Any) -> list[Tool]:
    match brought:
        case Tool():
            return [brought]
        case list() | tuple():
            return [each for some in cast(Iterable[Any], brought) for each in _tools_of(some)]
        case _ if callable(brought):
            return [tool(cast(Callable[..., Any], brought))]
        case _:
            raise TypeError(f"{type(brought).__name__} is neither a function nor a tool")
