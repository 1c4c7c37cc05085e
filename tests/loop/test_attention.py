"""When speech counts: always, after the wake word, at the button, for a while after a reply; and never while muted."""

from sim import World, check

from edge_assistant.attention import Attention, AttentionConfig
from edge_assistant.ears import Heard
from edge_assistant.frames import FRAME_MS, EndJudged, Muted, Released, Woken
from edge_assistant.turn import State

ASK = "#" * 30 + "." * 100
TWO = "Hello. Bye.<turn|>"


class WordEars:
    """The wake word ends in the frames of these numbers; the sound itself says whether it is speech."""

    def __init__(self, woke=()):
        self.woke = woke

    def __call__(self, frame):
        return Heard(frame.pcm, float(frame.pcm[0] > 0), frame.number in self.woke)


def world(*replies, mode="wake", barge_in="speech", woke=(), **options):
    config = AttentionConfig(mode=mode, barge_in=barge_in)
    return World(*replies, attention=config, ears=WordEars(woke), **options)


def test_open_listens_always():
    attention = Attention(AttentionConfig())
    assert all(attention.listens(n, State.IDLE) for n in range(100))


def test_nothing_counts_before_the_wake_word():
    room = world(TWO).run(ASK * 5)
    check(room)
    assert room.session.text == "<bos>"
    assert room.log == []


def test_the_wake_word_opens_a_turn_without_a_silence_between_and_is_no_part_of_it():
    room = world(TWO, woke=[40]).run("." * 20 + "#" * 60 + "." * 200)  # "hey jarvis what time is it"
    assert room.said == ["Hello.", "Bye."]
    assert room.signals[0] == (41, "listening")
    assert room.heard_frames[0] == 41  # the frame in which the word was completed
    assert room.state is State.IDLE


def test_who_says_nothing_after_the_wake_word_is_no_longer_listened_to():
    room = world(TWO, woke=[5]).run("." * (5 + 8000 // FRAME_MS + 2) + ASK)
    assert room.session.text == "<bos>"


def test_one_can_follow_up_without_the_wake_word_for_a_while():
    room = world(TWO, TWO, woke=[5]).run("." * 10 + ASK + "." * 130 + ASK)
    check(room)
    assert room.when("SpeechStarted")[1] * FRAME_MS > 8000 + 5 * FRAME_MS  # the wake word's own window is over
    assert room.said == ["Hello.", "Bye."] * 2
    room.run("." * (6000 // FRAME_MS + 10) + ASK)
    assert len(room.said) == 4


def test_the_wake_word_silences_a_reply():
    room = world(TWO, TWO, say_ms=4000, barge_in="wake", woke=[5, 120]).run("." * 10 + "#" * 30 + "." * 60)
    assert room.sounding
    room.run("#" * 19)  # speech alone does not
    assert not room.all("Hush")
    room.run("#" * 41 + "." * 300)
    assert [type(x).__name__ for _, x in room.log if type(x).__name__ in ("Hush", "Signal")][:3] == ["Signal", "Hush", "Signal"]
    check(room)
    assert room.said[-2:] == ["Hello.", "Bye."]


def test_a_wake_word_over_a_reply_is_no_part_of_the_turn_after_it():
    room = world(TWO, TWO, mode="open", say_ms=4000, woke=[107]).run("#" * 30 + "." * 70 + "#" * 40 + "." * 300)
    check(room)
    assert [type(x).__name__ for _, x in room.log if type(x).__name__ in ("Hold", "Woken", "Hush", "Hear")][1:] == [
        "Hold", "Woken", "Hush", "Hear",
    ]  # fmt: skip
    assert room.all("SpeechStarted")[-1].frame == 108
    assert room.heard_frames[-1] > 130
    assert 100 not in room.heard_frames


def test_the_button_opens_a_turn_and_letting_it_go_ends_it_without_a_wait():
    room = world(TWO, mode="button").run(ASK)
    assert room.session.text == "<bos>"
    room.inbox.put(Woken(held=True))
    room.run("." * 400 + "#" * 30)  # held longer than the window
    room.inbox.put(Released())
    room.run(".")
    assert room.when("SpeechEnded") == [room.now]
    room.run("." * 200)
    check(room)
    assert room.said == ["Hello.", "Bye."]


def test_a_tap_on_the_button_is_enough():
    room = world(TWO, mode="button")
    room.inbox.put(Woken(held=True))
    room.run("..")
    room.inbox.put(Released())
    room.run("." * 20 + ASK)
    check(room)
    assert room.said == ["Hello.", "Bye."]


def test_mute_forgets_what_is_being_said_and_lets_a_reply_end():
    room = world(TWO, TWO, mode="open").run("#" * 30)
    room.inbox.put(Muted(off=True))
    room.run("." * 100)
    check(room)
    assert room.session.text == "<bos>"
    room.inbox.put(Muted(off=False))
    room.run(ASK[:60])
    room.inbox.put(Muted(off=True))
    room.run("." * 100)
    check(room)
    assert [x.text for x in room.all("Spoken")] == ["Hello.", "Bye."]
    assert [name for _, name in room.signals] == ["muted", "listening", "muted"]


def test_who_waits_long_hears_that_we_think():
    room = World("One<turn|>", token_ms=3000).run("#" * 30 + "." * 400)
    check(room)
    heard = [frame for frame, name in room.signals if name == "thinking"]
    ended = room.when("SpeechEnded")[0]
    assert (heard[0] - ended) * FRAME_MS in range(1470, 1540)
    assert all(frame < room.when("Sounding")[0] for frame in heard)


def test_the_judge_makes_the_wait_longer_or_shorter():
    def waited(probability):
        room = World(TWO, judge=lambda pcm: probability).run("." * 20 + "#" * 30 + "." * 100)
        check(room)
        assert isinstance(room.all("EndJudged")[0], EndJudged)
        return (room.when("SpeechEnded")[0] - room.all("SpeechEnded")[0].frame) * FRAME_MS

    assert waited(0.5) == 608
    assert waited(1.0) == 448
    assert waited(0.0) == 1216


def test_a_judge_that_breaks_changes_nothing():
    room = World(TWO, judge=lambda pcm: 1 / 0).run("." * 20 + "#" * 30 + "." * 100)
    check(room)
    assert room.said == ["Hello.", "Bye."]
