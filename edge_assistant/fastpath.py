"""Commands that do not wait for the language model: volume, sound off, the timer that rings, “stop”.

A small model of its own, on a worker of its own, hears what is said and is asked what it was as soon as it grows quiet. It never
acts: what it is sure of is told to the loop, which lets it be heard at once, takes it back if the speaker goes on, and has it
done, once, when the turn is over. docs/commands.md has what that is worth.
"""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, cast

import numpy as np

from edge_assistant.brain import Decoding
from edge_assistant.commands import Alone, AloneConfig
from edge_assistant.frames import FRAME_MS, SAMPLE_RATE_HZ, Commanded, frames
from edge_assistant.prompt import BOS, CALL_OPEN, MODEL_OPEN, TURN_CLOSE, USER_OPEN, MalformedCall, ToolCall, parse_call
from edge_assistant.runtime import Pcm, Sampling, Session
from edge_assistant.tools.volume import Volume
from edge_assistant.turn import STOP
from edge_assistant.worker import Job

CAPACITY = 512
"""Tokens that the longest command and its answer take, and more."""
STOP_ANSWER = "Okay."
"""What the model says to whoever tells it to stop."""


class CommandListener:
    """Understands commands; every job runs on its worker's thread. It remembers: frames are given in order."""

    LEAST = 0.9
    """Product of the probabilities of all tokens of the answer from which it counts,"""
    LEAST_SOUNDING = 0.7
    """and where it counts only while something sounds: “stop”, and the timer that rings. Both chosen on development voices."""
    HEARS = AloneConfig(quiet_ms=64, shortest_ms=192, longest_ms=4800, over_ms=608)
    """Where it is asked: in the first two quiet frames of every pause in a sentence that is not longer than any command. That is
    early, for it can take back what it told."""
    AGAIN_MS = 256
    """Silence within which it is told again if the reply that it was told for was given up meanwhile: a turn that was begun over
    a ring gets its number late. After that the turn may be over, and the next one has not commanded it."""
    ROOM_MS = 320
    """Silence that the model wants to hear after a sentence. It is put in: nobody waits for it."""

    def __init__(self, session: Session) -> None:
        """`session` is of a model that was trained on the commands, with nothing in its cache."""
        self._session = session
        self._alone = Alone(self.HEARS)
        self._before: deque[Pcm] = deque(maxlen=frames(self.HEARS.lead_ms))
        self._hears = False
        """A sentence is on, and not too long."""
        self._told: tuple[ToolCall, ...] = ()
        self._told_for = 0
        """The reply that counted then."""
        self.may_cancel: Callable[[], bool] = lambda: False
        """Does a timer ring?"""
        session.feed_text(BOS)
        self._start = session.position

    def hear(self, reply: int, pcm: Pcm, speech: float) -> Job:
        """Take a frame (shape [FRAME_SAMPLES]), the probability of speech in it, and the number of the reply that counts.

        Tells what was understood, and that it was not meant when the speaker goes on.
        """
        alone, loud, found = self._alone, self._alone.loud, self._told
        paused = alone(pcm, speech)
        if alone.since == 1:
            self._begin()
        if not alone.since:
            self._hears = False
            self._before.append(pcm)
        elif alone.loud * FRAME_MS > self.HEARS.longest_ms:
            self._hears = False
        if self._hears:
            self._session.feed_audio(pcm)
        if alone.loud and alone.loud != loud:
            found = ()
        elif paused and self._hears:
            found = self._commands(*self._ask())
        missed = bool(found) and reply != self._told_for and alone.since - alone.loud <= frames(self.AGAIN_MS)
        if found != self._told or missed:
            self._told, self._told_for = found, reply
            yield Commanded(reply, found)

    def _begin(self) -> None:
        session = self._session
        session.cut(self._start)
        session.feed_text(USER_OPEN)
        session.begin_audio()
        for pcm in self._before:
            session.feed_audio(pcm)
        self._before.clear()
        self._hears = True

    def _ask(self) -> tuple[str, float]:
        """The model's answer to what was said so far, and how probable it is; the sentence stays open."""
        session = self._session
        heard = session.position
        session.feed_audio(np.zeros(self.ROOM_MS * SAMPLE_RATE_HZ // 1000, np.float32))
        session.end_audio()
        session.feed_text(f"{TURN_CLOSE}\n{MODEL_OPEN}")
        answer, sure = "", 1.0
        with closing(cast(Decoding, session.decode(Sampling(max_tokens=40)))) as tokens:
            for token in tokens:
                sure *= token.probability
                answer += "" if token.stop else token.text
                if sure < self.LEAST_SOUNDING or not (answer.startswith(CALL_OPEN) or STOP_ANSWER.startswith(answer)):
                    break
        session.cut(heard)
        return answer, sure

    def _commands(self, answer: str, sure: float) -> tuple[ToolCall, ...]:
        if sure < self.LEAST_SOUNDING:
            return ()
        if answer == STOP_ANSWER:
            return (STOP,)
        try:
            call = parse_call(answer)
        except MalformedCall:
            return ()
        match call:
            case ToolCall("cancel_timer", arguments) if not arguments and self.may_cancel():
                return (call,)
            case _ if sure < self.LEAST:
                return ()
            case ToolCall("set_volume", {"change": "up" | "down", **more}) if not more:
                return (call,)
            case ToolCall("set_volume", {"percent": int(percent), **more}) if not more and 0 <= percent <= 100:
                return (call,)
            case _:
                return ()


class Reaction:
    """Lets the ear know at once that a command was understood. Nothing is done yet, and all of it can be taken back."""

    def __init__(self, volume: Volume, signal: Callable[[str], None]) -> None:
        """`signal` sounds one of the mouth's sounds now."""
        self._volume, self._signal = volume, signal

    def __call__(self, calls: tuple[ToolCall, ...]) -> None:
        """React to these calls; to none: as before."""
        self._volume.preview(None)
        for call in calls:
            if call.name == "set_volume":
                arguments: Mapping[str, Any] = call.arguments
                self._volume.preview(self._volume.reach(**arguments))
                self._signal("understood")
