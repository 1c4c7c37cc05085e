"""The loop: one thread takes one item at a time and owns every decision.

Everything arrives by one inbox: microphone frames, tokens, sentences spoken, faults. Their order there is the order in which
they happened, so a journal of the inbox replays the run.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from edge_assistant.attention import Attention, AttentionConfig
from edge_assistant.brain import Brain
from edge_assistant.ears import Ears, Heard
from edge_assistant.end_of_turn import HEARD_S, end_wait_ms
from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.errors import EdgeAssistantError
from edge_assistant.frames import (
    Commanded,
    EndJudged,
    Event,
    Failed,
    Frame,
    Muted,
    Released,
    Response,
    Returned,
    Sounding,
    SpeechEnded,
    SpeechEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    Spoken,
    Stopped,
    Strained,
    Unanswered,
    Unclear,
    Woken,
    WorkEvent,
    frames,
)
from edge_assistant.hearing import Hearing, HearingConfig, Measured
from edge_assistant.prompt import ToolCall
from edge_assistant.runtime import Pcm
from edge_assistant.turn import (
    STOP,
    Command,
    Forget,
    GoOn,
    Hear,
    Hold,
    Hush,
    Prepare,
    React,
    Remember,
    Reply,
    Resume,
    Rewind,
    Ring,
    Say,
    Signal,
    State,
    Turn,
    Use,
)
from edge_assistant.worker import KEEP, Job, Worker

log = logging.getLogger(__name__)

TIDY_FRAMES = frames(1500)
"""Rest after which the model's memory is put in order."""

THINKING_FRAMES = frames(1500)
"""Silence between the end of a turn and its reply, after which we let hear that we think, and again after as long."""

ANSWER_FRAMES = frames(10_000)
"""Silence after a question that wants a yes, after which it is a no."""

CALM_FRAMES = frames(640)
"""Without speech, after which nobody is about to say anything."""
SPEECH = 0.1
"""Probability from which a frame may be speech."""
LISTENER_FRAMES = frames(500)
"""That the listener gets at once while it is calm."""

Record = Callable[[Frame | Event, Heard | None], None]
Observe = Callable[[Event, list[Command]], None]


class Mouth(Protocol):
    """What the loop wants of voice and loudspeaker together."""

    def open(self) -> None: ...
    def prepare(self, text: str) -> None: ...
    def say(self, reply: int, text: str) -> Iterator[None]:
        """Speak into the loudspeaker's queue; yields while that is full."""
        ...

    def sound(self, reply: int, name: str) -> Iterator[None]: ...
    def signal(self, name: str) -> None: ...
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
        ears: Ears,
        brain: Brain,
        mouth: Mouth,
        use: Callable[[ToolCall, bool], Response],
        due: Callable[[], list[Event]],
        worker: Callable[[str, Callable[[WorkEvent], None]], Worker],
        inbox: "queue.SimpleQueue[Frame | Event | None]",
        observe: Observe = lambda event, commands: None,
        record: Record = lambda item, heard: None,
        endpoint: EndpointConfig | None = None,
        attention: AttentionConfig | None = None,
        hearing: HearingConfig | None = None,
        cancel: Callable[[], None] = lambda: None,
        judge: Callable[[Pcm], float] | None = None,
        understand: Callable[[int, Pcm, float], Job] | None = None,
        react: Callable[[tuple[ToolCall, ...]], None] = lambda calls: None,
    ) -> None:
        """`use` runs a tool, or asks first if no yes was said to it; `cancel` gives up the one that runs; `due` is asked every
        frame what has come due.

        `observe` sees every step, and `record` everything that a decision rests on, both on this thread. `judge` tells from how a
        turn sounds (shape [samples]) how probable it is that it is over. Without `hearing` everything that is said gets a reply.
        `understand` finds commands that need no model (see `CommandListener.hear`), and `react` lets them be heard at once.
        """
        config = self._config = endpoint or EndpointConfig()
        self.inbox = inbox
        self.turn = Turn()
        self.taken = 0
        """Frames taken so far."""
        self._ears, self._brain, self._mouth, self._use, self._due, self._observe = ears, brain, mouth, use, due, observe
        self._record, self._judge, self._cancel = record, judge, cancel
        self._attention = Attention(attention or AttentionConfig())
        self._endpoint = Endpointer(config)
        self._heard_well = Hearing(hearing) if hearing else None
        self._brains, self._mouths, self._hands = (worker(name, inbox.put) for name in ("brain", "mouth", "hands"))
        self._judges = worker("judge", inbox.put)
        self._understand, self._react = understand, react
        self._listeners = worker("listener", inbox.put)
        self._sound: deque[Pcm] = deque(maxlen=frames(HEARD_S * 1000))
        """What was heard last, for the judge."""
        self._hearing = False
        self._rested = 0
        """Frames since anything happened."""
        self._quiet = 0
        """Frames since one that may be speech."""
        self._unheard: list[Job] = []
        """What the listener has not been given yet."""
        self._shed = False
        """Memory is to be given back at the next rest."""
        self._sounded = False
        """The reply has begun to sound."""
        self._waited = 0
        """Frames that the user has waited for it."""
        self._preroll: deque[Pcm] = deque()
        self._preroll_frames = frames(config.preroll_ms)
        self._since_guess: list[Pcm] = []

    @property
    def workers(self) -> list[Worker]:
        """Brain, mouth, hands, judge and listener."""
        return [self._brains, self._mouths, self._hands, self._judges, self._listeners]

    @property
    def at_rest(self) -> bool:
        """Nobody speaks, and everything was heard to its end."""
        return self.turn.state is State.IDLE

    @property
    def calm(self) -> bool:
        """Nobody speaks, nor has just now: nobody waits for the next frame."""
        return self.at_rest and self._quiet >= CALM_FRAMES

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

    def wait_until_ready(self) -> None:
        """Wait until every worker has done what it was given so far. What went wrong with it is raised by `take`."""
        for worker in self.workers:
            done = threading.Event()
            worker.do(KEEP, once(done.set))
            done.wait()

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
            return
        self._record(item, None)
        self._happen(item)

    def _happen(self, event: Event) -> None:
        match event:
            case Failed():
                self._fault(event)
            case Released():
                self._attention.held = False
                for speech in self._endpoint.finish(self.taken):
                    self._take_speech(speech)
            case Strained(spare, shed):
                self._brain.brief = spare
                self._endpoint.guess_late(spare)
                self._shed = self._shed or shed
            case Commanded():
                self._command(event)
            case _:
                self._step(event)

    def _frame(self, frame: Frame) -> None:
        self.taken = frame.number + 1
        heard = self._ears(frame)
        self._record(frame, heard)
        if heard.woke:
            self._step(Woken())
        self._quiet = 0 if heard.speech >= SPEECH else self._quiet + 1
        self._listen(frame.number, heard)
        if self._understand is not None:
            self._unheard.append(self._understand(self.turn.reply, heard.pcm, heard.speech))
            if not self.calm or len(self._unheard) >= LISTENER_FRAMES:
                self._listeners.do(KEEP, in_turn(self._unheard))
                self._unheard = []
        if heard.stopped and self.turn.can_stop:  # said with nothing to stop it is for the model, which may know a reply
            self._step(Stopped())
        self._rest()
        for due in self._due():
            self._record(due, None)
            self._happen(due)

    def _listen(self, number: int, heard: Heard) -> None:
        """Keep or feed the sound, and look for the beginnings and ends of turns in it."""
        state = self.turn.state
        if self._hearing:
            self._feed(heard.pcm)
        else:
            self._preroll.append(heard.pcm)
            if state is not State.INTERRUPTED:  # then all of it may be wanted
                while len(self._preroll) > self._preroll_frames:
                    self._preroll.popleft()
        if state is State.GUESSING:
            self._since_guess.append(heard.pcm)
        if self._judge is not None:
            self._sound.append(heard.pcm)
        over_reply = state in (State.REPLYING, State.INTERRUPTED)
        probability = heard.speech if self._attention.listens(number, state) else 0.0
        speech = self._endpoint.step(number, probability, over_reply=over_reply)
        if self._heard_well:
            self._heard_well.step(number, Measured(heard.speech, heard.power, heard.clipped))
        if speech is not None:
            self._take_speech(speech)

    def _command(self, event: Commanded) -> None:
        """A command was understood in what is being said; it counts if that is heard well, and if there is something to stop."""
        if self.turn.is_late(event):
            return
        if event.calls and self.turn.state in (State.HEARING, State.INTERRUPTED) and (meant := self._endpoint.confirm()):
            self._step(meant)
        well = self._heard_well is None or self._heard_well.complaint() is None
        idle = STOP in event.calls and not self.turn.can_stop
        if self.turn.takes_commands:
            self._step(Commanded(self.turn.reply, event.calls if well and not idle else ()))

    def _take_speech(self, event: SpeechEvent) -> None:
        """Let the endpointer's event happen; a turn that was not heard well gets no guess, and a question for its end."""
        hearing = self._heard_well
        if isinstance(event, SpeechEnded) and self.turn.stops:
            self._step(Stopped())
            return
        if hearing is None:
            self._step(event)
            return
        match event:
            case SpeechStarted(first):
                hearing.begin(first)
                self._step(event)
            case SpeechPaused() if hearing.complaint() is not None:
                pass  # it may go on, and become clear
            case SpeechResumed() if self.turn.state is State.HEARING:
                pass
            case SpeechEnded(frame) if self.turn.state is State.HEARING:
                question = hearing.complaint() or ""
                hearing.end(question)
                self._step(Unclear(frame, question))
            case SpeechEnded():
                hearing.end(None)
                self._step(event)
            case _:
                self._step(event)

    def _rest(self) -> None:
        """What is to be done when nothing has happened for a while."""
        state = self.turn.state
        self._rested = self._rested + 1 if state is State.IDLE else 0
        if self._rested == ANSWER_FRAMES and self.turn.awaits_yes:
            self._step(Unanswered())
        if self._rested == TIDY_FRAMES:
            self._brains.do(self.turn.reply, self._brain.tidy())
        if self._shed and state is State.IDLE:
            self._shed = False
            self._brains.do(self.turn.reply, self._brain.shed())
        self._waited = self._waited + 1 if state is State.REPLYING and not self._sounded else 0
        if self._waited and self._waited % THINKING_FRAMES == 0:
            self._mouth.signal("thinking")

    def _fault(self, fault: Failed) -> None:
        if fault.worker == "listener":
            log.error("commands wait for the model from now on: %s: %s", type(fault.error).__name__, fault.error)
            self._understand = None
            return
        tidying = self.turn.state is State.IDLE and not self.turn.is_late(fault)
        if fault.reply == KEEP or tidying:
            if isinstance(fault.error, EdgeAssistantError):
                raise fault.error
            raise RuntimeError(f"{fault.worker}: {type(fault.error).__name__}: {fault.error}") from fault.error
        if not self.turn.is_late(fault):
            log.error("%s: %s: %s", fault.worker, type(fault.error).__name__, fault.error)
        if fault.worker != "judge":  # without its judgement the wait is the usual one
            self._step(fault)

    def _step(self, event: Event) -> None:
        if self.turn.is_late(event):
            return
        commands = self.turn.step(event)
        match event:
            case Stopped() | Muted():
                self._endpoint.reset()
            case Woken(held):
                self._call(held)
            case EndJudged(_, probability) if self.turn.state is State.GUESSING:
                config = self._config
                usual_ms = self._endpoint.patience.wait_ms
                self._endpoint.hint(end_wait_ms(probability, usual_ms, min_ms=config.end_min_ms, max_ms=config.end_max_ms))
            case Sounding():
                self._sounded = True
            case _:
                pass
        self._observe(event, commands)
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        match command:
            case Hear(question):
                self._hearing = True
                self._brains.drop(self.turn.reply - 1)  # it may be tidying up
                self._brains.do(KEEP, once(self._brain.begin, question))
                self._feed(*self._preroll)
                self._preroll.clear()
            case Reply(reply):
                self._hearing = False
                self._since_guess.clear()
                self._brains.do(reply, self._brain.reply(reply))
                self._sounded = False
                if self._judge is not None:
                    self._judges.do(reply, self._judged(reply, self._judge, np.concatenate(self._sound)))
            case Rewind(reply):
                self._hearing = True
                self._brains.drop(reply)
                self._mouths.drop(reply)
                self._brains.do(KEEP, once(self._brain.rewind))
                self._feed(*self._since_guess)
                self._since_guess.clear()
                self._preroll.clear()
            case Forget(reply):
                self._hearing = False
                self._brains.drop(reply)
                self._mouths.drop(reply)
                self._brains.do(KEEP, once(self._brain.forget))
            case Hold():
                self._mouth.hold()
            case Resume():
                self._mouth.resume()
            case Use(reply, calls, confirmed):
                self._hands.do(reply, self._work(reply, calls, confirmed))
            case GoOn(reply, responses):
                self._brains.do(reply, self._brain.go_on(reply, responses))
            case Prepare(reply, text):
                self._mouths.do(reply, once(self._mouth.prepare, text))
            case Say(reply, text):
                self._mouths.do(reply, self._say(reply, text))
            case Ring(reply, text, sound):
                self._mouths.do(reply, self._say(reply, text, sound))
            case Signal(sound):
                self._mouth.signal(sound)
            case React(calls):
                self._react(calls)
            case Hush(reply):
                for worker in self.workers:
                    worker.drop(reply)
                self._cancel()
                self._mouth.flush(reply)
            case Remember(text, cut):
                if cut:
                    self._brains.do(KEEP, once(self._brain.remember, text))

    def _call(self, held: bool) -> None:
        """The user asks for our ear: what comes from here on may be a turn."""
        self._attention.held = held
        self._attention.call(self.taken)
        if not self._hearing and self.turn.state is not State.GUESSING:
            self._endpoint.restart(self.taken - 1)
            self._preroll.clear()

    @staticmethod
    def _judged(reply: int, judge: Callable[[Pcm], float], sound: Pcm) -> Job:
        yield EndJudged(reply, judge(sound))

    def _feed(self, *sound: Pcm) -> None:
        for pcm in sound:
            self._brains.do(KEEP, once(self._brain.hear, pcm))

    def _work(self, reply: int, calls: tuple[ToolCall, ...], confirmed: bool) -> Job:
        yield Returned(reply, tuple(self._use(call, confirmed) for call in calls))

    def _say(self, reply: int, text: str, sound: str = "") -> Job:
        if sound:
            yield from self._mouth.sound(reply, sound)
        yield from self._mouth.say(reply, text)
        self._mouth.mark(Spoken(reply, text))


def in_turn(jobs: list[Job]) -> Job:
    """One job of several."""
    for job in jobs:
        yield from job


def once(call: Callable[..., None], *args: object) -> Job:
    """A job of one step, with nothing to tell."""
    call(*args)
    return
    yield
