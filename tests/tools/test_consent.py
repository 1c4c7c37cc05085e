"""A yes is a yes, and nothing else; and nothing is said to be done that was not."""

import sys
from pathlib import Path
from typing import Annotated

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "loop"))
from sim import World, check
from test_dialogues import ASK

from edge_assistant.assistant import ANSWER_FRAMES
from edge_assistant.attention import AttentionConfig
from edge_assistant.brain import CANNOT
from edge_assistant.consent import NOT_DONE, NOTHING_DONE, claims, says_yes
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.frames import Due, Muted, Unanswered
from edge_assistant.journal import Journal
from edge_assistant.prompt import ToolCall
from edge_assistant.replay import replay
from edge_assistant.runtime import Prompting
from edge_assistant.tools import Between, Result, Risk, Toolbox, ToolError, tool

QUESTION = "Shall I shut down?"
CALL = "<|tool_call>call:shutdown{}<tool_call|><|tool_response>"
TURN = "#" * 30 + "." * 120
YESES = [
    "yes",
    "Yes.",
    "Yes, please!",
    "yeah",
    "Yes yes",
    "Okay.",
    "Sure, go ahead.",
    "um, yes",
    "Do it",
    "of course",
    "Yes, do it now.",
]
NOES = [
    "", "no", "No, thank you.", "Yes and no", "yes but not now", "yesterday", "what?", "Is it yes or no?", "not yes", "don't",
    "yes, set a timer", "the", "Sorry, I did not understand that.", "stop", "Yes?! What do you mean", "he said yes", "wait", "y",
    "okay so what time is it", "<|tool_call>call:shutdown{}", "yes no", "Shall I shut down?", "ja",
]  # fmt: skip


class Machine:
    def __init__(self, world, fails=False):
        self.shut_down, self.fails = 0, fails
        world.tools = Toolbox([tool(self.shutdown, risk=Risk.ASKS, question=QUESTION), tool(self.blink)])

    def shutdown(self) -> Result:
        """Turn the computer off."""
        if self.fails:
            raise ToolError("not allowed")
        self.shut_down += 1
        return Result({"off": True}, "Shutting down.")

    def blink(self, times: Annotated[int, Between(1, 3)] = 1) -> Result:
        """Blink.

        Args:
            times: How often.
        """
        return Result({"blinked": times})


def asked(answer, *more, fails=False, **options):
    world = World(CALL, answer, *more, **options)
    return world, Machine(world, fails)


@pytest.mark.parametrize("answer", YESES)
def test_a_yes_does_it(answer):
    world, machine = asked(answer + "<turn|>")
    world.run(ASK)
    assert world.said == [QUESTION]
    assert machine.shut_down == 0
    world.run(ASK)
    check(world)
    assert machine.shut_down == 1
    assert world.said == [QUESTION, "Shutting down."]
    assert f"{QUESTION}<turn|>" in world.session.text
    assert world.session.text.endswith("<|turn>model\nShutting down.<turn|>")
    world.run(ASK)  # one yes, one time
    assert machine.shut_down == 1


@pytest.mark.parametrize("answer", NOES)
def test_anything_else_does_not(answer):
    world, machine = asked(answer + "<turn|>", "Yes.<turn|>")
    world.run(ASK + ASK)
    check(world)
    assert machine.shut_down == 0
    assert world.said == [QUESTION, NOT_DONE]
    world.run(ASK)  # and a later yes is none
    check(world)
    assert machine.shut_down == 0


def test_to_call_again_is_no_yes():
    world, machine = asked(CALL, CALL, "Yes.<turn|>")
    world.run(ASK + ASK)
    check(world)
    assert (machine.shut_down, world.said) == (0, [QUESTION, NOT_DONE])


def test_a_model_that_was_not_told_of_tools_writes_down_as_well_as_it_can():
    world, machine = asked("Sorry, I did not understand that.<turn|>", prompting=Prompting(system=False))
    world.run(ASK + ASK)
    assert machine.shut_down == 0
    assert "Write down" not in world.session.text


@pytest.mark.parametrize(
    ("answer", "probability", "does"),
    [("Yes.", 0.99, 1), ("Yes.", 0.7, 0), ("Okay.", 0.99, 0), ("No.", 0.99, 0), ("Yes. Good night.", 0.99, 0)],
)
def test_of_such_a_model_only_its_own_sure_yes_counts(answer, probability, does):
    """pocket says "Okay." to "stop"."""
    world, machine = asked("", prompting=Prompting(system=False, min_call_probability=0.85))
    world.run(ASK)
    world.session.probability, world.session.replies = probability, [answer + "<turn|>"]
    world.run(ASK)
    assert QUESTION not in world.session.text  # it hears the answer by itself
    assert machine.shut_down == does
    assert world.said == [QUESTION, "Shutting down." if does else NOT_DONE]


def test_the_model_is_told_to_write_down():
    world, _ = asked("Yes.<turn|>")
    world.run(ASK + ASK)
    assert f'<|turn>user\nWrite down word for word what the user answers to "{QUESTION}" and nothing else.\n<|audio>♪' in (
        world.session.text
    )


def test_silence_is_a_no():
    world, machine = asked("Yes.<turn|>", "Yes.<turn|>")
    world.run(ASK + "." * (ANSWER_FRAMES + 40))
    assert world.all("Unanswered") == [Unanswered()]
    world.run(ASK)
    check(world)
    assert machine.shut_down == 0


def test_a_cough_is_no_answer_and_the_question_stands():
    world, machine = asked("Yes.<turn|>")
    world.run(ASK + "##" + "." * 60 + ASK)
    check(world)
    assert machine.shut_down == 1


def test_a_pause_within_the_answer_does_nothing_on_a_guess():
    world, machine = asked("Yes.<turn|>", token_ms=32)
    world.run(ASK + "#" * 30 + "." * 12)
    assert machine.shut_down == 0  # decoded, but only a guess
    world.session.replies = [CALL, "Yes, but not yet.<turn|>", "Yes, but not yet.<turn|>"]
    world.run("#" * 20 + "." * 200)
    check(world)
    assert (machine.shut_down, world.said) == (0, [QUESTION, NOT_DONE])


def test_what_comes_between_takes_the_question_back():
    for between in ("!", "ring", "mute"):
        world, machine = asked("Yes.<turn|>", "Yes.<turn|>")
        world.run(ASK)
        if between == "ring":
            world.inbox.put(Due("Your timer is done."))
        if between == "mute":
            world.inbox.put(Muted(True))
            world.inbox.put(Muted(False))
        world.run(("!" if between == "!" else "") + "." * 60 + ASK)
        check(world)
        assert machine.shut_down == 0, between


def test_who_does_not_hear_the_question_out_has_not_said_yes_to_it():
    world, machine = asked("Yes.<turn|>", say_ms=3000)
    world.run("." * 40 + "#" * 30 + "." * 50 + "#" * 30 + "." * 300)
    check(world)
    assert world.all("Hush")
    assert machine.shut_down == 0


def test_a_tool_that_fails_after_the_yes_says_so():
    world, machine = asked("Yes.<turn|>", fails=True)
    world.run(ASK + ASK)
    check(world)
    assert (machine.shut_down, world.said) == (0, [QUESTION, "Sorry, that did not work."])


def test_a_call_that_asks_does_not_run_beside_another():
    both = "<|tool_call>call:blink{}<tool_call|><|tool_call>call:shutdown{}<tool_call|><|tool_response>"
    world = World(both, "", "Blinked.<turn|>", "Yes.<turn|>")
    machine = Machine(world)
    world.run(ASK + ASK)
    check(world)
    assert machine.shut_down == 0
    assert "call it alone" in world.session.text


def test_asking_and_answering_replays(tmp_path):
    endpoint, attention = EndpointConfig(), AttentionConfig()
    with Journal(tmp_path / "journal", endpoint, attention, judged=False) as journal:
        world = World(CALL, "Yes.<turn|>", CALL, "No.<turn|>", CALL, journal=journal, endpoint=endpoint, attention=attention)
        machine = Machine(world)
        world.run(ASK * 4 + ASK + "." * (ANSWER_FRAMES + 50))
    assert machine.shut_down == 1
    assert world.all("Unanswered")
    text = (tmp_path / "journal").read_text()
    assert '"confirmed": true' in text  # audited
    assert '"question": "Shall I shut down?"' in text
    assert replay(tmp_path / "journal").commands > 20


@pytest.mark.parametrize("text", YESES)
def test_yes(text):
    assert says_yes(text)


@pytest.mark.parametrize("text", NOES)
def test_no(text):
    assert not says_yes(text)


CLAIMS = [
    "Done.", "All done!", "Okay, done.", "I've set a timer for ten minutes.", "I have turned off the light.", "I set the timer.",
    "Your timer is set.", "The kitchen light has been switched on.", "Timer set for 12 minutes.", "Turning the light on now.",
    "Okay, setting a timer.", "It's done.", "The pump is now running.", "Sure, I cancelled it.", "Volume raised.", "Note saved.",
    "Shutting down.", "It has been saved.", "I am turning it off.",
]  # fmt: skip
TALK = [
    "It is 14:05.", "Today is Tuesday, 24 November 2026.", "Shall I set a timer?", "I can set timers.", "Hello! How can I help?",
    "Okay.", "No timer is running.", "The set of Macbeth is dark.", "I have a question.", "Sorry, that did not work.",
    "You turned it off yourself.", "I can't do that here.", "Water boils at a hundred degrees.", "The light is on.", "I am fine.",
    "Set theory is a branch of mathematics.", "Good night. Sleep well.", "A timer would help.",
]  # fmt: skip


@pytest.mark.parametrize("sentence", CLAIMS)
def test_claims(sentence):
    assert claims(sentence)


@pytest.mark.parametrize("sentence", TALK)
def test_plain_talk_claims_nothing(sentence):
    assert not claims(sentence)


@pytest.mark.parametrize("sentence", CLAIMS)
def test_nothing_is_said_to_be_done_that_no_tool_has_done(sentence):
    world = World(f"{sentence} Anything else?<turn|>").run(ASK)
    check(world)
    assert world.said == [NOTHING_DONE, "Anything else?"]
    assert sentence not in world.session.text  # and the model does not believe it later


def test_what_comes_before_a_call_waits_for_the_tool():
    call = "<|tool_call>call:set_timer{minutes:12}<tool_call|><|tool_response>"
    world = World(f"Let me see. Timer set for 12 minutes. Enjoy. {call}", "Timer set for 12 minutes.<turn|>").run(ASK)
    check(world)
    assert world.said == ["Let me see.", "Timer set for 12 minutes."]


def test_a_failure_is_not_turned_into_a_success():
    world = World("<|tool_call>call:set_timer{hours:1000}<tool_call|><|tool_response>", "Your timer is set.<turn|>").run(ASK)
    check(world)
    assert len(world.timers) == 0
    assert world.said == [NOTHING_DONE]


def test_what_was_said_may_be_said_again():
    world = World("<|tool_call>call:set_timer{minutes:12}<tool_call|><|tool_response>", "Timer set for 12 minutes.<turn|>",
                  "Timer set for 12 minutes.<turn|>").run(ASK + ASK)  # fmt: skip
    check(world)
    assert world.said == ["Timer set for 12 minutes."] * 2


WRONG = "<|tool_call>call:set_lamp{on:true}<tool_call|><|tool_response>"
ARGUMENT = '<|tool_call>call:set_timer{minutes:<|"|>ten<|"|>}<tool_call|><|tool_response>'
BROKEN = "<|tool_call>call:set_timer{minutes:}<tool_call|><|tool_response>"


@pytest.mark.parametrize(
    ("call", "hint"), [(WRONG, "there are only: get_time"), (ARGUMENT, "minutes?: a whole number"), (BROKEN, "expected")]
)
def test_an_invented_call_is_put_right_once(call, hint):
    world = World(call, "I can't do that here.<turn|>").run(ASK)
    check(world)
    assert hint in world.session.text
    for second in (WRONG, ARGUMENT, BROKEN):
        world = World(call, second, "Timer set.<turn|>").run(ASK)
        check(world)
        assert world.said == [CANNOT]
        assert len(world.timers) == 0
    right = "<|tool_call>call:set_timer{minutes:12}<tool_call|><|tool_response>"
    world = World(call, right, "Timer set for 12 minutes.<turn|>").run(ASK)
    check(world)
    assert world.said == ["Timer set for 12 minutes."]
    assert world.used[-1] == ToolCall("set_timer", {"minutes": 12})


def test_a_small_model_is_told_what_it_was_trained_on():
    world = World(WRONG, "I can't do that here.<turn|>", prompting=Prompting(system=False)).run(ASK)
    assert 'response:set_lamp{error:<|"|>not available here<|"|>}<tool_response|>' in world.session.text
    world = World("<|tool_call>call:get_time{}<tool_call|><|tool_response>", prompting=Prompting(system=False)).run(ASK)
    assert 'response:get_time{time:<|"|>14:05<|"|>}<tool_response|>' in world.session.text


def test_who_has_asked_is_never_left_in_silence():
    for empty in ("<turn|>", "***<turn|>", "<|channel>thought\nHm.<channel|><turn|>"):
        world = World(empty).run(ASK)
        check(world)
        assert world.said == ["Sorry, I did not understand that."]
    world = World("<|tool_call>call:get_time{}<tool_call|><|tool_response>", "<turn|>").run(ASK)
    check(world)
    assert world.said == ["It is 14:05."]  # in the tool's own words
