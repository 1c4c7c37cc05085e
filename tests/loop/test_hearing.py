"""What was not heard well enough is asked for, once, and neither decoded nor acted upon."""

import pytest
from sim import World, check

from edge_assistant.frames import Unclear
from edge_assistant.hearing import Hearing, HearingConfig, Measured

ASK = "." * 40 + "#" * 30 + "." * 200
FAINT = "." * 40 + "~" * 30 + "." * 200
TWO = "Hello. Bye.<turn|>"
SET = "<|tool_call>call:set_timer{minutes:12}<tool_call|><|tool_response>"
ROOM = 1e-6
CONFIG = HearingConfig()


def world(*lines):
    return World(*lines, hearing=CONFIG)


def test_what_is_too_faint_is_asked_for_and_not_decoded():
    heard = world(SET, TWO).run(FAINT)
    check(heard)
    assert [ring.text for ring in heard.all("Ring")] == ["Sorry, that was too quiet."]
    assert heard.session.text == "<bos>"
    assert not heard.all("Reply")
    assert heard.used == []


def test_the_question_comes_as_soon_as_a_reply_would():
    asked, answered = world(TWO).run(FAINT), world(TWO).run(ASK)
    assert asked.when("Ring") == answered.when("Say")[:1]


def test_it_is_asked_once_until_something_was_clear():
    heard = world(TWO, TWO).run(FAINT * 5)
    assert len(heard.all("Ring")) == 1
    assert [x.question for x in heard.all("Unclear")] == ["Sorry, that was too quiet.", "", "", "", ""]
    heard.run(ASK + FAINT)
    check(heard)
    assert len(heard.all("Ring")) == 2


def test_what_becomes_clear_is_answered():
    heard = world(TWO).run("." * 40 + "~" * 10 + "." * 10 + "#" * 30 + "." * 200)
    check(heard)
    assert heard.said == ["Hello.", "Bye."]
    assert not heard.all("Unclear")
    assert 41 in heard.heard_frames  # the faint part is kept


def test_a_cough_gets_no_question():
    heard = world(TWO).run("." * 40 + "~" * 4 + "." * 200)
    check(heard)
    assert not heard.all("Ring")


def test_a_timer_that_is_due_meanwhile_rings_after_the_question():
    call = "<|tool_call>call:set_timer{seconds:5}<tool_call|><|tool_response>"
    heard = world(call, "Set.<turn|>").run("#" * 30 + "." * 120 + "~" * 60 + "." * 300)
    rings = [ring.text for ring in heard.all("Ring")]
    assert rings[0] == "Sorry, that was too quiet."
    assert "timer" in rings[1]


def test_a_question_that_is_spoken_over_is_silent():
    heard = world(TWO).run("." * 40 + "~" * 30 + "." * 25 + "#" * 40 + "." * 200)
    check(heard)
    assert heard.all("Hush")
    assert heard.said == ["Hello.", "Bye."]


@pytest.mark.parametrize("sounding", ["#" * 30 + "." * 60, "#" * 30 + "." * 30])
def test_a_spoken_stop_silences_and_leaves_no_trace(sounding):
    heard = World("One. Two. Three.<turn|>", TWO, say_ms=2000).run(sounding + "#" * 12 + "..s" + "." * 100)
    check(heard)
    stopped = heard.when("Stopped")[0]
    assert max(frame for frame, _ in heard.sounding) < stopped
    assert heard.session.text.count("<|turn>user") == 1
    heard.run(ASK)
    assert heard.said[-2:] == ["Hello.", "Bye."]


def test_a_stop_with_nothing_to_stop_is_for_the_model():
    heard = World(TWO, TWO).run("." * 20 + "s" + "." * 20 + "#" * 12 + "..s" + "." * 100)
    check(heard)
    assert not heard.all("Stopped")
    assert heard.said == ["Hello.", "Bye."]
    heard.run("#" * 12 + "..s" + "." * 100)  # nor is what follows a reply
    assert not heard.all("Stopped")


def test_a_spoken_stop_works_while_the_model_is_busy():
    heard = World("word " * 500, TWO, token_ms=3000).run("#" * 30 + "." * 40 + "#" * 5 + "..s" + "." * 20)
    assert heard.state.name == "IDLE"
    assert heard.when("Stopped") == [30 + 40 + 5 + 3]


def test_a_spoken_stop_ends_a_ring_and_those_that_wait():
    call = "<|tool_call>call:set_timer{seconds:2}<tool_call|><|tool_call>call:set_timer{seconds:2}<tool_call|><|tool_response>"
    heard = World(call, "", "Set.<turn|>", say_ms=3000).run("#" * 30 + "." * 25)
    while not heard.all("Ring"):
        heard.run(".")
    heard.run("." * 40 + "#" * 12 + "..s" + "." * 400)
    assert len(heard.all("Ring")) == 1
    assert heard.state.name == "IDLE"


def quality(speech, room=None, clipped=0.0, probability=1.0, length=20):
    hearing = Hearing(CONFIG)
    for number in range(40):
        if room is not None:
            hearing.step(number, Measured(0.0, room, 0.0))
    for number in range(40, 40 + length):
        hearing.step(number, Measured(probability, speech, clipped))
        if number == 42:
            hearing.begin(40)
    return hearing


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        (dict(speech=0.01, room=ROOM), None),
        (dict(speech=0.01), None),
        (dict(speech=0.01, room=0.0), None),
        (dict(speech=1e-8, room=1e-11), "Sorry, that was too quiet."),
        (dict(speech=1e-8), "Sorry, that was too quiet."),
        (dict(speech=0.5, room=ROOM, clipped=0.5), "Sorry, that was too loud."),
        (dict(speech=0.01, room=0.009), "Sorry, I didn't catch that."),
        (dict(speech=0.01, room=0.011), "Sorry, I didn't catch that."),
        (dict(speech=0.01, room=ROOM, length=4), "Sorry, I didn't catch that."),
        (dict(speech=0.01, room=0.009, probability=0.6), ""),
    ],
)
def test_what_is_usable(what, complaint):
    assert quality(**what).complaint() == complaint


def test_the_numbers_of_a_turn():
    hearing = quality(0.02, room=0.01, clipped=0.25)
    found = hearing.quality()
    assert found.speech_ms == 640
    assert found.level_dbfs == pytest.approx(-17, abs=0.1)
    assert found.snr_db == pytest.approx(0, abs=0.01)
    assert found.clipped == 0.25
    assert found.voice == 1


def test_unclear_is_of_a_frame():
    heard = world(TWO).run(FAINT)
    assert heard.all("Unclear") == [Unclear(70, "Sorry, that was too quiet.")]
