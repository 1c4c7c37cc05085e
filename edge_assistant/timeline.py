"""What happened when, in a conversation: for people, and for programs. Pure but for the printing at the end."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from edge_assistant.frames import (
    FRAME_MS,
    Event,
    Response,
    Returned,
    Sounding,
    SpeechConfirmed,
    SpeechEnded,
    SpeechResumed,
    SpeechStarted,
    Spoken,
    Stopped,
    Token,
)
from edge_assistant.turn import Command, Forget, Hear, Hold, Hush, React, Remember, Resume, Ring, Say, Use


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened."""

    event: str
    """speech_started, speech_ended, first_token, tool_call, tool_response, say, first_sound, done, ring;
    held and resumed (a cough), stopped, dropped (what was heard was no turn), understood (a command, without the model)."""
    turn: int
    """Counts what was said to the assistant, from 1."""
    at_ms: int
    """On the audio clock: 0 is the first sample of the first recording."""
    after_speech_ms: int | None
    """Since the last sample of speech; None before there is one."""
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> str:
        """One line."""
        known = {"event": self.event, "turn": self.turn, "at_ms": self.at_ms, "after_speech_ms": self.after_speech_ms}
        return json.dumps(known | dict(self.more))


class Timeline:
    """Turns the loop's steps into moments.

    `speech_started` and `speech_ended` stand at the sound itself, by the detector; everything else at the moment when the
    assistant knew or did it. A guess that was given up leaves no trace; one that was right shows its first token where it
    came, which is before the wait for the end of the turn was over.
    """

    def __init__(self, show: Callable[[Moment], None], now_ms: Callable[[], int]) -> None:
        self._show, self._now_ms = show, now_ms
        self._turn = 0
        self._speech_end_ms: int | None = None
        self._first_token_ms: int | None = None
        self._ended = self._sounded = True
        self._apart = False
        """The reply is to a command, which the model does not see: no Remember will tell that it is over."""

    def observe(self, event: Event, commands: list[Command]) -> None:
        """Take one step of the loop."""
        now = self._now_ms()
        if isinstance(event, SpeechStarted | SpeechConfirmed) and any(isinstance(command, Hear) for command in commands):
            # A reply that this cuts off is over first.
            self._commands(commands, now)
            self._turn += 1
            self._speech_end_ms, self._first_token_ms, self._ended, self._sounded = None, None, False, False
            self._tell("speech_started", event.frame * FRAME_MS)
            return
        for moment in self._event(event, now):
            self._show(moment)
        if isinstance(event, SpeechEnded) and any(isinstance(command, Forget) for command in commands):
            self._apart = True
        self._commands(commands, now)

    def _event(self, event: Event, now: int) -> Iterator[Moment]:
        match event:
            case SpeechResumed():
                self._first_token_ms = None
            case Token() if self._first_token_ms is None:
                self._first_token_ms = now
                if self._ended:
                    yield self._moment("first_token", now)
            case SpeechEnded(frame):
                self._ended, self._speech_end_ms = True, frame * FRAME_MS
                yield self._moment("speech_ended", self._speech_end_ms, waited_ms=now - self._speech_end_ms)
                if self._first_token_ms is not None:
                    yield self._moment("first_token", self._first_token_ms)
            case Returned(_, responses):
                for response in responses:
                    yield self._moment("tool_response", now, name=response.name, response=_told(response))
            case Stopped():
                yield self._moment("stopped", now)
            case Sounding() if not self._sounded:
                self._sounded = True
                yield self._moment("first_sound", now)
            case Spoken() if self._apart:
                self._apart = False
                yield self._moment("done", now)
            case _:
                pass

    def _commands(self, commands: list[Command], now: int) -> None:
        for command in commands:
            match command:
                case Use(_, calls):
                    for call in calls:
                        self._tell("tool_call", now, name=call.name, arguments=dict(call.arguments))
                case Say(_, text):
                    self._tell("say", now, text=text)
                case Ring(_, text):
                    self._tell("ring", now, text=text)
                case Hold():
                    self._tell("held", now)
                case Resume():
                    self._tell("resumed", now)
                case Forget() if not self._apart:
                    self._tell("dropped", now)
                case Hush() if self._apart:
                    self._apart = False
                    self._tell("done", now, heard="")
                case React(calls) if calls:
                    self._tell("understood", now, commands=[call.name for call in calls])
                case Remember(text, cut):
                    self._tell("done", now, **({"heard": text} if cut else {}))
                case _:
                    pass

    def _tell(self, event: str, at_ms: int, **more: Any) -> None:
        self._show(self._moment(event, at_ms, **more))

    def _moment(self, event: str, at_ms: int, **more: Any) -> Moment:
        after = None if self._speech_end_ms is None else at_ms - self._speech_end_ms
        return Moment(event, self._turn, at_ms, after, more)


def json_lines(out: TextIO) -> Callable[[Moment], None]:
    """One object a line."""

    def show(moment: Moment) -> None:
        print(moment.to_json(), file=out, flush=True)

    return show


def answers(out: TextIO) -> Callable[[Moment], None]:
    """Only what is said."""

    def show(moment: Moment) -> None:
        if moment.event in ("say", "ring"):
            print(moment.more["text"], file=out, flush=True)

    return show


def table(out: TextIO) -> Callable[[Moment], None]:
    """For people: where on the clock, how long after the last sample of speech, and what."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    head = Text(f"{'at':>9}  {'after speech':>12}", style="dim")

    def show(moment: Moment) -> None:
        if moment.event == "speech_started" and moment.turn == 1:
            console.print(head)
        after = "" if moment.after_speech_ms is None else f"{moment.after_speech_ms:+,} ms"
        console.print(Text.assemble((f"{moment.at_ms / 1000:>7.2f} s  {after:>12}  ", "dim"), _words(moment)))

    return show


def _words(moment: Moment) -> tuple[str, str]:
    """What happened, and in which style to print it."""
    more = moment.more
    match moment.event:
        case "speech_started":
            return f"turn {moment.turn}: speech", "bold"
        case "speech_ended":
            return f"speech ended; sure of it {more['waited_ms']} ms later", ""
        case "first_token":
            return "first token", ""
        case "tool_call":
            return f"{more['name']}({_pairs(more['arguments'])})", "yellow"
        case "tool_response":
            return f"{more['name']} -> {_pairs(more['response'])}", "yellow"
        case "say":
            return f"“{more['text']}”", "bold green"
        case "ring":
            return f"ring: “{more['text']}”", "bold magenta"
        case "first_sound":
            return "first sound", ""
        case "understood":
            return f"understood without the model: {', '.join(more['commands'])}", "dim"
        case "held":
            return "held its breath: somebody speaks", "dim"
        case "resumed":
            return "went on: it was only a cough", "dim"
        case "dropped":
            return "too short to be meant, stopped, or a command: no turn of the model's", "dim"
        case "done" if "heard" in more:
            return f"cut short; heard: “{more['heard']}”", "dim"
        case _:
            return moment.event, "dim"


def _told(response: Response) -> dict[str, Any]:
    return {"question": response.question} if response.question else dict(response.values)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
