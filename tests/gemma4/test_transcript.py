"""The brain's side step, on a real session: afterwards the cache is as if nobody had asked for a transcript."""

import numpy as np
import pytest

from edge_assistant.brain import Brain
from edge_assistant.prompt import format_system
from edge_assistant.runtime import Sampling

CALL = "<|tool_call>call:take_note{}<tool_call|><|tool_response>"
SOUND = np.random.default_rng(5).normal(0, 0.1, 16_000).astype(np.float32)


def transcript(steps):
    """What it comes to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def spoken_to(session):
    """A brain whose model has just called a tool, and where its call begins."""
    brain = Brain(session, format_system("Help.", []), Sampling(max_tokens=8), transcribed={"take_note": "said"})
    brain.open()
    brain.begin()
    brain._room = len(SOUND)
    for part in np.array_split(SOUND, 31):
        brain.hear(part)
    brain._hand_over()
    call_at = session.position
    session.feed_text(CALL)
    return brain, call_at


def goes_on(session):
    session.feed_text("response:take_note{}<tool_response|>")
    return [(token.id, round(token.probability, 4)) for token in session.decode(Sampling(max_tokens=12))]


@pytest.fixture
def expected(model):
    session = model.session(512)
    spoken_to(session)
    return session.position, goes_on(session)


def test_nothing_is_left_of_it(session, expected):
    brain, call_at = spoken_to(session)
    assert isinstance(transcript(brain._transcribe(call_at)), str)
    assert (session.position, goes_on(session)) == expected


@pytest.mark.parametrize("after", [1, 2, 5])
def test_nothing_is_left_of_it_when_it_is_given_up(session, expected, after):
    brain, call_at = spoken_to(session)
    steps = brain._transcribe(call_at)
    for _ in range(after):
        next(steps)
    steps.close()
    assert (session.position, goes_on(session)) == expected


def test_nothing_is_left_of_it_when_there_is_no_room(model, expected):
    session = model.session(expected[0] + 40)
    brain, call_at = spoken_to(session)
    assert transcript(brain._transcribe(call_at)) == ""
    assert (session.position, goes_on(session)) == expected


def test_a_guess_may_still_be_taken_back(session):
    brain, call_at = spoken_to(session)
    steps = brain._transcribe(call_at)
    next(steps)
    steps.close()
    brain.rewind()
    brain.hear(SOUND)
    twin = session.position
    brain.forget()
    assert session.position < twin
