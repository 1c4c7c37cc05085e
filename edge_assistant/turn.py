"""Whose turn it is: a table, and the commands that each step gives. No thread, no clock, no I/O.

      SpeechStarted      SpeechPaused        SpeechEnded            all heard
IDLE <------> HEARING <------------> GUESSING ------> REPLYING ------> IDLE
 |  Dropped      ^     SpeechResumed                  |      ^          |
 |               |               SpeechStarted        v      |          |
 |               '---------------------------- INTERRUPTED --'          |
 |                      SpeechConfirmed             SpeechDropped       |
 '------------------------------> REPLYING <----------------------------'
                          Due                          Due

What was said but not heard well enough goes from HEARING to IDLE (Unclear), and is asked for again as a timer rings.

A reply that is decoded in GUESSING is only a guess: nothing of it is spoken and none of its tools run before SpeechEnded. In
INTERRUPTED the reply holds its breath: speech silences it for good, a cough does not.

A command that needs no model (Commanded) is heard at once (React) and done at SpeechEnded, in the place of the model's reply; it
is taken back if the speaker goes on. So it happens once, whoever understood it.

A tool that wants a yes has its question spoken. If that was heard to its end, and nothing came between, the next turn is the
answer: the model only writes it down, words decide, and what is not plainly a yes is a no.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from edge_assistant.answer import NOT_UNDERSTOOD, Answer, Asked
from edge_assistant.consent import DONE, NOT_DONE, NOTHING_DONE, claims, says_yes
from edge_assistant.frames import (
    Called,
    Commanded,
    DecodeEnded,
    Due,
    EndJudged,
    Event,
    Failed,
    Muted,
    Response,
    Returned,
    Sounding,
    SpeechConfirmed,
    SpeechDropped,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    Spoken,
    Stopped,
    Token,
    Unanswered,
    Unclear,
    Woken,
)
from edge_assistant.prompt import ToolCall

APOLOGY = "Sorry, something went wrong."
STOP = ToolCall("stop", {})
"""Among what is commanded: no tool, but an end to what sounds."""


class State(Enum):
    """Whose turn it is."""

    IDLE = auto()
    HEARING = auto()
    GUESSING = auto()
    REPLYING = auto()
    INTERRUPTED = auto()


TRANSITIONS: dict[State, dict[type[Event], State]] = {
    State.IDLE: {
        SpeechStarted: State.HEARING,
        Due: State.IDLE,
        Stopped: State.IDLE,
        Woken: State.IDLE,
        Muted: State.IDLE,
        Unanswered: State.IDLE,
    },
    State.HEARING: {
        SpeechConfirmed: State.HEARING,
        SpeechDropped: State.IDLE,
        SpeechPaused: State.GUESSING,
        Commanded: State.HEARING,
        Unclear: State.IDLE,
        Due: State.HEARING,
        Woken: State.HEARING,
        Muted: State.IDLE,
        Stopped: State.IDLE,
    },
    State.GUESSING: {
        SpeechResumed: State.HEARING,
        SpeechEnded: State.REPLYING,
        Commanded: State.GUESSING,
        Token: State.GUESSING,
        Called: State.GUESSING,
        DecodeEnded: State.GUESSING,
        Failed: State.GUESSING,
        Due: State.GUESSING,
        EndJudged: State.GUESSING,
        Woken: State.GUESSING,
        Muted: State.IDLE,
        Stopped: State.IDLE,
    },
    State.REPLYING: {
        SpeechStarted: State.INTERRUPTED,
        Token: State.REPLYING,
        Called: State.REPLYING,
        Returned: State.REPLYING,
        DecodeEnded: State.REPLYING,
        Sounding: State.REPLYING,
        Spoken: State.REPLYING,
        Failed: State.REPLYING,
        Due: State.REPLYING,
        EndJudged: State.REPLYING,
        Woken: State.IDLE,
        Muted: State.REPLYING,
        Stopped: State.IDLE,
    },
    State.INTERRUPTED: {
        SpeechConfirmed: State.HEARING,
        SpeechDropped: State.REPLYING,
        Token: State.INTERRUPTED,
        Called: State.INTERRUPTED,
        Returned: State.INTERRUPTED,
        DecodeEnded: State.INTERRUPTED,
        Sounding: State.INTERRUPTED,
        Spoken: State.INTERRUPTED,
        Failed: State.INTERRUPTED,
        Due: State.INTERRUPTED,
        EndJudged: State.INTERRUPTED,
        Woken: State.IDLE,
        Muted: State.REPLYING,
        Stopped: State.IDLE,
    },
}


@dataclass(frozen=True, slots=True)
class Hear:
    """Open the user's turn in the cache; feed it the pre-roll and every frame from now on."""

    question: str = ""
    """The turn answers this, with a yes or a no."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Close the user's turn in the cache and decode."""

    reply: int


@dataclass(frozen=True, slots=True)
class Rewind:
    """The user was not done: stop decoding, cut the cache back to the last audio heard, go on feeding it."""

    reply: int


@dataclass(frozen=True, slots=True)
class Forget:
    """That was no turn: stop decoding, and cut the cache back to where it was opened."""

    reply: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold the loudspeaker where it is; what is spoken into it waits."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let the loudspeaker go on where it was."""


@dataclass(frozen=True, slots=True)
class Use:
    """Run the tools that the model called."""

    reply: int
    calls: tuple[ToolCall, ...]
    confirmed: bool = False
    """The user has said yes to it."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Give the model what its tools returned, and decode on."""

    reply: int
    responses: tuple[Response, ...]


@dataclass(frozen=True, slots=True)
class Prepare:
    """Have a sentence ready, should it be spoken."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class Say:
    """Speak a sentence."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class Ring:
    """Sound something, then speak a sentence."""

    reply: int
    text: str
    sound: str = "bell"


@dataclass(frozen=True, slots=True)
class Signal:
    """Sound something short, whatever else is sounding."""

    sound: str


@dataclass(frozen=True, slots=True)
class React:
    """Let it be heard that a command was understood; no calls: as if it never had been."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Hush:
    """Empty the loudspeaker now; stop decoding, tools and synthesis up to this reply."""

    reply: int


@dataclass(frozen=True, slots=True)
class Remember:
    """The reply is over."""

    text: str
    """What the user heard of it, since the last tool response."""
    cut: bool
    """That is not what the cache holds: put it right."""


Command = Hear | Reply | Rewind | Forget | Hold | Resume | Use | GoOn | Prepare | Say | Ring | Signal | React | Hush | Remember


class Turn:
    """The state of the conversation. `step` is its only door."""

    def __init__(self) -> None:
        self.state = State.IDLE
        self.reply = 0
        """Number of the attempt at a reply that counts."""
        self._answer = Answer()
        self._rings: list[Due] = []
        self._asked: Asked | None = None
        """Was heard to its end, and nothing came since."""
        self._answers: Asked | None = None
        """The user's turn is the answer to this."""
        self._over = False
        """The user began to speak over a reply or a ring."""
        self._commanded: tuple[ToolCall, ...] = ()
        """What the user's turn, as far as it was said, wants done without the model."""
        self._said: deque[str] = deque(maxlen=20)
        """Sentences that were heard: they may be said again."""

    @property
    def can_stop(self) -> bool:
        """Is there something to stop, or was there when the user began to speak?"""
        return self.state in (State.REPLYING, State.INTERRUPTED) or (self._over and self.state is not State.IDLE)

    @property
    def takes_commands(self) -> bool:
        """Is somebody speaking, and not answering a question?"""
        return self.state in (State.HEARING, State.GUESSING) and self._answers is None

    @property
    def stops(self) -> bool:
        """Is it “stop” that was commanded?"""
        return self._commanded == (STOP,)

    @property
    def awaits_yes(self) -> bool:
        """Would a yes do something?"""
        return self._asked is not None

    def is_late(self, event: Event) -> bool:
        """Is this news of a reply that is over, or was given up?"""
        return getattr(event, "reply", self.reply) != self.reply

    def step(self, event: Event) -> list[Command]:
        """Take one event that is not late; return the commands that it causes, in order.

        Raises:
            LookupError: the event cannot happen in this state.
        """
        before = self.state
        try:
            self.state = TRANSITIONS[before][type(event)]
        except KeyError:
            raise LookupError(f"{type(event).__name__} cannot happen in {before.name}") from None
        if isinstance(event, SpeechEnded | Unclear | Stopped | Muted | Unanswered):
            self._asked = None
        match before, event:
            case State.REPLYING, SpeechStarted():
                return [Hold()]
            case State.IDLE, SpeechStarted():
                self._over = False
                return [self._hear()]
            case State.INTERRUPTED, SpeechConfirmed():
                self._over = True
                return [*self._hush(), self._hear()]
            case State.INTERRUPTED, SpeechDropped():
                return [Resume(), *self._give()]
            case ((State.HEARING | State.GUESSING), (SpeechDropped() | Stopped() | Muted() | Unclear())):
                given_up = self.reply
                self._next()
                if isinstance(event, Stopped):
                    self._rings.clear()
                if isinstance(event, Unclear) and event.question:
                    self._rings.insert(0, Due(event.question, sound=""))
                return [*self._take_back(), Forget(given_up), *self._signal(event), *self._give()]
            case _, Commanded(_, calls):
                before_calls, self._commanded = self._commanded, calls
                return [React(calls)] if calls != before_calls else []
            case State.GUESSING, SpeechEnded() if self._commanded:
                given_up, calls = self.reply, self._commanded
                self._next()
                self._answer = Answer(used=calls, ring=True)
                return [*self._take_back(), Forget(given_up), Use(self.reply, calls)]
            case ((State.REPLYING | State.INTERRUPTED), (Stopped() | Woken() | Failed(_, "mouth", _))):
                # A broken voice: what is not heard yet never will be. To stop is to stop what waits to ring, too.
                self.state = State.IDLE
                if isinstance(event, Stopped):
                    self._rings.clear()
                commands = self._hush()
                self._next()
                return [*commands, *self._signal(event), *self._give()]
            case State.INTERRUPTED, Muted():
                return [Resume(), *self._signal(event), *self._give()]
            case ((State.IDLE | State.REPLYING), (Woken() | Muted())):
                return self._signal(event)
            case _, SpeechPaused():
                return [Reply(self.reply)]
            case _, SpeechResumed():
                given_up = self.reply
                self._next()
                return [*self._take_back(), Rewind(given_up)]
            case _, Returned(_, responses):
                return self._returned(responses)
            case _, Due():
                self._rings.append(event)
                return self._give()
            case _:
                self._note(event)
                return self._give()

    def _note(self, event: Event) -> None:
        """Take what a worker tells of the reply."""
        answer = self._answer
        match event:
            case Token(_, text) if self._answers:
                answer.written += text
            case Called() | DecodeEnded() if self._answers:
                if isinstance(event, DecodeEnded) and says_yes(answer.written):
                    answer.calls, answer.confirmed = (self._answers.call,), True
                else:
                    self._finish(NOT_DONE)
            case Token(_, text):
                self._take(answer.sentences.push(text))
            case Called(_, calls):
                self._take(answer.sentences.flush())
                answer.claims = []  # what the tools will say is true
                answer.calls = calls
            case DecodeEnded():
                self._take(answer.sentences.flush())
                if answer.claims:
                    answer.ready += [NOTHING_DONE, *(sentence for sentence in answer.claims if not claims(sentence))]
                    answer.claims, answer.broken = [], True
                if answer.said + len(answer.ready) == answer.before:  # who has asked is never left in silence
                    self._finish(answer.instead)
                elif answer.cautions:
                    answer.ready += answer.cautions
                    answer.broken = True
                answer.ended = True
            case Failed():
                self._take(answer.sentences.flush())
                answer.ready.append(APOLOGY)
                answer.ended = answer.broken = True
            case Spoken(_, text):
                answer.heard.append(text)
                self._said.append(text)
            case _:
                pass

    def _take(self, sentences: list[str]) -> None:
        """Sentences of the model: one that claims what no tool has done waits for the tool, and so does what follows it."""
        answer = self._answer
        answer.cautions = [caution for caution in answer.cautions if caution not in sentences]
        for sentence in sentences:
            waits = answer.claims or (not answer.done and sentence not in self._said and claims(sentence))
            (answer.claims if waits else answer.ready).append(sentence)

    def _returned(self, responses: tuple[Response, ...]) -> list[Command]:
        """The tools have run, or one of them asks."""
        answer = self._answer
        if answer.confirmed or answer.ring:
            self._finish(_words(responses))
            return self._give()
        answer.before = answer.said + len(answer.ready)
        if len(responses) == 1 and responses[0].question:
            answer.asks = Asked(responses[0].question, answer.used[0])
            self._finish(responses[0].question)
            return self._give()
        answer.instead = _words(responses)
        answer.done |= any("error" not in response.values for response in responses)
        answer.cautions += [response.caution for response in responses if response.caution]
        return [GoOn(self.reply, responses)]

    def _finish(self, sentence: str) -> None:
        """End the reply with a sentence that is not the model's."""
        self._answer.ready.append(sentence)
        self._answer.ended = self._answer.broken = True

    def _give(self) -> list[Command]:
        """The commands for what can be done now."""
        answer, commands = self._answer, list[Command]()
        if self.state is State.GUESSING and answer.ready and not answer.prepared:
            answer.prepared = True
            commands.append(Prepare(self.reply, answer.ready[0]))
        if self.state is State.REPLYING:
            commands += [Say(self.reply, text) for text in answer.ready]
            answer.said += len(answer.ready)
            answer.ready = []
            if answer.calls:
                commands.append(Use(self.reply, answer.calls, answer.confirmed))
                answer.used, answer.calls = answer.calls, ()
            if answer.ended and len(answer.heard) == answer.said:
                self.state = State.IDLE
                self._asked = answer.asks
                commands += self._remember(cut=answer.broken)
        if self.state is State.IDLE and self._rings:
            self.state, self._asked = State.REPLYING, None
            self._next()
            self._answer = Answer(said=1, ring=True, ended=True)
            due = self._rings.pop(0)
            commands.append(Ring(self.reply, due.text, due.sound))
        return commands

    def _hear(self) -> Hear:
        self._next()
        self._answers = self._asked
        return Hear(self._answers.question if self._answers else "")

    def _take_back(self) -> list[Command]:
        """What was commanded is done for good, or not at all."""
        commanded, self._commanded = self._commanded, ()
        return [React(())] if commanded else []

    def _next(self) -> None:
        self.reply, self._answer = self.reply + 1, Answer()

    @staticmethod
    def _signal(event: Event) -> list[Command]:
        match event:
            case Woken() | Muted(off=False):
                return [Signal("listening")]
            case Muted():
                return [Signal("muted")]
            case _:
                return []

    def _hush(self) -> list[Command]:
        return [Hush(self.reply), *self._remember(cut=True)]

    def _remember(self, cut: bool) -> list[Command]:
        answer = self._answer
        return [] if answer.ring else [Remember(" ".join(answer.heard[answer.before :]), cut)]


def _words(responses: tuple[Response, ...]) -> str:
    """What tools told, in their own words."""
    return " ".join(each.text or (APOLOGY if "error" in each.values else DONE) for each in responses) or NOT_UNDERSTOOD
