"""Everything that a decision rests on, and every decision, a JSON line each; and the same decisions made again from them.

    {"journal": 1, "endpoint": {…}, "attention": {…}, "judged": false}
    {"frame": 41, "speech": 0.98, "woke": true}           what was heard in a frame of the microphone
    {"event": "Token", "reply": 2, "text": "Hello."}      what a worker, a timer or the user told
    {"command": "Say", "reply": 2, "text": "Hello."}      what was decided upon

Sound is not in it: `record_audio` keeps that, and only if it is asked to. A text that was spoken is, as are the tools' answers.
"""

import json
import logging
import os
import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant import frames as vocabulary
from edge_assistant.assistant import Assistant
from edge_assistant.attention import AttentionConfig
from edge_assistant.brain import Brain
from edge_assistant.ears import Heard
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.errors import EdgeAssistantError, JournalError, UsageError
from edge_assistant.frames import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ, Event, Failed, Frame, Response, Spoken, WorkEvent
from edge_assistant.prompt import ToolCall
from edge_assistant.runtimes.scripted import ScriptedSession
from edge_assistant.timeline import Moment, Timeline
from edge_assistant.turn import Command
from edge_assistant.worker import Job

log = logging.getLogger(__name__)

FORMAT = 1
_EVENTS = {kind.__name__: kind for kind in vars(vocabulary).values() if isinstance(kind, type) and is_dataclass(kind)}
_PARTS = {"calls": ToolCall, "responses": Response}
"""Fields that hold vocabulary of their own."""
_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


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

    def __init__(self, path: Path, endpoint: EndpointConfig, attention: AttentionConfig, *, judged: bool) -> None:
        """Open the file. Raises UsageError if it cannot be written."""
        self._path = path
        try:
            self._file = path.open("wb", buffering=0)  # what was decided is on disk, whatever comes next
        except OSError as error:
            raise UsageError(f"cannot write {path} ({error.strerror})", "give --journal another name") from error
        self._whole = True
        self._write({"journal": FORMAT, "endpoint": asdict(endpoint), "attention": asdict(attention), "judged": judged})

    def record(self, item: Frame | Event, heard: Heard | None) -> None:
        """See `Assistant.record`."""
        if not isinstance(item, Frame):
            self._write(event_line(item))
            return
        assert heard is not None
        line: dict[str, Any] = {"frame": item.number, "speech": heard.speech}
        line |= {"woke": True} if heard.woke else {}
        self._write(line)

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
            self._file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            self._whole = False
            log.error("the journal %s ends here: %s", self._path, error.strerror)


class AudioRecord:
    """What the microphone hears, in a WAV file, frame by frame at its place; for `--record-audio`, and never otherwise."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises UsageError if it cannot be written."""
        try:
            self._file = sf.SoundFile(path, "w", SAMPLE_RATE_HZ, 1, "PCM_16", format="WAV")
        except (OSError, sf.LibsndfileError) as error:
            raise UsageError(f"cannot write {path}", "give --record-audio another name") from error
        os.chmod(path, 0o600)  # nobody else's business
        self._frames = 0

    def record(self, item: Frame | Event, heard: Heard | None) -> None:
        """See `Assistant.record`."""
        if isinstance(item, Frame):
            for _ in range(item.number - self._frames):
                self._file.write(_SILENCE)
            self._file.write(item.pcm)
            self._frames = item.number + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()


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
        use=lambda call: Response(call.name, {}),
        due=list[Event],
        worker=worker,
        inbox=queue.SimpleQueue(),
        observe=observe,
        endpoint=EndpointConfig(**head["endpoint"]),
        attention=AttentionConfig(**head["attention"]),
        judge=(lambda pcm: 0.5) if head["judged"] else None,
    )


def _read_item(path: Path, number: int, line: Mapping[str, Any], ears: _JournaledEars) -> Frame | Event:
    try:
        if "frame" in line:
            ears.next = Heard(_SILENCE, line["speech"], line.get("woke", False))
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
