"""The tools that are installed, and the one door to them: nothing runs that was not declared, checked and allowed.

Each call runs on a thread of its own, because a tool of somebody else's may hang: after its limit it is answered for, its thread
is left behind (it ends with the program), and the tool is busy until it returns. `use` is called on the hands worker's thread,
`cancel` on the deciding one.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping

from edge_assistant.frames import UNAVAILABLE, Response
from edge_assistant.prompt import Declaration, ToolCall, Value, format_response
from edge_assistant.tools.contract import Cancel, Risk, Tool, ToolError, WrongCall, plain

log = logging.getLogger(__name__)

LONGEST_RESPONSE = 2000
"""Characters of what a tool gives back: more would push the conversation out of the model's memory."""
FAILED = "Sorry, that did not work."
CANNOT = "I can't do that here."


class Toolbox:
    """The tools that are installed."""

    def __init__(self, tools: Iterable[Tool], switched: Mapping[str, bool] | None = None) -> None:
        """`switched` turns tools on or off by name; the others are as they come.

        Raises:
            ValueError: two tools of one name.
        """
        self._tools: dict[str, Tool] = {}
        wanted = switched or {}
        names = set[str]()
        for each in tools:
            if each.name in names:
                raise ValueError(f"two tools are called {each.name}")
            names.add(each.name)
            if wanted.get(each.name, each.risk is not Risk.OFF):
                self._tools[each.name] = each
        for unknown in sorted(wanted.keys() - names):
            log.warning("the configuration names a tool %s, which is not here; there are %s", unknown, ", ".join(sorted(names)))
        self._run: _Run | None = None
        self._left: dict[str, _Run] = {}
        """Runs that were not waited for."""

    @property
    def declarations(self) -> list[Declaration]:
        """What the model is told of them."""
        return [each.declaration for each in self._tools.values()]

    @property
    def transcribed(self) -> dict[str, str]:
        """By name, those that want the user's words, and the argument that takes them."""
        return {name: each.transcript for name, each in self._tools.items() if each.transcript}

    def use(self, call: ToolCall, confirmed: bool = False) -> Response:
        """Run the tool that is called.

        A tool that is missing, or says no, answers with `error`; a call that is not as declared has a `hint` beside it. One that
        asks first, and is not confirmed, gives its `question` and has done nothing.
        """
        each = self._tools.get(call.name)
        if each is None:
            return Response(call.name, {"error": UNAVAILABLE}, CANNOT, hint=f"there are only: {', '.join(self._tools)}")
        try:
            arguments = each.check(call.arguments)
        except WrongCall as error:
            log.info("%s is not called as declared: %s", call.name, error)
            return _failure(call.name, str(error), hint=each.usage)
        if each.question and not confirmed:
            return Response(call.name, {"error": "asks for a yes first: call it alone"}, FAILED, question=each.question)
        left = self._left.get(call.name)
        if left and left.thread.is_alive():
            return _failure(call.name, "still busy")
        return self._wait(each, arguments)

    def cancel(self) -> None:
        """Nobody waits any more for what runs now."""
        if run := self._run:
            run.give_up("cancelled")

    def _wait(self, each: Tool, arguments: Mapping[str, Value]) -> Response:
        began = time.monotonic()
        run = self._run = _Run(each, arguments)
        response = run.answer(each.limit_s)
        self._run = None
        if run.thread.is_alive():
            self._left[each.name] = run
        log.info("%s(%s) -> %s in %.0f ms", each.name, arguments, response.values, (time.monotonic() - began) * 1000)
        return response


class _Run:
    """One call at work."""

    def __init__(self, each: Tool, arguments: Mapping[str, Value]) -> None:
        self._name = each.name
        self._cancel = Cancel()
        self._answers: queue.SimpleQueue[Response] = queue.SimpleQueue()
        given = {**arguments, each.cancel: self._cancel} if each.cancel else dict(arguments)
        self.thread = threading.Thread(target=self._work, args=(each, given), name=f"tool {each.name}", daemon=True)

    def answer(self, limit_s: float) -> Response:
        """What it gives, or that it does not. It begins here: by now whoever wants to give it up can."""
        if not self._cancel.is_set():
            self.thread.start()
        try:
            return self._answers.get(timeout=limit_s)
        except queue.Empty:
            log.warning("the tool %s does not come back within %g s", self._name, limit_s)
            self.give_up("took too long")
            return self._answers.get()

    def give_up(self, error: str) -> None:
        """Answer for it."""
        self._cancel.set()
        self._answers.put(_failure(self._name, error))

    def _work(self, each: Tool, given: Mapping[str, object]) -> None:
        try:
            result = plain(each.function(**given))
            response = Response(self._name, result.values, result.text, caution=result.caution)
            if len(format_response(self._name, result.values)) + len(result.text) > LONGEST_RESPONSE:
                response = _failure(self._name, "too much to tell")
        except ToolError as error:
            response = _failure(self._name, str(error))
        except BaseException as error:  # noqa: BLE001 - the border of somebody else's code: a SystemExit is answered for, too
            log.error("the tool %s broke: %s: %s", self._name, type(error).__name__, error)
            response = _failure(self._name, "it broke")
        self._answers.put(response)


def _failure(name: str, error: str, hint: str = "") -> Response:
    return Response(name, {"error": error}, FAILED, hint=hint)
