"""Conversations as data, on the simulated clock."""

import itertools
import random
import re

import pytest
from sim import World, check

from edge_assistant.assistant import ANSWER_FRAMES, TIDY_FRAMES
from edge_assistant.brain import CANNOT, NOT_UNDERSTOOD
from edge_assistant.endpoint import Patience
from edge_assistant.frames import FRAME_MS
from edge_assistant.hearing import HearingConfig
from edge_assistant.prompt import ToolCall
from edge_assistant.runtime import Prompting
from edge_assistant.turn import APOLOGY, Remember, State

ASK = "." * 40 + "#" * 30 + "." * 200
TWO = "Hello. Bye.<turn|>"
SET = "<|tool_call>call:set_timer{minutes:12}<tool_call|><|tool_response>"
DONE = "Timer set for 12 minutes.<turn|>"


def test_plain_turn():
    world = World(TWO).run(ASK)
    check(world)
    assert world.said == ["Hello.", "Bye."]
    assert (world.when("Say")[0] - world.when("SpeechEnded")[0]) * FRAME_MS <= 32  # the guess hid the decoding
    assert [text for _, text in world.prepared] == ["Hello."]  # and the voice
    assert world.prepared[0][0] < world.when("SpeechEnded")[0]
    assert world.session.text == "<bos><|turn>user\n<|audio>♪<audio|><turn|>\n<|turn>model\nHello. Bye.<turn|>"


def test_every_frame_of_speech_reaches_the_cache_once_and_in_order():
    marks = "." * 40 + "#" * 30 + "." * 10 + "#" * 10 + "." * 400
    world = World(TWO, encode_ms=40).run(marks)  # an encoder that cannot keep up
    check(world)
    numbers = world.heard_frames
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] <= 41
    assert numbers[-1] >= 90


def test_the_first_syllable_is_kept():
    world = World(TWO).run(ASK)
    assert world.heard_frames[0] <= 40 - 8  # a quarter of a second before the first frame of speech


def test_barge_in_is_silent_within_the_start_wait():
    world = World(TWO, TWO, say_ms=3000).run("." * 40 + "#" * 30 + "." * 60 + "#" * 30 + "." * 600)
    check(world)
    barge = 40 + 30 + 60 + 1
    assert (world.when("Hold")[0] - barge) * FRAME_MS <= 96
    assert max(frame for frame, _ in world.sounding if frame < world.when("Hear")[1]) <= world.when("Hold")[0]
    assert world.all("Remember")[0] == Remember("", cut=True)  # no sentence was heard to its end


def test_history_is_what_was_heard():
    world = World("One two. Three four. Five six.<turn|>", TWO, say_ms=1000).run(
        "#" * 30 + "." * 19 + "." * 40 + "#" * 30 + "." * 300
    )
    check(world)
    assert "<|turn>model\nOne two.<turn|>\n<|turn>user" in world.session.text


def test_a_tool_runs_and_the_reply_goes_on():
    world = World(SET, DONE).run(ASK)
    check(world)
    assert world.used == [ToolCall("set_timer", {"minutes": 12})]
    assert world.said == ["Timer set for 12 minutes."]
    assert len(world.timers) == 1
    said = '<|"|>Timer set for 12 minutes.<|"|>'
    assert f"{SET}response:set_timer{{minutes:12,say:{said}}}<tool_response|>{DONE}" in world.session.text
    events = [m.event for m in world.moments]
    assert events == [
        "speech_started", "speech_ended", "first_token", "tool_call", "tool_response", "say", "first_sound", "done",
    ]  # fmt: skip


def test_no_tool_runs_while_speech_may_go_on():
    world = World(SET, DONE, token_ms=32).run("#" * 30 + "." * 15 + "#" * 10 + "." * 12)
    assert world.all("Called")  # the guess did call
    assert world.used == []
    world.run("." * 300)
    check(world)
    assert len(world.used) == 1


def test_a_timer_rings_when_nobody_speaks():
    call = "<|tool_call>call:set_timer{seconds:5}<tool_call|><|tool_response>"
    world = World(call, "Timer set for 5 seconds.<turn|>").run("#" * 30 + "." * 120)
    assert not world.all("Ring")
    world.run("#" * 60 + "." * 10)  # speaks while it comes due
    assert not world.all("Ring")
    world.run("." * 300)
    check(world)
    assert {ring.text for ring in world.all("Ring")} == {"Your timer for 5 seconds is done."}
    assert {m.more["text"] for m in world.moments if m.event == "ring"} == {"Your timer for 5 seconds is done."}


def test_a_ring_gives_way_to_speech():
    call = "<|tool_call>call:set_timer{seconds:3}<tool_call|><|tool_response>"
    world = World(call, "Timer set for 3 seconds.<turn|>", TWO, say_ms=2000).run("#" * 30 + "." * 130)
    assert world.state is State.REPLYING
    world.run("#" * 30 + "." * 300)
    check(world)
    assert world.said[-2:] == ["Hello.", "Bye."]


def test_a_tool_that_is_not_installed():
    call = "<|tool_call>call:set_light{on:true}<tool_call|><|tool_response>"
    world = World(call, "I can't do that here.<turn|>").run(ASK)
    check(world)
    assert 'response:set_light{error:<|"|>not available here<|"|>,hint:<|"|>there are only: get_time, ' in world.session.text
    assert world.said == ["I can't do that here."]


def test_an_unsure_call_is_not_done():
    world = World(SET, DONE, prompting=Prompting(min_call_probability=0.5), probability=0.7).run(ASK)
    check(world)
    assert world.used == []
    assert world.said == [NOT_UNDERSTOOD]
    assert world.session.text.endswith(f"<|turn>model\n{NOT_UNDERSTOOD}<turn|>")


def test_a_sure_call_is_done():
    world = World(SET, DONE, prompting=Prompting(min_call_probability=0.5), probability=0.99).run(ASK)
    assert len(world.used) == 1


@pytest.mark.parametrize(
    "broken",
    [
        "<|tool_call>call:set_timer{minutes:}<tool_call|><|tool_response>",
        "<|tool_call>call:set_timer{minutes:12<|tool_response>",
        "<|tool_call>set_timer<turn|>",
        "<|tool_response>",
        "<|tool_call>",
    ],
)
def test_a_malformed_call_gets_an_error_once(broken):
    world = World(broken, "Sorry, that did not work.<turn|>").run(ASK)
    check(world)
    assert world.used == []
    assert world.said == ["Sorry, that did not work."]
    assert "error:" in world.session.text

    world = World(broken, broken, broken).run(ASK)
    check(world)
    assert world.said == [CANNOT]


def test_a_model_without_a_system_turn_gets_no_second_try():
    broken = "<|tool_call>call:set_timer{minutes:<tool_call|><|tool_response>"
    world = World(broken, "The light is on.<turn|>", prompting=Prompting(system=False)).run(ASK)
    check(world)
    assert world.said == [NOT_UNDERSTOOD]
    assert "set_timer" not in world.session.text


def test_a_model_that_only_calls_is_stopped():
    world = World(*[SET] * 10).run(ASK)
    check(world)
    assert len(world.used) == 3
    assert world.said == [CANNOT]


def test_two_calls_at_once():
    call = "<|tool_call>call:get_time{}<tool_call|><|tool_call>call:get_date{}<tool_call|><|tool_response>"
    world = World(call, "", "It is 14:05 on Tuesday.<turn|>").run(ASK)
    assert [use.name for use in world.used] == ["get_time", "get_date"]
    assert world.said == ["It is 14:05 on Tuesday."]
    assert (
        'time:<|"|>14:05<|"|>}<tool_response|><|tool_response>response:get_date{date:<|"|>24 November 2026<|"|>'
        in world.session.text
    )


def test_a_reply_that_never_stops_is_closed():
    world = World("word " * 300).run("#" * 30 + "." * 3000)
    check(world)
    assert world.session.text.endswith("<turn|>")


def test_thoughts_and_control_tokens_are_not_spoken():
    world = World("<|channel>thought\nSecret. Words.<channel|>Good **day**.<turn|>").run(ASK)
    assert world.said == ["Good day."]


def test_a_fault_is_spoken_and_leaves_it_idle():
    world = World(TWO, breaks={"brain": "out of memory"}).run(ASK)
    check(world)
    assert world.said == [APOLOGY]


def test_a_tool_that_breaks_is_an_apology():
    world = World(SET, DONE, breaks={"hands": "no disk"}).run(ASK)
    check(world)
    assert world.said == [APOLOGY]
    assert "set_timer" not in world.session.text


def test_a_voice_that_breaks_leaves_it_idle():
    world = World(TWO, TWO, breaks={"mouth": "no voice"}).run(ASK * 2)
    assert world.state is State.IDLE
    assert world.session.text.count("<|turn>model\n<turn|>") == 2  # nothing was heard


def test_a_fault_in_the_encoder_is_fatal():
    world = World(TWO)
    world.session.feed_audio = lambda pcm: 1 / 0
    with pytest.raises(RuntimeError, match="division"):
        world.run("#" * 30)


def test_long_speech_goes_on_in_a_further_clip():
    world = World(TWO).run("#" * 2000 + "." * 100)  # 64 s
    check(world)
    assert world.session.text.count("<|audio>♪<audio|><|audio>♪<audio|><|audio>♪<audio|><turn|>") == 1
    clips = "".join(world.session.cache).split("<|audio>")[1:]
    assert max(clip.count("♪") for clip in clips) <= 30 * 25 + 1


def test_speech_longer_than_the_cache_keeps_its_beginning():
    world = World(TWO, capacity=800).run("#" * 3000 + "." * 100)
    assert world.state is State.IDLE
    assert world.said == ["Hello.", "Bye."]
    assert world.session.position <= 800


def test_a_filling_cache_forgets_the_oldest_turns_while_nobody_waits():
    lines = [f"Answer {n}.<turn|>" for n in range(60)]
    world = World(*lines, capacity=1200)
    for _ in range(40):
        world.run(ASK)
        check(world, forgetful=True)
        text = world.session.text
        assert text.startswith("<bos><|turn>user\n<|audio>♪")
        assert world.said[-1] in text  # the last turn is never forgotten
        assert world.session.position <= 0.6 * 1200
    assert len(world.all("Say")) == 40


def test_who_speaks_while_the_memory_is_put_in_order_does_not_wait():
    world = World(*[TWO] * 30, capacity=1200)
    turns, waits = [], set()
    for n in range(60):
        world.run("." * (TIDY_FRAMES - 1 - world.assistant._rested))  # speech is known as such 3 frames later
        world.run("#" * 30 + "." * 60)
        if n > Patience.TURNS:  # from then on the wait for the end is always the same
            waits.add(world.when("Say")[-1] - world.when("SpeechEnded")[-1])
        check(world, forgetful=True)
        starts = [event.frame for event in world.all("SpeechStarted")]
        assert n == 0 or starts[-2] + 1 in world.heard_frames  # the last turn is never lost
        turns.append(world.session.text.count("<|turn>user"))
    lost = [after for before, after in itertools.pairwise(turns) if after <= before]
    assert len(lost) >= 2
    assert max(lost) <= 5  # not everything that could stay was waited for
    assert len(waits) == 1


@pytest.mark.parametrize(("pause", "most"), [(20, 2), (120, 1)])
def test_a_model_that_bears_few_turns_remembers_few(pause, most):
    world = World(*[TWO] * 20, prompting=Prompting(memory_turns=1))
    for turn in range(1, 6):
        world.run("#" * 30 + "." * (60 + pause))
        check(world, forgetful=True)
        assert world.session.text.count("<|turn>user") == min(
            turn, most
        )  # the rest goes when nobody waits, or when the next begins


def test_a_talk_without_a_breath_forgets_all_but_the_last_turn():
    world = World(*[TWO] * 100, capacity=1200)
    for _ in range(40):
        world.run("#" * 30 + "." * 60)  # speaks again before the memory can be put in order
    world.run("." * 60)
    check(world, forgetful=True)
    assert len(world.all("Say")) == 80
    assert world.session.text.count("<|turn>user") >= 2


def test_a_cough_lets_the_reply_go_on_where_it_was():
    world = World("One two. Three four.<turn|>", say_ms=2000).run("#" * 30 + "." * 60 + "#" * 8 + "." * 200)
    check(world)
    held, resumed = world.when("Hold")[0], world.when("Resume")[0]
    sounding = [frame for frame, _ in world.sounding]
    assert not [frame for frame in sounding if held < frame <= resumed - 1]
    assert len(sounding) == 2 * 2000 // FRAME_MS  # every frame of both sentences sounded, once
    assert [x.text for x in world.all("Spoken")] == ["One two.", "Three four."]
    assert world.session.text.endswith("One two. Three four.<turn|>")


def test_a_click_gets_no_reply():
    world = World(TWO).run("." * 40 + "#" * 4 + "." * 100)
    check(world)
    assert world.session.text == "<bos>"
    assert world.said == []


def test_stop_silences_at_once():
    world = World("One. Two. Three.<turn|>", TWO, say_ms=2000).run("#" * 30 + "." * 60 + "!" + "." * 40)
    check(world)
    assert max(frame for frame, _ in world.sounding) <= world.when("Stopped")[0]
    world.run(ASK)
    check(world)
    assert world.said[-2:] == ["Hello.", "Bye."]


def test_stop_while_speaking_is_no_turn():
    world = World(TWO).run("#" * 30 + "!" + "#" * 30 + "." * 100)
    check(world)
    assert world.session.text == "<bos>"


def test_silence_answers_nothing():
    world = World(TWO).run("." * 5000)
    assert world.log == []
    assert world.session.text == "<bos>"


LINES = [
    "Yes.<turn|>",
    "One. Two. Three.<turn|>",
    "<turn|>",
    "A very long sentence that goes on for quite a while. Short.<turn|>",
    SET,
    "Well. " + SET,
    "<|tool_call>call:get_time{}<tool_call|><|tool_response>",
    "<|tool_call>call:set_timer{seconds:2}<tool_call|><|tool_response>",
    "<|tool_call>call:oops<tool_call|><|tool_response>",
    "<|tool_call>call:get_date{}<tool_call|><turn|>",
    "No end",
    "Another end.<eos>",
]


def dialogue(seed: int, journal=None) -> World:
    """A random conversation, at its end."""
    r = random.Random(seed)
    marks = "".join(r.choice("#.#.#.#.~!s") * r.randint(1, r.choice([12, 60])) for _ in range(r.randint(1, 14)))
    marks = re.sub("!+", "!", re.sub("s+", "s", marks))
    world = World(
        *[r.choice(LINES) for _ in range(30)],
        encode_ms=r.choice([0, 32, 64]),
        token_ms=r.randint(1, 250),
        say_ms=r.randint(32, 2000),
        tool_ms=r.randint(32, 500),
        breaks={r.choice(["brain", "hands"]): "boom"} if r.random() < 0.1 else None,
        hearing=HearingConfig(),
        journal=journal,
    )
    world.run(marks)
    for _ in range(5):  # what rings goes on ringing
        world.run("." * (ANSWER_FRAMES + TIDY_FRAMES))  # all that rest brings about comes within them
        if world.settled:
            return world
    world.run("." * 700)
    return world if world.state is State.IDLE else world.run("." * 600)  # timers that ring again just then


@pytest.mark.parametrize("block", range(10))
def test_any_dialogue_comes_to_rest(block):
    for seed in range(block * 60, block * 60 + 60):
        try:
            check(dialogue(seed))
        except (AssertionError, LookupError) as error:
            raise AssertionError(f"seed {seed}") from error


def test_the_same_script_gives_the_same_log():
    def lines(world):
        return [(frame, str(event)) for frame, event in world.log]

    assert lines(dialogue(3)) == lines(dialogue(3))
