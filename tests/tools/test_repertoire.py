"""What pocket is measured by is kept out of what it is trained on, and no sentence means two things.

A wording that slips from the one into the other makes every figure of the model card better than it is.
"""

import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "assets" / "pocket" / "recipe"), str(ROOT / "tests" / "bench")]
import questions
import repertoire

FRAMES = {
    "timer": (repertoire.TIMER_DO, repertoire.TIMER_SAY, repertoire.TIMER_HELD),
    "brightness": (repertoire.LIGHT_DO, repertoire.LIGHT_SAY, repertoire.LIGHT_HELD),
    "volume": (repertoire.VOLUME_DO, repertoire.VOLUME_SAY, repertoire.VOLUME_HELD),
    "add_time": (repertoire.MORE_DO, repertoire.MORE_SAY, repertoire.MORE_HELD),
    "alarm": (repertoire.ALARM_DO, repertoire.ALARM_SAY, repertoire.ALARM_HELD),
} | {name: (intent.do, intent.say, intent.held) for name, intent in repertoire.INTENTS.items()}
"""Of each request: imperatives, others, and what only the measuring sets say."""
TOLD_IN_THE_CARD = {
    *("is a timer running", "how much time is left", "when does the timer end", "are there any timers"),  # requests
    *("is the light on", "is the light off", "how bright is the light", "how loud are you"),  # to be refused
}


def trained(name: str) -> list[str]:
    """Every wording that training draws, without polite frames."""
    do, say, _ = FRAMES[name]
    later_do, later_say = repertoire.LATER[name]
    return [*do, *say, *later_do, *later_say]


@pytest.mark.parametrize("name", FRAMES)
def test_no_wording_of_the_measuring_sets_is_trained_on(name: str) -> None:
    do, _, held = FRAMES[name]
    polite = {frame.format(text) for frame in repertoire.POLITE for text in do + repertoire.LATER[name][0]}
    assert held
    assert not set(held) & (set(trained(name)) | polite)


def test_no_wording_is_there_twice_or_means_two_things() -> None:
    assert not {text: count for text, count in Counter(text for name in FRAMES for text in trained(name)).items() if count > 1}


def test_of_the_questions_that_measure_it_training_says_those_that_the_card_names() -> None:
    rng = random.Random(1)
    drawn = {repertoire.foreign(rng, near=0.6).text for _ in range(30_000)}
    drawn |= {repertoire.request(rng, later=True).text for _ in range(30_000)}
    asked = {question for question, _, _ in questions.PAIRS}
    assert len(asked) == 20
    said = {question for question in asked if any(re.fullmatch(re.sub(r"{\w}", "[a-z ]+", question), text) for text in drawn)}
    assert said == TOLD_IN_THE_CARD


def test_speech_near_to_a_request_is_drawn_as_often_as_asked_for_and_refused() -> None:
    rng = random.Random(1)
    near = re.compile(
        "|".join(
            re.sub(r"{\w+}", "[A-Za-z ]+", text) for text in repertoire.UNFINISHED + repertoire.CLOSE + repertoire.LATER_QUESTIONS
        )
    )
    drawn = [repertoire.foreign(rng, questions=0, near=0.7) for _ in range(3000)]
    assert {one.answer for one in drawn} == {repertoire.REJECT}
    assert not {one.text for one in drawn} & repertoire.wordings()
    assert 0.69 < sum(bool(near.fullmatch(one.text)) for one in drawn) / len(drawn) < 0.9  # others are near by chance


def test_a_question_about_its_things_is_told_from_other_speech() -> None:
    rng = random.Random(1)
    assert all(repertoire.asks(repertoire.fill(rng, text)) for text in repertoire.QUESTIONS + repertoire.LATER_QUESTIONS)
    assert not repertoire.asks("is the moon at fifty percent")
