import itertools

import pytest

from edge_assistant.frames import (
    Called,
    DecodeEnded,
    Due,
    Failed,
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
)
from edge_assistant.prompt import ToolCall
from edge_assistant.turn import (
    TRANSITIONS,
    Forget,
    GoOn,
    Hear,
    Hold,
    Hush,
    Prepare,
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

CALL = ToolCall("get_time")


def turn_in(state):
    turn = Turn()
    road = [SpeechStarted(0), SpeechPaused(1), SpeechEnded(1), SpeechStarted(30)]
    for event in road[: state.value - 1]:
        turn.step(event)
    assert turn.state is state
    return turn


def event_of(kind, reply):
    return {
        Token: lambda: Token(reply, "Hello. "),
        Called: lambda: Called(reply, (CALL,)),
        Returned: lambda: Returned(reply, (Response("get_time", {}),)),
        DecodeEnded: lambda: DecodeEnded(reply),
        Sounding: lambda: Sounding(reply),
        Spoken: lambda: Spoken(reply, "Hello."),
        Failed: lambda: Failed(reply, "brain", ValueError()),
        Due: lambda: Due("ring"),
        Stopped: Stopped,
    }.get(kind, lambda: kind(5))()


KINDS = [
    SpeechStarted, SpeechConfirmed, SpeechDropped, SpeechPaused, SpeechResumed, SpeechEnded, Stopped,
    Token, Called, Returned, DecodeEnded, Sounding, Spoken, Failed, Due,
]  # fmt: skip


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(State, KINDS)))
def test_the_table_is_the_law(state, kind):
    turn = turn_in(state)
    if kind in TRANSITIONS[state]:
        turn.step(event_of(kind, turn.reply))
    else:
        with pytest.raises(LookupError, match=f"{kind.__name__} cannot happen in {state.name}"):
            turn.step(event_of(kind, turn.reply))


def test_a_turn_step_by_step():
    turn = Turn()
    assert turn.step(SpeechStarted(0)) == [Hear()]
    assert turn.step(SpeechPaused(9)) == [Reply(1)]
    assert turn.step(Token(1, "Hello. ")) == [Prepare(1, "Hello.")]  # only a guess yet
    assert turn.step(SpeechResumed(12)) == [Rewind(1)]
    assert turn.is_late(Token(1, "Hello. "))
    assert turn.step(SpeechPaused(19)) == [Reply(2)]
    assert turn.step(Token(2, "Hello. Good")) == [Prepare(2, "Hello.")]
    assert turn.step(SpeechEnded(19)) == [Say(2, "Hello.")]
    assert turn.step(Token(2, " day.")) == []
    assert turn.step(DecodeEnded(2)) == [Say(2, "Good day.")]
    assert turn.step(Spoken(2, "Hello.")) == []
    assert turn.step(Spoken(2, "Good day.")) == [Remember("Hello. Good day.", cut=False)]
    assert turn.state is State.IDLE


def test_a_call_waits_for_the_end_of_the_turn():
    turn = turn_in(State.GUESSING)
    assert turn.step(Called(1, (CALL,))) == []
    assert turn.step(SpeechEnded(9)) == [Use(1, (CALL,))]
    answer = (Response("get_time", {"time": "14:05"}),)
    assert turn.step(Returned(1, answer)) == [GoOn(1, answer)]
    assert turn.step(Token(1, "It is 14:05.")) == []
    assert turn.step(DecodeEnded(1)) == [Say(1, "It is 14:05.")]


def test_a_call_of_a_guess_given_up_is_never_made():
    turn = turn_in(State.GUESSING)
    turn.step(Called(1, (CALL,)))
    turn.step(SpeechResumed(9))
    turn.step(SpeechPaused(20))
    assert turn.step(SpeechEnded(20)) == []


def test_barge_in_remembers_what_was_heard_since_the_response():
    turn = turn_in(State.REPLYING)
    turn.step(Token(1, "Let me look. "))
    turn.step(Called(1, (CALL,)))
    turn.step(Returned(1, (Response("get_time", {}),)))
    turn.step(Token(1, "It is 14:05. And more. "))
    turn.step(Spoken(1, "Let me look."))
    turn.step(Spoken(1, "It is 14:05."))
    assert turn.step(SpeechStarted(99)) == [Hold()]
    assert turn.step(SpeechConfirmed(99)) == [Hush(1), Remember("It is 14:05.", cut=True), Hear()]


def test_a_cough_lets_the_reply_go_on():
    turn = turn_in(State.REPLYING)
    turn.step(Token(1, "Hello. "))
    assert turn.step(SpeechStarted(99)) == [Hold()]
    assert turn.step(Token(1, "Bye. ")) == []
    assert turn.step(Called(1, (CALL,))) == []  # nothing is done in doubt
    assert turn.step(SpeechDropped(104)) == [Resume(), Say(1, "Bye."), Use(1, (CALL,))]
    assert turn.state is State.REPLYING


def test_a_cough_in_silence_is_forgotten():
    turn = turn_in(State.HEARING)
    assert turn.step(SpeechDropped(9)) == [Forget(1)]
    assert turn.state is State.IDLE


def test_stop_works_whoever_speaks():
    turn = turn_in(State.GUESSING)
    assert turn.step(Stopped()) == [Forget(1)]
    assert turn.is_late(Token(1, "more"))
    for state in (State.REPLYING, State.INTERRUPTED):
        turn = turn_in(state)
        turn.step(Due("ring"))
        assert turn.step(Stopped()) == [Hush(1), Remember("", cut=True)]  # and nothing rings
        assert turn.state is State.IDLE
    assert turn_in(State.IDLE).step(Stopped()) == []


def test_a_ring_leaves_no_trace_in_the_models_memory():
    turn = turn_in(State.IDLE)
    assert turn.step(Due("one")) == [Ring(1, "one")]
    assert turn.step(SpeechStarted(5)) == [Hold()]
    assert turn.step(SpeechConfirmed(5)) == [Hush(1), Hear()]


def test_a_broken_voice_ends_the_reply_in_silence():
    turn = turn_in(State.REPLYING)
    turn.step(Token(1, "Hello. Again. "))
    assert turn.step(Failed(1, "mouth", ValueError())) == [Hush(1), Remember("", cut=True)]
    assert turn.state is State.IDLE
    assert turn.is_late(Token(1, "more"))


def test_rings_wait_for_their_turn_and_for_each_other():
    turn = turn_in(State.HEARING)
    assert turn.step(Due("one")) == []
    assert turn.step(Due("two")) == []
    turn.step(SpeechPaused(9))
    turn.step(SpeechEnded(9))
    turn.step(Token(1, "Hello."))
    assert turn.step(DecodeEnded(1)) == [Say(1, "Hello.")]
    assert turn.step(Spoken(1, "Hello.")) == [Remember("Hello.", cut=False), Ring(2, "one")]
    assert turn.step(Spoken(2, "one")) == [Ring(3, "two")]
    assert turn.step(Spoken(3, "two")) == []
    assert turn.state is State.IDLE
