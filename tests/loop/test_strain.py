"""A board that is hot, weak or crowded: the loop works less, and gives memory back when nobody speaks."""

from sim import World

from edge_assistant.frames import FRAME_MS, SpeechEnded, SpeechPaused, Strained
from edge_assistant.journal import event_line, read_event
from edge_assistant.turn import State

SAID = "#" * 30
SILENCE = "." * 60
LONG = "One two three four five six seven eight. " * 12 + "<turn|>"


def waits(world):
    """From a pause to the end of the turn, in ms."""
    at = {type(event): now for now, event in world.log if isinstance(event, SpeechPaused | SpeechEnded)}
    return (at[SpeechEnded] - at[SpeechPaused]) * FRAME_MS


def test_guesses_begin_late_and_replies_are_brief():
    usual, spared = World(LONG, token_ms=32), World(LONG, token_ms=32)
    spared.inbox.put(Strained(spare=True))
    for world in (usual, spared):
        world.run("." * 10 + SAID + SILENCE * 20)
    assert waits(usual) > 350
    assert waits(spared) < 200
    assert len(spared.moments) < len(usual.moments)
    assert spared.session.text.count("One") == 3
    assert usual.session.text.count("One") == 12
    spared.inbox.put(Strained(spare=False))
    spared.session.replies = [LONG, LONG]
    spared.run(SAID + SILENCE * 20)
    assert spared.session.text.count("One") == 3 + 12


def test_memory_is_given_back_at_rest_and_only_then(monkeypatch):
    world = World("Yes.<turn|>", "No.<turn|>", "Well.<turn|>", token_ms=32)
    shed = []
    monkeypatch.setattr(type(world.session), "shed", lambda session: shed.append(world.state))
    world.run("." * 10 + SAID + SILENCE + SAID + SILENCE)
    assert world.session.text.count("♪") == 2
    world.run(SAID)
    world.inbox.put(Strained(spare=True, shed=True))
    world.run("." * 8)
    assert shed == []  # somebody is speaking
    world.run(SILENCE + "." * 60)
    assert shed == [State.IDLE]
    assert world.session.text.count("♪") == 1
    assert "Well." in world.session.text


def test_the_journal_keeps_it():
    event = Strained(spare=True, shed=True)
    assert read_event(event_line(event)) == event
