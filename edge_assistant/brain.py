"""What the brain worker does with its session: one conversation, always such as it was heard.

The cache is a line of turns. These places in it are remembered, so that it can be cut back to them:

    <bos> system | <|turn>user <|audio>sound … | <audio|><turn|> <|turn>model | words | <|tool_call>… <|tool_response> …
                 start, begun               heard                         answer  call

When it fills up, the oldest whole turns go, and the ones that stay are fed again: while nobody waits, or else only the last one.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, cast

from edge_assistant.answer import NOT_UNDERSTOOD
from edge_assistant.consent import ANSWERING, UNTOLD_YES
from edge_assistant.errors import ContextFull
from edge_assistant.frames import SAMPLE_RATE_HZ, UNAVAILABLE, Called, DecodeEnded, Response, Token
from edge_assistant.prompt import (
    BOS,
    CALL_CLOSE,
    MODEL_OPEN,
    RESPONSE_OPEN,
    TRANSCRIBE,
    TURN_CLOSE,
    USER_OPEN,
    MalformedCall,
    ToolCall,
    format_response,
    harmless,
    parse_call,
)
from edge_assistant.reply import ReplyReader
from edge_assistant.runtime import Pcm, Sampling, Session, Stretch
from edge_assistant.runtime import Token as ModelToken
from edge_assistant.worker import Job

log = logging.getLogger(__name__)

FAILED = "failed"
"""Any other error, to a model that was taught this one."""

Decoding: TypeAlias = Generator[ModelToken, None, None]
"""What `decode` gives, by its contract: tokens, until it is closed."""

CANNOT = "I can't do that here."

CLIP_SAMPLES = 30 * SAMPLE_RATE_HZ
"""Longest clip of sound: longer speech goes on as a further clip in the same turn."""
CALLS_A_TURN = 3
"""Tool calls after which a reply is given up: a model that goes on calling has lost its way."""
TURN_TOKENS = 512
"""Room that a turn should find in the cache (a question of ten seconds and its reply); if not, old turns are forgotten."""
FULL, KEPT = 0.6, 0.35
"""Of what the system turn leaves of the cache: from which share on old turns go while nobody waits, and which share stays."""
BRIEF_TOKENS = 24
"""Tokens after which a brief reply ends, with its sentence: one or two sentences."""
SENTENCE_ENDS = (".", "!", "?")
TRANSCRIPT_TOKENS = 512
"""Longest transcript: some three minutes of speech."""
SAMPLES_A_TOKEN = 640
REPLY_TOKENS = 160
"""Room kept free for the reply while sound comes in."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Of a turn in the cache."""

    end: int
    """Of what comes before it."""
    begin: int


class Brain:
    """Owns the session; every method runs on the brain worker's thread."""

    def __init__(
        self,
        session: Session,
        system: str = "",
        sampling: Sampling | None = None,
        prefix: Path | None = None,
        transcribed: Mapping[str, str] | None = None,
    ) -> None:
        """`system` is the system turn, fed where the model wants one; `prefix`, the file that keeps its cache; `transcribed`, by
        the names of tools, the argument of theirs that takes what the user said, word for word.
        """
        self._transcribed = transcribed or {}
        self._session = session
        self._prefix = prefix
        self._system = system if session.prompting.system else ""
        self._sampling = sampling or Sampling()
        self._start = self._heard = self._answer = 0
        self._sound = (0, 0)
        """Where the clips of the last turn begin and end."""
        self._turns: list[_Place] = []
        self._left: list[Stretch] = []
        """Turns that are to be fed again."""
        self._open = False
        """A clip is open: the user's turn is not closed yet."""
        self._clip = self._clip_heard = 0
        """Samples in the open clip."""
        self._room = 0
        """Samples that the open turn may still hear."""
        self._calls = self._wrong = self._call_at = 0
        self._answering = False
        """The user's turn is a yes or a no: what it calls is neither."""
        self.brief = False
        """End a reply with the sentence in which it becomes long. Any thread may set it."""

    def open(self) -> None:
        """Put in what stands before every conversation: from the file where it was kept, else fed, and then kept."""
        prefix = self._prefix if self._system else None  # a lone <bos> is fed sooner than it is read
        if not (prefix and self._session.load_prefix(prefix)):
            self._session.feed_text(BOS + self._system)
            if prefix:
                self._keep(prefix)
        self._start = self._session.position

    def _keep(self, prefix: Path) -> None:
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
            self._session.save_prefix(prefix)
        except OSError as error:  # a full or read-only disk costs time at the next start, no more
            log.warning("the system prompt is not kept for the next start: %s", error)

    def begin(self, question: str = "") -> None:
        """Open the user's turn, which answers the question, if there is one."""
        session = self._session
        if self._left:  # somebody speaks sooner than everything was fed again
            self._feed_again(self._left[-1])
            self._left = []
        if question and not session.prompting.system:
            self._clear()  # it was never taught a question of ours: it hears the answer by itself
        full = session.capacity - session.position < min(TURN_TOKENS, session.capacity // 4)
        if self._turns and (full or len(self._turns) > self._most):
            log.info("earlier turns are forgotten")
            kept = self._last(1 if full else self._most)
            self._clear()
            for stretch in kept:
                self._feed_again(stretch)
        self._open_turn()
        session.feed_text(USER_OPEN)
        self._answering = bool(question)
        if question and session.prompting.system:
            session.feed_text(ANSWERING.format(question=harmless(question)))
        self._sound = (session.position, 0)
        self._room = (session.capacity - session.position - REPLY_TOKENS) * SAMPLES_A_TOKEN
        session.begin_audio()
        self._open, self._clip = True, 0

    def hear(self, pcm: Pcm) -> None:
        """Feed sound to the open turn."""
        session = self._session
        if self._room < len(pcm):
            if self._room:
                log.warning("the speech is too long for the model's cache: the rest of it is not heard")
            self._room = 0
            return
        self._room -= len(pcm)
        if self._clip >= CLIP_SAMPLES:
            session.end_audio()
            session.begin_audio()
            self._clip = 0
        session.feed_audio(pcm)
        self._clip += len(pcm)

    def rewind(self) -> None:
        """The guess was wrong: the sound is open again where it stopped."""
        if not self._open:  # or the guess was given up before it began
            self._session.cut(self._heard)
            self._open, self._clip = True, self._clip_heard

    def forget(self) -> None:
        """The user's turn was none: as if it had never been opened."""
        self._session.cut(self._turns.pop().end)
        self._open = False

    def tidy(self) -> Job:
        """Make room while nobody waits: the oldest turns go, the rest is fed again, a turn at each step."""
        session = self._session
        if self._turns and (session.position - self._start > FULL * self._space or len(self._turns) > self._most):
            yield from self._keep_last(self._most)

    def shed(self) -> Job:
        """Give memory back while nobody waits: only the last turn stays."""
        if self._turns:
            yield from self._keep_last(1)
        self._session.shed()

    def _keep_last(self, most: int) -> Job:
        kept = self._last(most)
        log.info("of %d turns the last %d stay in the cache", len(self._turns), len(kept))
        self._clear()
        self._left = kept
        while self._left:
            self._feed_again(self._left.pop(0))
            yield None

    @property
    def _space(self) -> int:
        """Tokens that the system turn leaves."""
        return self._session.capacity - self._start

    @property
    def _most(self) -> int:
        """Turns that the model may remember."""
        return self._session.prompting.memory_turns or len(self._turns)

    def _last(self, most: int) -> list[Stretch]:
        """The last turns, so many at most, and no more than may stay in the cache."""
        session, kept, tokens = self._session, list[Stretch](), 0
        end = session.position
        for place in self._turns[: -most - 1 : -1]:
            stretch = session.copy(place.begin, end)
            tokens += len(stretch)
            if tokens > KEPT * self._space:
                break
            kept.insert(0, stretch)
            end = place.end
        return kept

    def _clear(self) -> None:
        """Back to the system turn."""
        self._session.cut(self._start)
        self._turns = []

    def _feed_again(self, stretch: Stretch) -> None:
        self._open_turn()
        self._session.paste(stretch)

    def _open_turn(self) -> None:
        end = self._session.position
        if self._turns:
            self._session.feed_text("\n")
        self._turns.append(_Place(end, self._session.position))

    def reply(self, number: int) -> Job:
        """Close the user's turn and decode."""
        self._hand_over()
        self._calls = self._wrong = 0
        yield from self._decode(number)

    def go_on(self, number: int, responses: tuple[Response, ...]) -> Job:
        """Feed what the tools returned and decode on; who calls wrongly twice is not asked a third time."""
        self._wrong += any(each.hint for each in responses)
        if self._wrong > 1:
            yield self._instead(number, self._call_at, CANNOT)
            yield DecodeEnded(number)
            return
        self._session.feed_text(RESPONSE_OPEN.join(map(self._response, responses)))
        yield from self._decode(number)

    def _response(self, response: Response) -> str:
        """As the model reads it. Only one that was told of its tools can make something of words, hints and every error."""
        failed = "error" in response.values
        if not self._session.prompting.system:
            known = {"error": UNAVAILABLE if response.values["error"] == UNAVAILABLE else FAILED} if failed else response.values
            return format_response(response.name, known)
        more = {"say": "" if failed else response.text, "hint": response.hint}
        return format_response(response.name, {**{key: text for key, text in more.items() if text}, **response.values})

    def remember(self, text: str) -> None:
        """The user heard only `text` since the last tool response: keep that, and no more."""
        if self._open:  # the reply was given up before it began
            self._hand_over()
        self._session.cut(self._answer)
        self._session.feed_text(harmless(text) + TURN_CLOSE)

    def _hand_over(self) -> None:
        """Close the user's turn and open the model's."""
        session = self._session
        self._heard, self._clip_heard, self._open = session.position, self._clip, False
        session.end_audio()
        self._sound = (self._sound[0], session.position)
        session.feed_text(f"{TURN_CLOSE}\n{MODEL_OPEN}")
        self._answer = session.position

    def _decode(self, number: int) -> Job:
        """Decode up to a stop; tell what is to be spoken, and what is called."""
        session = self._session
        self._answer = call_at = session.position
        while True:
            reader, last, before, spoken = ReplyReader(), None, session.position, 0
            with closing(cast(Decoding, session.decode(self._sampling))) as tokens:
                for last in tokens:
                    if not reader.calls:
                        call_at = self._call_at = before  # where the call begins, if this token opens one
                    text = reader.push(last)
                    if not last.stop:
                        before = session.position
                    yield Token(number, text)
                    spoken += bool(text)
                    if self.brief and spoken >= BRIEF_TOKENS and text.rstrip().endswith(SENTENCE_ENDS):
                        break
            speech = not reader.calls and not (last and last.text == RESPONSE_OPEN)
            if speech:
                self._close(last, before, TURN_CLOSE)
            if self._answering and not (speech and self._wrote_down(reader)):
                yield Called(number, ())
                return
            if speech:
                break
            if reader.calls and reader.call_probability < session.prompting.min_call_probability:
                log.info("a call of probability %.3f is not done: %s", reader.call_probability, "".join(reader.calls))
                yield self._instead(number, call_at, NOT_UNDERSTOOD)
                break
            self._calls += 1
            if self._calls > CALLS_A_TURN:
                yield self._instead(number, call_at, CANNOT)
                break
            try:
                calls = _read(reader.calls)
            except MalformedCall as error:
                log.warning("the model's call cannot be read: %s", error)
                if not session.prompting.system:  # a small model would go on and claim what was never done
                    yield self._instead(number, call_at, NOT_UNDERSTOOD)
                    break
                self._wrong += 1
                if self._wrong > 1:
                    yield self._instead(number, call_at, CANNOT)
                    break
                self._close(last, before, RESPONSE_OPEN)
                session.feed_text(format_response("unknown", {"error": "that call cannot be read", "hint": str(error)}))
                continue
            self._close(last, before, RESPONSE_OPEN)
            if any(call.name in self._transcribed for call in calls):
                words = yield from self._transcribe(call_at)
                calls = tuple(self._with_words(call, words) for call in calls)
            yield Called(number, calls)
            return
        yield DecodeEnded(number)

    def _wrote_down(self, reader: ReplyReader) -> bool:
        """Can what it said to a question of ours be taken for the answer?"""
        prompting = self._session.prompting
        return prompting.system or (reader.spoken == UNTOLD_YES and reader.probability >= prompting.min_call_probability)

    def _transcribe(self, call_at: int) -> Generator[None, None, str]:
        """What the user said in this turn, by the model's own speech recognition; "" if there is no room for it.

        A turn that asks for it stands in the cache meanwhile, in the place of what came from `call_at` on.
        """
        session, words = self._session, ""
        call, sound = session.copy(call_at, session.position), session.copy(*self._sound)
        session.cut(call_at)
        try:
            session.feed_text(f"{TURN_CLOSE}\n{USER_OPEN}{TRANSCRIBE}")
            session.paste(sound)
            session.feed_text(f"{TURN_CLOSE}\n{MODEL_OPEN}")
            with closing(cast(Decoding, session.decode(replace(self._sampling, max_tokens=TRANSCRIPT_TOKENS)))) as tokens:
                for token in tokens:
                    words += "" if token.stop else token.text
                    yield None
        except ContextFull:
            log.warning("there is no room to write down what was said")
            words = ""
        finally:
            session.cut(call_at)
            session.paste(call)
        return words.strip()

    def _with_words(self, call: ToolCall, words: str) -> ToolCall:
        argument = self._transcribed.get(call.name)
        return replace(call, arguments={**call.arguments, argument: words}) if argument else call

    def _close(self, last: ModelToken | None, before: int, mark: str) -> None:
        """Have the cache end with `mark`, whatever token the model stopped at."""
        if last is not None and last.stop and last.text == mark:
            return
        self._session.cut(before)
        self._session.feed_text(mark)

    def _instead(self, number: int, call_at: int, sentence: str) -> Token:
        """The call is as if never written: a sentence stands in its place."""
        self._session.cut(call_at)
        self._session.feed_text(sentence + TURN_CLOSE)
        return Token(number, " " + sentence)


def _read(texts: list[str]) -> tuple[ToolCall, ...]:
    """Every call as written, read.

    Raises:
        MalformedCall: one of them cannot be, or there is none.
    """
    calls: list[ToolCall] = []
    for text in texts:
        if not text.endswith(CALL_CLOSE) or (call := parse_call(text)) is None:
            raise MalformedCall(f"expected a whole call, found {text[:40]!r}")
        calls.append(call)
    if not calls:
        raise MalformedCall("expected a call before its response")
    return tuple(calls)
