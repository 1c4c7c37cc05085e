"""Commands without the language model: heard at once, done once, taken back if the speaker goes on; whatever the model does."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from sim import World, check

from edge_assistant.attention import AttentionConfig
from edge_assistant.ears import PlainEars
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.fastpath import CAPACITY, CommandListener
from edge_assistant.frames import FRAME_MS, FRAME_SAMPLES, Commanded, Frame
from edge_assistant.hearing import HearingConfig
from edge_assistant.journal import Journal
from edge_assistant.models import find_model
from edge_assistant.prompt import ToolCall
from edge_assistant.replay import replay
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.runtimes.scripted import ScriptedSession
from edge_assistant.tools.schedule import Timer
from edge_assistant.turn import STOP
from edge_assistant.vad import SileroVad

CLIPS = Path(__file__).parent / "commands"
RATE_HZ = 16_000
UP = '<|tool_call>call:set_volume{change:<|"|>up<|"|>}<tool_call|><|tool_response>'
FORTY = "<|tool_call>call:set_volume{percent:40}<tool_call|><|tool_response>"
TIMER = "<|tool_call>call:set_timer{seconds:2}<tool_call|><|tool_response>"
LONG = "One. Two. Three.<turn|>"
SAY = "#" * 20 + "..."
END = "." * 100
REPLYING = "#" * 30 + "." * 30


def test_a_command_is_heard_at_once_and_done_once():
    world = World(UP, "").run("." * 20 + SAY + "u")
    assert world.signals == [(20 + 24, "understood")]
    assert world.speaker.gain == pytest.approx(0.6**2)
    assert world.volume.percent == 50  # nothing is done yet
    world.run(END)
    check(world)
    assert world.volume.percent == 60
    assert world.speaker.gain == pytest.approx(0.6**2)
    assert world.said == ["The volume is at 60 percent."]
    assert len(world.used) == 1
    assert world.session.text == "<bos>"  # the model never saw the turn
    events = [moment.event for moment in world.moments]
    assert events[:4] == ["speech_started", "understood", "speech_ended", "first_token"]
    assert events[4:] == ["tool_call", "tool_response", "say", "first_sound", "done"]


def test_its_sentence_does_not_wait_for_the_model():
    fast, slow = World(UP, "Louder.<turn|>").run(SAY + "u" + END), World(UP, "Louder.<turn|>").run(SAY + "." + END)
    assert fast.when("Say")[0] < slow.when("Say")[0]
    assert slow.used == fast.used


def test_a_reply_to_a_command_that_is_spoken_over_is_over():
    world = World(UP, "Hello.<turn|>", say_ms=2000).run(SAY + "u" + "." * 60 + "#" * 30 + END * 2)
    check(world)
    done = [(moment.turn, moment.more) for moment in world.moments if moment.event == "done"]
    assert done == [(1, {"heard": ""}), (2, {})]


def test_it_is_taken_back_when_the_speaker_goes_on():
    world = World(FORTY, "Forty.<turn|>", token_ms=32).run("." * 20 + SAY + "u.")
    assert world.speaker.gain == pytest.approx(0.6**2)
    world.run("##w")
    assert world.speaker.gain == pytest.approx(0.5**2)
    world.run("#" * 20 + END)
    check(world)
    assert [call.arguments for call in world.used] == [{"percent": 40}]
    assert world.volume.percent == 40
    assert set(range(21, 68)) - {44, 48} <= set(world.heard_frames)  # the model heard all of the sentence


def test_who_goes_on_after_the_guess_takes_it_back_even_if_the_listener_does_not():
    world = World(FORTY, "Forty.<turn|>", token_ms=32).run(SAY + "u....." + "#" * 20 + END)
    check(world)
    assert world.all("Rewind")
    assert [call.arguments for call in world.used] == [{"percent": 40}]
    assert world.speaker.gain == pytest.approx(0.4**2)


def test_up_twice_in_a_sentence_is_one_step():
    world = World(LONG).run(SAY + "u" + "#w" + "#" * 10 + "...u" + END)
    check(world)
    assert world.volume.percent == 60
    assert len(world.used) == 1


@pytest.mark.parametrize(
    "options",
    [
        dict(token_ms=30_000),  # busy
        dict(encode_ms=600_000),  # it hangs
        dict(breaks={"brain": "the weights are damaged"}),
    ],
    ids=["busy", "hung", "broken"],
)
def test_whatever_the_model_does(options):
    world = World("word " * 500, LONG, **options).run(REPLYING + "#" * 20 + "...u")
    assert world.signals[-1] == (world.now, "understood")
    world.run("." * 60)
    assert world.volume.percent == 60
    assert len(world.used) == 1
    assert world.said[-1] == "The volume is at 60 percent."


def test_the_timer_that_rings_is_cancelled_and_no_other():
    world = World(TIMER, "Set.<turn|>", say_ms=1500, token_ms=32).run("#" * 30 + "." * 40)
    while not world.all("Ring"):
        world.run(".")
    world.timers.add(lambda now: Timer("tea", 600, now.elapsed_s + 600))
    world.run("." * 10 + "#" * 20)
    silent = max(frame for frame, _ in world.sounding)
    world.run("...c" + "." * 1000)
    assert silent < world.when("Commanded")[0]
    assert len(world.all("Ring")) == 1
    assert [entry.name for entry, _ in world.timers.running()] == ["tea"]
    assert world.said[-1] == "Timer cancelled."


@pytest.mark.parametrize("word", ["#" * 20, "#" * 5])  # the shorter one alone would be a cough
def test_stop_silences_a_reply_for_good(word):
    world = World(LONG, say_ms=2000).run(REPLYING + word + "...q" + "." * 200)
    check(world)
    assert max(frame for frame, _ in world.sounding) <= len(REPLYING) + len(word)
    assert len(world.all("Stopped")) == 1
    assert world.used == []


def test_a_short_command_over_a_reply_is_meant():
    world = World(LONG, say_ms=2000).run(REPLYING + "#" * 5 + "...u" + "." * 200)
    assert world.volume.percent == 60
    assert not world.all("Resume")


def test_stop_with_nothing_to_stop_is_for_the_model():
    world = World("Okay.<turn|>").run(SAY + "q" + END)
    check(world)
    assert world.said == ["Okay."]
    assert not world.all("Stopped")


@pytest.mark.parametrize("when", ["", "." * 5])
def test_what_comes_too_late_is_not_done_again(when):
    world = World(UP, "Up.<turn|>", token_ms=32).run(SAY + "." * 25 + when + "u" + END)
    assert len(world.used) == 1
    assert world.volume.percent == 60
    assert world.signals == []


def test_what_was_found_in_the_last_turn_does_not_count_in_this_one():
    world = World(LONG, LONG, token_ms=32).run(SAY + "." * 60)
    late = Commanded(world.assistant.turn.reply, (ToolCall("set_volume", {"change": "up"}),))
    world.run("#" * 10)
    world.assistant.take(late)
    world.run("#" * 10 + END)
    assert world.used == []


def test_what_was_not_heard_well_commands_nothing():
    world = World(LONG, hearing=HearingConfig()).run("." * 40 + "~" * 20 + "...u" + END)
    check(world)
    assert world.signals == []
    assert world.used == []
    assert world.speaker.gain == pytest.approx(0.5**2)


def test_what_is_understood_again_is_not_signalled_again():
    assert len(World(UP, "").run(SAY + "uu" + END).signals) == 1


def test_a_stop_key_takes_it_back():
    world = World(LONG).run(SAY + "u!" + END)
    assert world.used == []
    assert world.speaker.gain == pytest.approx(0.5**2)


def test_an_answer_to_a_question_is_no_command():
    world = World(LONG).run("." * 20 + "#" * 20)
    world.assistant.turn._answers = object()
    world.run("...u")
    assert world.signals == []


def test_in_silence_the_listener_is_given_frames_by_the_dozen_and_in_speech_each_at_once():
    heard, jobs = [], []

    def understand(reply, pcm, speech):
        heard.append(speech)
        return
        yield

    world = World("Hello.<turn|>", understand=understand)
    do = world.assistant._listeners.do
    world.assistant._listeners.do = lambda reply, job: (jobs.append(world.assistant.taken), do(reply, job))
    world.run("." * 60 + "#" * 20 + "." * 90)
    assert len(heard) > 150  # all of them, in order
    assert [bool(value) for value in heard[58:82]] == 2 * [False] + 20 * [True] + 2 * [False]
    assert sum(30 < at <= 60 for at in jobs) <= 2
    assert [at for at in jobs if 60 < at <= 80] == list(range(61, 81))


def test_a_broken_listener_leaves_everything_to_the_model():
    def understand(reply, pcm, speech):
        raise RuntimeError("damaged")
        yield

    world = World(UP, "Up.<turn|>", token_ms=32, understand=understand).run(SAY + END)
    assert len(world.used) == 1
    assert world.volume.percent == 60


def test_a_replay_decides_the_same(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path, EndpointConfig(), AttentionConfig(), judged=False) as journal:
        world = World(LONG, FORTY, "Forty.<turn|>", LONG, say_ms=2000, journal=journal)
        world.run(REPLYING + "#" * 5 + "...u" + END + SAY + "m#w" + "#" * 20 + END + REPLYING + "#" * 20 + "...q" + END)
    assert len(world.all("React")) >= 6
    assert replay(path).commands == len([x for _, x in world.log if type(x).__module__.endswith("turn")])


@pytest.mark.parametrize("seed", range(30))
def test_whenever_commands_come_all_is_settled_at_rest(seed):
    """The listener says anything at any time: nothing breaks, and what was only shown is taken back."""
    r = random.Random(seed)
    marks = "".join(r.choice(["#" * r.randint(1, 25), "." * r.randint(1, 30), *"umcqw!s"]) for _ in range(60))
    world = World(*["One. Two.<turn|>"] * 60, say_ms=r.choice([64, 640]), token_ms=r.choice([0, 96]), hearing=HearingConfig())
    world.run(marks + "." * 400)
    assert world.state.name == "IDLE"
    assert world.speaker.gain == pytest.approx((world.volume.percent / 100) ** 2)
    assert len(world.used) == sum(len(use.calls) for use in world.all("Use")) <= len(world.all("SpeechEnded"))


# The listener itself: with a scripted model, and with the shipped one.


def frames_of(*parts_ms):
    """Silences and sounds in turn: (pcm, probability of speech) for every frame."""
    for part, ms in enumerate(parts_ms):
        for _ in range(ms // FRAME_MS):
            yield np.full(FRAME_SAMPLES, 0.1 if part % 2 else 1e-3, np.float32), float(part % 2)


def told(listener, frames):
    """What the listener told: the frame, and names or nothing."""
    return [(n, event.calls) for n, (pcm, speech) in enumerate(frames) for event in listener.hear(1, pcm, speech)]


def listener(*answers, probability=1.0, ringing=True):
    found = CommandListener(ScriptedSession(answers, probability=probability, capacity=2000))
    found.may_cancel = lambda: ringing
    return found


def test_it_is_asked_at_every_pause_and_takes_back():
    hears = listener(UP)
    found = told(hears, frames_of(640, 640, 128))
    hears._session.replies = [FORTY]
    found += [(44 + n, calls) for n, calls in told(hears, frames_of(0, 640, 800))]
    up, forty = (ToolCall("set_volume", {"change": "up"}),), (ToolCall("set_volume", {"percent": 40}),)
    assert found == [(40, up), (44, ()), (64, forty)]


def test_the_second_quiet_frame_may_know_better():
    hears = listener(UP)
    found = told(hears, frames_of(640, 640, 32))
    hears._session.replies = [FORTY]
    found += told(hears, frames_of(320))
    assert [(n, calls[0].arguments) for n, calls in found] == [(40, {"change": "up"}), (0, {"percent": 40})]


@pytest.mark.parametrize(("last", "again"), [(40, [(41, 2)]), (46, [(47, 2)]), (47, []), (55, [])])
def test_what_was_told_of_a_reply_that_was_given_up_is_told_again(last, again):
    """The turn that is spoken over a ring gets its number while the listener thinks. A turn that follows has another."""
    hears, told_ = listener(UP), []
    for n, (pcm, speech) in enumerate(frames_of(640, 640, 576)):
        told_ += [(n, event.reply) for event in hears.hear(1 if n <= last else 2, pcm, speech)]
    assert told_ == [(40, 1), *again]


def test_it_hears_what_came_just_before_the_sound():
    hears = listener(UP)
    told(hears, frames_of(640, 320))
    assert len(hears._session.sound) == 256 // FRAME_MS + 10
    assert hears._session.sound[0][0] == pytest.approx(1e-3)


def test_the_next_sentence_takes_back_what_the_last_one_was():
    hears = listener(UP)
    found = told(hears, frames_of(640, 640, 1280))
    hears._session.replies = ["Hello.<turn|>"]
    found += told(hears, frames_of(0, 640, 1280))
    assert [calls for _, calls in found] == [(ToolCall("set_volume", {"change": "up"}),), ()]


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        ("Okay.<turn|>", (STOP,)),
        ("Okay. Bye.<turn|>", ()),
        ("<|tool_call>call:set_volume{percent:0}<tool_call|><|tool_response>", (ToolCall("set_volume", {"percent": 0}),)),
        ("<|tool_call>call:set_volume{percent:140}<tool_call|><|tool_response>", ()),
        ('<|tool_call>call:set_volume{change:<|"|>left<|"|>}<tool_call|><|tool_response>', ()),
        ('<|tool_call>call:set_volume{change:<|"|>up<|"|>,percent:40}<tool_call|><|tool_response>', ()),
        ("<|tool_call>call:set_volume{percent:4<turn|>", ()),
        ("<|tool_call>call:set_timer{minutes:4}<tool_call|><|tool_response>", ()),
        ("<|tool_call>call:cancel_timer{}<tool_call|><|tool_response>", (ToolCall("cancel_timer", {}),)),
        ('<|tool_call>call:cancel_timer{name:<|"|>tea<|"|>}<tool_call|><|tool_response>', ()),
    ],
)
def test_what_counts(answer, calls):
    found = told(listener(answer), frames_of(640, 640, 800))
    assert [each for _, each in found] == ([calls] if calls else [])


def test_a_timer_is_cancelled_only_while_one_rings():
    assert not told(listener("<|tool_call>call:cancel_timer{}<tool_call|>", ringing=False), frames_of(640, 640, 800))


@pytest.mark.parametrize(("probability", "counts"), [(0.99, {UP, "Okay.<turn|>"}), (0.95, {"Okay.<turn|>"}), (0.2, set())])
def test_what_it_is_not_sure_of_does_not_count(probability, counts):
    for answer in (UP, "Okay.<turn|>"):
        assert bool(told(listener(answer, probability=probability), frames_of(640, 640, 800))) == (answer in counts)


def test_a_long_sentence_is_not_heard_to_its_end():
    found = listener(UP)
    assert not told(found, frames_of(640, 6400, 800))
    assert len(found._session.sound) < 6000 // FRAME_MS


@pytest.fixture(scope="module")
def pocket():
    return OnnxModel.open(find_model("pocket"))


def recorded(name):
    pcm, rate_hz = sf.read(CLIPS / name, dtype="float32")
    assert rate_hz == RATE_HZ
    loud = np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())
    pcm = 0.3 * pcm[: loud[-1] + 1] / np.abs(pcm).max()
    sound = np.pad(pcm, (int(0.6 * RATE_HZ), RATE_HZ))
    sound += 3e-4 * np.random.default_rng(1).standard_normal(len(sound))
    return sound.astype(np.float32), int(0.6 * RATE_HZ) + len(pcm)


WORDS = sorted(path.name for path in CLIPS.glob("volume-*.wav"))


def test_the_shipped_model_understands_recordings(pocket):
    """Its weights may change: not every one of them has to be understood, but none may be taken for another."""
    right = 0
    for name in WORDS:
        wanted = re.match(r"volume-(up|down|\d+)", name)[1]
        world = run_aloud(pocket, name)
        assert len(world.used) <= 1
        value = world.used[0].arguments if world.used else {}
        assert not value or list(value.values()) == [int(wanted) if wanted.isdigit() else wanted], name
        right += bool(value)
        if value:
            end = recorded(name)[1]
            assert (world.when("React")[0] * FRAME_SAMPLES - end) * 1000 / RATE_HZ <= 150
    assert right >= len(WORDS) - 2, right


def run_aloud(pocket, name):
    """The whole loop over a recording, while the main model hangs."""
    sound, _ = recorded(name)
    blocks = [sound[n : n + FRAME_SAMPLES] for n in range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES)]
    blocks += [np.zeros(FRAME_SAMPLES, np.float32)] * 60
    ears = PlainEars(SileroVad())
    world = World(
        LONG,
        encode_ms=0,
        token_ms=600_000,
        ears=lambda frame: ears(Frame(frame.number, blocks[frame.number])),
        understand=CommandListener(pocket.session(CAPACITY)).hear,
    )
    return world.run("." * len(blocks))
