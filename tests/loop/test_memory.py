"""What the brain remembers when its memory is put in order, and somebody speaks meanwhile."""

import numpy as np
import pytest

from edge_assistant.brain import FULL, KEPT, Brain
from edge_assistant.frames import FRAME_SAMPLES
from edge_assistant.runtimes.scripted import ScriptedSession


def talked(turns):
    """A brain after so many turns, whose memory is as full as nobody's waiting needs; the frames of turn n are all n."""
    session = ScriptedSession(["Yes.<turn|>"] * 99, capacity=1000)
    brain = Brain(session)
    brain.open()
    for turn in range(1, turns + 1):
        ask(brain, turn)
    return brain, session


def ask(brain, value):
    brain.begin()
    for _ in range(30):
        brain.hear(np.full(FRAME_SAMPLES, value, np.float32))
    for _ in brain.reply(value):
        pass


def remembered(session):
    """The turns whose sound is in the cache, in order."""
    values = [int(pcm[0]) for pcm in session.sound]
    return sorted(set(values), key=values.index)


def test_undisturbed_the_last_turns_stay():
    brain, session = talked(18)
    for _ in brain.tidy():
        pass
    kept = remembered(session)
    assert kept == list(range(19 - len(kept), 19))
    assert 3 < len(kept) < 18
    assert session.position <= KEPT * session.capacity + 20


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_disturbed_the_last_turn_is_not_among_the_lost(steps):
    brain, session = talked(18)
    assert session.position > FULL * session.capacity
    job = brain.tidy()
    for _ in range(steps + 1):
        next(job)
    fed = remembered(session)
    job.close()
    ask(brain, 99)
    assert 18 not in fed
    assert remembered(session) == [*fed, 18, 99]
    assert session.text.count("<|turn>user") == len(fed) + 2


def test_a_long_system_turn_is_no_turn():
    """What many tools are declared with stands there always: once in order, the memory stays in order."""
    session = ScriptedSession(["Yes.<turn|>"] * 99, capacity=1600)
    brain = Brain(session, " word" * 500)
    brain.open()
    start, space = session.position, session.capacity - session.position
    turn = 0
    while session.position - start < (FULL - 0.05) * space:
        turn += 1
        ask(brain, turn)
    assert list(brain.tidy()) == []
    while session.position - start <= FULL * space:
        turn += 1
        ask(brain, turn)
    assert list(brain.tidy())
    assert session.position - start <= KEPT * space + 20
    kept = remembered(session)
    assert 3 < len(kept) < 18
    assert list(brain.tidy()) == []
    assert remembered(session) == kept


def test_nothing_is_put_in_order_while_there_is_room():
    brain, session = talked(3)
    before = session.text
    assert list(brain.tidy()) == []
    assert session.text == before
