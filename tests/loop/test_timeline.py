import io
import json

from edge_assistant.frames import (
    Called,
    DecodeEnded,
    Sounding,
    SpeechConfirmed,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    Spoken,
    Token,
)
from edge_assistant.prompt import ToolCall
from edge_assistant.timeline import Moment, Timeline, answers, json_lines, table
from edge_assistant.turn import Turn


def play(*steps):
    """Steps are (ms, event)."""
    now, moments, turn = 0, [], Turn()
    timeline = Timeline(moments.append, lambda: now)
    for now, event in steps:  # noqa: B007 - the lambda reads it
        timeline.observe(event, turn.step(event))
    return moments


def test_a_guess_given_up_leaves_no_trace():
    moments = play(
        (96, SpeechStarted(0)),
        (500, SpeechPaused(10)),
        (520, Token(1, "No")),
        (600, SpeechResumed(18)),
        (1000, SpeechPaused(25)),
        (1050, Token(2, "Hello.")),
        (1408, SpeechEnded(25)),
        (1410, DecodeEnded(2)),
        (1450, Sounding(2)),
        (2000, Spoken(2, "Hello.")),
    )
    assert [(m.event, m.at_ms, m.after_speech_ms) for m in moments] == [
        ("speech_started", 0, None),
        ("speech_ended", 800, 0),
        ("first_token", 1050, 250),
        ("say", 1410, 610),
        ("first_sound", 1450, 650),
        ("done", 2000, 1200),
    ]
    assert moments[1].more == {"waited_ms": 608}


def test_barge_in_ends_one_turn_before_the_next_begins():
    moments = play(
        (96, SpeechStarted(0)),
        (500, SpeechPaused(10)),
        (928, SpeechEnded(10)),
        (950, Called(1, (ToolCall("get_time"),))),
        (1500, SpeechStarted(45)),
        (1700, SpeechConfirmed(45)),
    )
    assert [(m.event, m.turn) for m in moments] == [
        ("speech_started", 1),
        ("speech_ended", 1),
        ("tool_call", 1),
        ("held", 1),
        ("done", 1),
        ("speech_started", 2),
    ]
    assert moments[4].more == {"heard": ""}


MOMENTS = [
    Moment("speech_started", 1, 100, None),
    Moment("tool_call", 1, 2000, 600, {"name": "set_light", "arguments": {"on": True}}),
    Moment("say", 1, 2100, 700, {"text": "It is 21 °C."}),
]


def test_three_ways_to_show_them():
    def shown(way):
        out = io.StringIO()
        for moment in MOMENTS:
            way(out)(moment)
        return out.getvalue()

    assert [json.loads(line)["at_ms"] for line in shown(json_lines).splitlines()] == [100, 2000, 2100]
    assert shown(json_lines).isascii()
    assert shown(answers) == "It is 21 °C.\n"
    assert "   2.00 s       +600 ms  set_light(on=true)" in shown(table)
    assert "“It is 21 °C.”" in shown(table)
