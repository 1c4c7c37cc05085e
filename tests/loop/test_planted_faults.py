"""The random dialogues are only worth their time if they see what is wrong: every fault planted here must be caught."""

import pytest
from sim import SimWorker, World, check
from test_dialogues import dialogue

from edge_assistant.assistant import Assistant
from edge_assistant.brain import Brain
from edge_assistant.endpoint import Endpointer
from edge_assistant.frames import Called, SpeechResumed, Unclear
from edge_assistant.hearing import Hearing
from edge_assistant.speaker import Speaker
from edge_assistant.turn import Forget, Hold, Remember, Rewind, Turn, Use

DIALOGUES = 120


def no_op(*_, **__):
    return None


def deaf_to_resuming(patch):
    step = Endpointer.step
    patch.setattr(Endpointer, "step", lambda self, *a: None if isinstance(e := step(self, *a), SpeechResumed) else e)


def no_rewind(patch):
    patch.setattr(Brain, "rewind", no_op)


def rewind_without_looking(patch):
    def rewind(self):
        self._session.cut(self._heard)
        self._open, self._clip = True, self._clip_heard

    patch.setattr(Brain, "rewind", rewind)


def forgets_what_came_since_the_guess(patch):
    do = Assistant._do

    def faulty(self, command):
        if isinstance(command, Rewind):
            self._since_guess.clear()
        do(self, command)

    patch.setattr(Assistant, "_do", faulty)


def feeds_the_preroll_twice(patch):
    begin = Brain.begin

    patch.setattr(Brain, "begin", lambda self: (begin(self), [self.hear(p) for p in self._session.sound[-1:]]))


def no_flush(patch):
    patch.setattr(Speaker, "flush", no_op)


def late_news_counts(patch):
    patch.setattr(Turn, "is_late", lambda self, event: False)


def cancels_nothing(patch):
    patch.setattr(SimWorker, "drop", no_op)


def remembers_everything(patch):
    patch.setattr(Brain, "remember", no_op)


def remembers_nothing(patch):
    remember = Brain.remember
    patch.setattr(Brain, "remember", lambda self, text: remember(self, ""))


def tools_run_on_a_guess(patch):
    step = Turn.step

    def faulty(self, event):
        commands = step(self, event)
        return [*commands, Use(self.reply, event.calls)] if isinstance(event, Called) and not commands else commands

    patch.setattr(Turn, "step", faulty)


def says_all_at_once_and_forgets(patch):
    step = Turn.step
    patch.setattr(Turn, "step", lambda self, event: [c for c in step(self, event) if not isinstance(c, Remember)])


def loses_the_turn_mark(patch):
    patch.setattr(Brain, "_close", no_op)


def goes_on_sounding_in_doubt(patch):
    patch.setattr(Speaker, "hold", no_op)


def never_resumes(patch):
    patch.setattr(Speaker, "resume", no_op)


def a_cough_stays_in_the_cache(patch):
    patch.setattr(Brain, "forget", no_op)


def loses_the_first_words_of_a_barge_in(patch):
    do = Assistant._do

    def faulty(self, command):
        do(self, command)
        if isinstance(command, Hold):
            self._preroll.clear()

    patch.setattr(Assistant, "_do", faulty)


def stop_leaves_the_endpointer_in_the_turn(patch):
    patch.setattr(Endpointer, "reset", no_op)


def answers_what_it_did_not_hear(patch):
    patch.setattr(Hearing, "complaint", lambda self: None)


def asks_again_and_again(patch):
    end = Hearing.end
    patch.setattr(Hearing, "end", lambda self, asked: end(self, None))


def what_was_not_heard_stays_in_the_cache(patch):
    step = Turn.step

    def faulty(self, event):
        commands = step(self, event)
        return [c for c in commands if not (isinstance(event, Unclear) and isinstance(c, Forget))]

    patch.setattr(Turn, "step", faulty)


FAULTS = [
    answers_what_it_did_not_hear,
    asks_again_and_again,
    what_was_not_heard_stays_in_the_cache,
    goes_on_sounding_in_doubt,
    never_resumes,
    a_cough_stays_in_the_cache,
    loses_the_first_words_of_a_barge_in,
    stop_leaves_the_endpointer_in_the_turn,
    deaf_to_resuming,
    no_rewind,
    rewind_without_looking,
    forgets_what_came_since_the_guess,
    feeds_the_preroll_twice,
    no_flush,
    late_news_counts,
    cancels_nothing,
    remembers_everything,
    remembers_nothing,
    tools_run_on_a_guess,
    says_all_at_once_and_forgets,
    loses_the_turn_mark,
]


@pytest.mark.parametrize("plant", FAULTS)
def test_the_fault_is_caught(plant, monkeypatch):
    plant(monkeypatch)
    assert any(caught(seed) for seed in range(DIALOGUES)), "no dialogue showed it"


def caught(seed: int) -> bool:
    try:
        world: World = dialogue(seed)
        check(world)
    except Exception:  # noqa: BLE001 - whatever way it shows
        return True
    return False
