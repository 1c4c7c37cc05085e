import random

import pytest

from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.frames import (
    FRAME_MS,
    SpeechConfirmed,
    SpeechDropped,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
)


def events(probabilities, config=None):
    endpointer = Endpointer(config or EndpointConfig())
    return [(n, event) for n, p in enumerate(probabilities) if (event := endpointer.step(n, p)) is not None]


def marks(text):
    return [0.9 if mark == "#" else 0.05 for mark in text]


def test_a_turn():
    assert events(marks("." * 10 + "#" * 10 + "." * 30)) == [
        (12, SpeechStarted(10)),
        (14, SpeechConfirmed(10)),
        (25, SpeechPaused(20)),
        (38, SpeechEnded(20)),
    ]


def test_a_pause_is_not_the_end():
    assert events(marks("#" * 10 + "." * 10 + "#" * 5 + "." * 30)) == [
        (2, SpeechStarted(0)),
        (4, SpeechConfirmed(0)),
        (15, SpeechPaused(10)),
        (20, SpeechResumed(20)),
        (30, SpeechPaused(25)),
        (43, SpeechEnded(25)),
    ]


def test_a_click_is_not_speech():
    assert events(marks(".." + "##" + "." * 50)) == []


def test_a_breath_inside_a_word_is_no_pause():
    assert [type(event) for _, event in events(marks("#" * 10 + "....." + "#" * 10))] == [SpeechStarted, SpeechConfirmed]


def test_a_fading_vowel_is_still_speech():
    fading = [0.9] * 10 + [0.4] * 40  # under the threshold, over the release
    assert [type(event) for _, event in events(fading)] == [SpeechStarted, SpeechConfirmed]
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
        SpeechStarted: {SpeechConfirmed, SpeechDropped},
        SpeechDropped: {SpeechStarted},
        SpeechConfirmed: {SpeechPaused},
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


def test_a_cough_is_dropped_and_takes_longer_to_be_one_over_a_reply():
    cough = marks("." * 5 + "#" * 4 + "." * 30)
    assert events(cough) == [(7, SpeechStarted(5)), (14, SpeechDropped(9))]
    for length, last in ((9, SpeechDropped), (10, SpeechConfirmed)):
        endpointer = Endpointer(EndpointConfig())
        found = [endpointer.step(n, p, over_reply=True) for n, p in enumerate(marks("#" * length + "." * 7))]
        assert [type(event) for event in found if event][1] is last


def waits(text):
    """The wait for the end at each SpeechEnded, in ms, counted from the last frame of speech."""
    return [(n + 1 - event.frame) * FRAME_MS for n, event in events(marks(text)) if isinstance(event, SpeechEnded)]


def test_the_wait_adapts_to_the_speakers_own_pauses():
    brisk = "#" * 20 + "." * 40
    assert waits(brisk * 12)[::11] == [608, 448]
    slow = "#" * 20 + "." * 17 + "#" * 20 + "." * 60  # pauses of 544 ms
    assert waits(slow) == [768]
    assert waits(slow + brisk)[1] == 768  # remembered
    assert waits(slow + brisk * 9)[-1] == 448  # and forgotten


def test_who_was_cut_off_gets_more_time():
    assert waits("#" * 20 + "." * 24 + "#" * 20 + "." * 60) == [608, 24 * 32 + 224]


def test_the_wait_stays_within_its_bounds():
    config = EndpointConfig()
    for seed in range(50):
        r = random.Random(seed)
        text = "".join(r.choice("#.") * r.randint(1, 60) for _ in range(200))
        endpointer = Endpointer(config)
        for n, p in enumerate(marks(text)):
            endpointer.step(n, p)
            if r.random() < 0.01:
                endpointer.hint(r.randint(0, 3000))
            assert config.end_min_ms <= endpointer.wait_ms <= config.end_max_ms


@pytest.mark.parametrize(("hint_ms", "expected_ms"), [(0, 448), (800, 800), (5000, 1216)])
def test_a_hint_counts_for_one_pause(hint_ms, expected_ms):
    endpointer = Endpointer(EndpointConfig())
    waited = []
    for n, p in enumerate(marks(("#" * 20 + "." * 60) * 2)):
        event = endpointer.step(n, p)
        if n == 27:
            endpointer.hint(hint_ms)
        if isinstance(event, SpeechEnded):
            waited.append((n + 1 - event.frame) * FRAME_MS)
    assert waited == [expected_ms, 608]


def test_a_television_is_one_turn_and_then_waits_for_a_pause():
    config = EndpointConfig(longest_ms=3200)
    found = [type(event) for _, event in events(marks("#" * 400 + "." * 20 + "#" * 10 + "." * 40), config)]
    assert found == [
        SpeechStarted, SpeechConfirmed, SpeechPaused, SpeechEnded, SpeechStarted, SpeechConfirmed, SpeechPaused, SpeechEnded,
    ]  # fmt: skip


def test_after_a_reset_a_turn_begins_with_a_silence():
    endpointer = Endpointer(EndpointConfig())
    found = []
    for n, p in enumerate(marks("#" * 50 + "." * 10 + "#" * 10 + "." * 30)):
        found.append(endpointer.step(n, p))
        if n == 20:
            endpointer.reset()
    assert next((event.frame, type(event)) for event in found[21:] if event) == (60, SpeechStarted)
