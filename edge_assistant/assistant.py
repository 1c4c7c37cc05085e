"""The loop: one thread takes one item at a time and owns every decision.

Everything arrives by one inbox: microphone frames, tokens, sentences spoken, faults. Their order there is the order in which
they happened, so a journal of the inbox replays the run.
"""

import logging
import queue
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from edge_assistant.brain import Brain
from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.errors import EdgeAssistantError
from edge_assistant.frames import Event, Failed, Frame, Response, Returned, Spoken, Stopped, WorkEvent, frames
from edge_assistant.prompt import ToolCall
from edge_assistant.runtime import Pcm
from edge_assistant.turn import (
    Command,
    Forget,
    GoOn,
    Hear,
    Hold,
    Hush,
    Remember,
    Reply,
    Resume,
    Rewind,
    Ring,
    Say,
    State,
    Turn,
    Use,
)
from edge_assistant.vad import Vad
from edge_assistant.worker import KEEP, Job, Worker

log = logging.getLogger(__name__)

TIDY_FRAMES = frames(1500)
"""Rest after which the model's memory is put in order."""

Observe = Callable[[Event, list[Command]], None]


class Mouth(Protocol):
    """What the loop wants of voice and loudspeaker together."""

    def open(self) -> None: ...
    def say(self, reply: int, text: str) -> Iterator[None]:
        """Speak into the loudspeaker's queue; yields while that is full."""
        ...

    def ring(self, reply: int) -> Iterator[None]: ...
    def mark(self, event: Spoken) -> None: ...
    def flush(self, reply: int) -> None: ...
    def hold(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class Assistant:
    """Hears, thinks, acts and speaks."""

    def __init__(
        self,
        *,
        vad: Vad,
        brain: Brain,
        mouth: Mouth,
        use: Callable[[ToolCall], Response],
        due: Callable[[], list[Event]],
        worker: Callable[[str, Callable[[WorkEvent], None]], Worker],
        inbox: "queue.SimpleQueue[Frame | Event | None]",
        observe: Observe = lambda event, commands: None,
        endpoint: EndpointConfig | None = None,
    ) -> None:
        """`use` runs a tool; `due` is asked every frame what has come due; `observe` sees every step, on this thread."""
        config = endpoint or EndpointConfig()
        self.inbox = inbox
        self.turn = Turn()
        self.taken = 0
        """Frames taken so far."""
        self._vad, self._brain, self._mouth, self._use, self._due, self._observe = vad, brain, mouth, use, due, observe
        self._endpoint = Endpointer(config)
        self._brains, self._mouths, self._hands = (worker(name, inbox.put) for name in ("brain", "mouth", "hands"))
        self._hearing = False
        self._rested = 0
        """Frames since anything happened."""
        self._preroll: deque[Pcm] = deque()
        self._preroll_frames = frames(config.preroll_ms)
        self._since_guess: list[Pcm] = []

    @property
    def workers(self) -> list[Worker]:
        """Brain, mouth and hands."""
        return [self._brains, self._mouths, self._hands]

    @property
    def at_rest(self) -> bool:
        """Nobody speaks, and everything was heard to its end."""
        return self.turn.state is State.IDLE

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for worker in self.workers:
                stack.enter_context(worker)
            self._close = stack.pop_all()
        self._brains.do(KEEP, once(self._brain.open))
        self._mouths.do(KEEP, once(self._mouth.open))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the workers."""
        self._close.close()
        self._mouth.close()

    def run(self) -> None:
        """Take what comes until the microphone's None."""
        for item in iter(self.inbox.get, None):
            self.take(item)

    def take(self, item: Frame | Event) -> None:
        """Take one item, and do what follows from it.

        Raises:
            EdgeAssistantError: a worker cannot do its work, for a reason that can be mended.
            RuntimeError: a job that must not be lost broke: the cache is in doubt.
        """
        if isinstance(item, Frame):
            self._frame(item)
        elif isinstance(item, Failed):
            self._fault(item)
        else:
            self._step(item)

    def _frame(self, frame: Frame) -> None:
        self.taken = frame.number + 1
        state = self.turn.state
        if self._hearing:
            self._feed(frame.pcm)
        else:
            self._preroll.append(frame.pcm)
            if state is not State.INTERRUPTED:  # then all of it may be wanted
                while len(self._preroll) > self._preroll_frames:
                    self._preroll.popleft()
        if state is State.GUESSING:
            self._since_guess.append(frame.pcm)
        over_reply = state in (State.REPLYING, State.INTERRUPTED)
        speech = self._endpoint.step(frame.number, self._vad(frame.pcm), over_reply=over_reply)
        if speech is not None:
            self._step(speech)
        self._rested = self._rested + 1 if self.turn.state is State.IDLE else 0
        if self._rested == TIDY_FRAMES:
            self._brains.do(self.turn.reply, self._brain.tidy())
        for due in self._due():
            self._step(due)

    def _fault(self, fault: Failed) -> None:
        tidying = self.turn.state is State.IDLE and not self.turn.is_late(fault)
        if fault.reply == KEEP or tidying:
            if isinstance(fault.error, EdgeAssistantError):
                raise fault.error
            raise RuntimeError(f"{fault.worker}: {type(fault.error).__name__}: {fault.error}") from fault.error
        if not self.turn.is_late(fault):
            log.error("%s: %s: %s", fault.worker, type(fault.error).__name__, fault.error)
        self._step(fault)

    def _step(self, event: Event) -> None:
        if self.turn.is_late(event):
            return
        commands = self.turn.step(event)
        if isinstance(event, Stopped):
            self._endpoint.reset()
        self._observe(event, commands)
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        match command:
            case Hear():
                self._hearing = True
                self._brains.drop(self.turn.reply - 1)  # it may be tidying up
                self._brains.do(KEEP, once(self._brain.begin))
                self._feed(*self._preroll)
                self._preroll.clear()
            case Reply(reply):
                self._hearing = False
                self._since_guess.clear()
                self._brains.do(reply, self._brain.reply(reply))
            case Rewind(reply):
                self._hearing = True
                self._brains.drop(reply)
                self._brains.do(KEEP, once(self._brain.rewind))
                self._feed(*self._since_guess)
                self._since_guess.clear()
                self._preroll.clear()
            case Forget(reply):
                self._hearing = False
                self._brains.drop(reply)
                self._brains.do(KEEP, once(self._brain.forget))
            case Hold():
                self._mouth.hold()
            case Resume():
                self._mouth.resume()
            case Use(reply, calls):
                self._hands.do(reply, self._work(reply, calls))
            case GoOn(reply, responses):
                self._brains.do(reply, self._brain.go_on(reply, responses))
            case Say(reply, text):
                self._mouths.do(reply, self._say(reply, text))
            case Ring(reply, text):
                self._mouths.do(reply, self._say(reply, text, bell=True))
            case Hush(reply):
                for worker in self.workers:
                    worker.drop(reply)
                self._mouth.flush(reply)
            case Remember(text, cut):
                if cut:
                    self._brains.do(KEEP, once(self._brain.remember, text))

    def _feed(self, *sound: Pcm) -> None:
        for pcm in sound:
            self._brains.do(KEEP, once(self._brain.hear, pcm))

    def _work(self, reply: int, calls: tuple[ToolCall, ...]) -> Job:
        yield Returned(reply, tuple(self._use(call) for call in calls))

    def _say(self, reply: int, text: str, bell: bool = False) -> Job:
        if bell:
            yield from self._mouth.ring(reply)
        yield from self._mouth.say(reply, text)
        self._mouth.mark(Spoken(reply, text))


def once(call: Callable[..., None], *args: object) -> Job:
    """A job of one step, with nothing to tell."""
    call(*args)
    return
    yield
