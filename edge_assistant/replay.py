"""The decisions of a journal made again, and compared."""

import json
import logging
import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edge_assistant.assistant import Assistant
from edge_assistant.attention import AttentionConfig
from edge_assistant.brain import Brain
from edge_assistant.ears import Heard
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.errors import EdgeAssistantError, JournalError
from edge_assistant.frames import FRAME_MS, FRAME_SAMPLES, Event, Failed, Frame, Response, Spoken, WorkEvent
from edge_assistant.hearing import HearingConfig
from edge_assistant.journal import FORMAT, FOUND, command_line, read_event
from edge_assistant.runtimes.scripted import ScriptedSession
from edge_assistant.timeline import Moment, Timeline
from edge_assistant.turn import Command
from edge_assistant.worker import Job

log = logging.getLogger(__name__)

_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found."""

    frames: int
    events: int
    commands: int


def replay(path: Path, show: Callable[[Moment], None] = lambda moment: None) -> Replayed:
    """Decide everything again, and compare; `show` what happened, on the clock of the frames.

    Raises:
        JournalError: the file is no journal, or a decision is another one.
    """
    lines = _lines(path)
    decided: deque[tuple[Event, dict[str, Any]]] = deque()

    def observed(event: Event, commands: list[Command]) -> None:
        decided.extend((event, command_line(command)) for command in commands)
        timeline.observe(event, commands)

    timeline = Timeline(show, lambda: assistant.taken * FRAME_MS)

    try:
        _, head = next(lines)
        if head["journal"] != FORMAT:
            raise JournalError(f"{path} is of another version ({head['journal']})")
        ears = _JournaledEars()
        assistant = _assemble(head, ears, observed)
    except (StopIteration, KeyError, TypeError) as error:
        raise JournalError(f"{path} is no journal", "make one with edge-assistant talk --journal FILE") from error
    counts = {"frame": 0, "event": 0, "command": 0}
    with assistant:
        for number, line in lines:
            kind = next((kind for kind in counts if kind in line), "")
            if kind == "command":
                event, command = decided.popleft() if decided else (None, None)
                if command != line:
                    raise JournalError(f"{path}, line {number}: it says {_short(line)}, now decided: {_short(command)}")
            elif decided:
                event, command = decided[0]
                raise JournalError(f"{path}, line {number}: {_short(command)} is decided now, on {type(event).__name__}")
            else:
                item = _read_item(path, number, line, ears)
                try:
                    assistant.take(item)
                except (EdgeAssistantError, RuntimeError):
                    if not isinstance(item, Failed):
                        raise
                    log.info("the talk ended here: %s", item.error)
            counts[kind] += 1
    if decided:
        raise JournalError(f"{path} ends before {_short(decided[0][1])}, which is decided now")
    return Replayed(*counts.values())


class _JournaledEars:
    """Hear what the journal says was heard."""

    def __init__(self) -> None:
        self.next = Heard(_SILENCE, 0.0)

    def __call__(self, frame: Frame) -> Heard:
        return self.next


class _Idle:
    """A worker that does nothing: what it told is in the journal. And a mouth that is mute."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def do(self, reply: int, job: Job) -> None: ...
    def drop(self, reply: int) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def hold(self) -> None: ...
    def resume(self) -> None: ...
    def flush(self, reply: int) -> None: ...
    def mark(self, event: Spoken) -> None: ...
    def signal(self, name: str) -> None: ...
    def prepare(self, text: str) -> None: ...
    def say(self, reply: int, text: str) -> Iterator[None]:
        return iter(())

    def sound(self, reply: int, name: str) -> Iterator[None]:
        return iter(())


def _assemble(head: Mapping[str, Any], ears: _JournaledEars, observe: Callable[[Event, list[Command]], None]) -> Assistant:
    def worker(_name: str, _post: Callable[[WorkEvent], None]) -> _Idle:
        return _Idle()

    return Assistant(
        ears=ears,
        brain=Brain(ScriptedSession([])),
        mouth=_Idle(),
        use=lambda call, confirmed: Response(call.name, {}),
        due=list[Event],
        worker=worker,
        inbox=queue.SimpleQueue(),
        observe=observe,
        endpoint=EndpointConfig(**head["endpoint"]),
        attention=AttentionConfig(**head["attention"]),
        hearing=HearingConfig(**head["hearing"]) if head["hearing"] else None,
        judge=(lambda pcm: 0.5) if head["judged"] else None,
    )


def _read_item(path: Path, number: int, line: Mapping[str, Any], ears: _JournaledEars) -> Frame | Event:
    try:
        if "frame" in line:
            ears.next = Heard(_SILENCE, line["speech"], **{name: line[name] for name in FOUND if name in line})
            return Frame(line["frame"], _SILENCE)
        return read_event(line)
    except (KeyError, TypeError) as error:
        raise JournalError(f"{path}, line {number}: neither a frame, nor an event, nor a command") from error


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line with its number, from 1. A last line that was cut off in the middle is left out."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = json.loads(text)
                except ValueError as error:
                    if not text.endswith("\n") and number > 1:
                        log.warning("%s breaks off in line %d", path, number)
                        return
                    raise JournalError(f"{path}, line {number}: no JSON") from error
                if not isinstance(line, dict):
                    raise JournalError(f"{path}, line {number}: no object")
                yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise JournalError(f"cannot read {path} ({getattr(error, 'strerror', None) or 'not text'})") from error


def _short(line: Mapping[str, Any] | None) -> str:
    return "nothing" if line is None else json.dumps(line, ensure_ascii=False)[:120]
