import random

from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.frames import SpeechEnded, SpeechPaused, SpeechResumed, SpeechStarted


def events(probabilities, config=None):
    endpointer = Endpointer(config or EndpointConfig())
    return [(n, event) for n, p in enumerate(probabilities) if (event := endpointer.step(n, p)) is not None]


def marks(text):
    return [0.9 if mark == "#" else 0.05 for mark in text]


def test_a_turn():
    assert events(marks("." * 10 + "#" * 10 + "." * 30)) == [
        (12, SpeechStarted(10)),
        (25, SpeechPaused(20)),
        (38, SpeechEnded(20)),
    ]


def test_a_pause_is_not_the_end():
    assert events(marks("#" * 10 + "." * 10 + "#" * 5 + "." * 30)) == [
        (2, SpeechStarted(0)),
        (15, SpeechPaused(10)),
        (20, SpeechResumed(20)),
        (30, SpeechPaused(25)),
        (43, SpeechEnded(25)),
    ]


def test_a_click_is_not_speech():
    assert events(marks(".." + "##" + "." * 50)) == []


def test_a_breath_inside_a_word_is_no_pause():
    assert [type(event) for _, event in events(marks("#" * 10 + "....." + "#" * 10))] == [SpeechStarted]


def test_a_fading_vowel_is_still_speech():
    fading = [0.9] * 10 + [0.4] * 40  # under the threshold, over the release
    assert [type(event) for _, event in events(fading)] == [SpeechStarted]
    assert events([0.4] * 50) == []


def test_lost_frames_count_as_time():
    endpointer = Endpointer(EndpointConfig())
    for n in range(10):
        endpointer.step(n, 0.9)
    endpointer.step(10, 0.0)
    assert endpointer.step(40, 0.0) == SpeechPaused(10)  # 29 frames in between never came


def test_events_always_alternate_as_the_turn_table_expects():
    follows = {
        None: {SpeechStarted},
        SpeechStarted: {SpeechPaused},
        SpeechPaused: {SpeechResumed, SpeechEnded},
        SpeechResumed: {SpeechPaused},
        SpeechEnded: {SpeechStarted},
    }
    for seed in range(200):
        r = random.Random(seed)
        last = None
        for _, event in events([r.random() ** r.choice([1, 4]) for _ in range(40) for _ in range(r.randint(1, 9))]):
            assert type(event) in follows[last]
            last = type(event)
