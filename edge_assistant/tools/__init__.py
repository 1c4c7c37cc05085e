"""What the assistant can do. A tool is a declaration for the model and a function; one file for each kind of thing."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_assistant.frames import Response
from edge_assistant.prompt import Declaration, ToolCall, Value

log = logging.getLogger(__name__)

Arguments = Mapping[str, Value]
Result = Mapping[str, Value]


class ToolError(Exception):
    """A tool says no; its text, a few plain words, is told to the model."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One thing that the model can call."""

    declaration: Declaration
    run: Callable[[Arguments], Result]
    """Raises ToolError if it cannot be done."""


class Toolbox:
    """The tools that are installed."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.declaration.name: tool for tool in tools}

    @property
    def declarations(self) -> list[Declaration]:
        """What the model is told of them."""
        return [tool.declaration for tool in self._tools.values()]

    def use(self, call: ToolCall) -> Response:
        """Run the tool that is called; a tool that is missing, or says no, answers with `error`."""
        tool = self._tools.get(call.name)
        if tool is None:
            return Response(call.name, {"error": "not available here"})
        unknown = sorted(call.arguments.keys() - tool.declaration.parameters.keys())
        if unknown:
            return Response(call.name, {"error": f"no argument {unknown[0]}"})
        try:
            return Response(call.name, tool.run(call.arguments))
        except ToolError as error:
            log.info("%s says no: %s", call.name, error)
            return Response(call.name, {"error": str(error)})
