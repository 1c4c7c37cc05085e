"""Everything that a decision rests on, and every decision, a JSON line each. `replay` makes the same decisions again from them.

    {"journal": 2, "endpoint": {…}, "attention": {…}, "hearing": {…}, "judged": false}
    {"frame": 41, "speech": 0.98, "power": 0.004}         what was heard in a frame of the microphone; woke, stopped, clipped
    {"event": "Token", "reply": 2, "text": "Hello."}      what a worker, a timer or the user told
    {"command": "Say", "reply": 2, "text": "Hello."}      what was decided upon

Sound is not in it: `AudioRecord` keeps that, and only if it is asked to. A text that was spoken is, as are the tools' answers.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from edge_assistant import frames as vocabulary
from edge_assistant.attention import AttentionConfig
from edge_assistant.ears import Heard
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.errors import EdgeAssistantError, UsageError
from edge_assistant.frames import Event, Failed, Frame, Response
from edge_assistant.hearing import HearingConfig
from edge_assistant.prompt import ToolCall
from edge_assistant.turn import Command

log = logging.getLogger(__name__)

FORMAT = 2
_EVENTS = {kind.__name__: kind for kind in vars(vocabulary).values() if isinstance(kind, type) and is_dataclass(kind)}
_PARTS = {"calls": ToolCall, "responses": Response}
"""Fields that hold vocabulary of their own."""
FOUND = ("woke", "stopped", "power", "clipped")
"""What else of a frame decisions rest on; left out where it is nothing."""


_encode = json.JSONEncoder(ensure_ascii=False).encode
"""Made once: `json.dumps` would make one for every frame."""


def event_line(event: Event) -> dict[str, Any]:
    """An event, as the journal has it."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    for name, value in values.items():
        if name in _PARTS:
            values[name] = [asdict(part) for part in value]
    if isinstance(event, Failed):
        values |= {"error": str(event.error), "mendable": isinstance(event.error, EdgeAssistantError)}
    return {"event": type(event).__name__, **values}


def read_event(line: Mapping[str, Any]) -> Event:
    """The other way round. Raises KeyError or TypeError for what is no event."""
    values = {name: value for name, value in line.items() if name not in ("event", "mendable")}
    for name, part in _PARTS.items():
        if name in values:
            values[name] = tuple(part(**each) for each in values[name])
    if "error" in values:
        values["error"] = EdgeAssistantError(values["error"]) if line["mendable"] else RuntimeError(values["error"])
    return cast(Event, _EVENTS[line["event"]](**values))


def command_line(command: Command) -> dict[str, Any]:
    """A command, as the journal has it."""
    return {"command": type(command).__name__, **json.loads(json.dumps(asdict(command)))}


class Journal:
    """Writes; owned by the deciding thread. A disk that is full ends the journal, not the talk."""

    def __init__(
        self,
        path: Path,
        endpoint: EndpointConfig,
        attention: AttentionConfig,
        *,
        judged: bool,
        hearing: HearingConfig | None = None,
    ) -> None:
        """Open the file. Raises UsageError if it cannot be written."""
        self._path = path
        try:
            self._file = path.open("wb", buffering=0)  # what was decided is on disk, whatever comes next
        except OSError as error:
            raise UsageError(f"cannot write {path} ({error.strerror})", "give --journal another name") from error
        self._whole = True
        configs = {"endpoint": asdict(endpoint), "attention": asdict(attention), "hearing": hearing and asdict(hearing)}
        self._write({"journal": FORMAT, **configs, "judged": judged})

    def record(self, item: Frame | Event, heard: Heard | None) -> None:
        """See `Assistant.record`."""
        if not isinstance(item, Frame):
            self._write(event_line(item))
            return
        assert heard is not None
        found = {name: value for name in FOUND if (value := getattr(heard, name))}
        self._write({"frame": item.number, "speech": heard.speech, **found})

    def observe(self, event: Event, commands: list[Command]) -> None:
        """See `Assistant.observe`."""
        for command in commands:
            self._write(command_line(command))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if not self._whole:
            return
        try:
            self._file.write((_encode(line) + "\n").encode())
        except OSError as error:
            self._whole = False
            log.error("the journal %s ends here: %s", self._path, error.strerror)
