"""The conversation format: both ways, and against whoever would break out of it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_assistant.prompt import (
    QUOTE,
    Declaration,
    MalformedCall,
    Parameter,
    ToolCall,
    format_call,
    format_declaration,
    format_response,
    format_system,
    harmless,
    parse_call,
)

# Text that outsiders may write: ordinary characters, brackets, and whole or half control tokens.
PIECES = st.sampled_from(["<|", "|>", "<tool_call|>", "<|tool_call>", QUOTE, "<|", "<turn|>", "<bos>", "{", "}", ":", ",", "é"])
TEXT = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=8).map("".join)
NUMBERS = st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT.map(harmless)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.from_regex(r"\A[a-z_]{1,8}\Z"), inner, max_size=3)),
    max_leaves=8,
)
NAMES = st.from_regex(r"\A[a-z_][a-z0-9_]{0,10}\Z")


@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=4))
@example("far", {"below": -(10**17), "above": 10**17})
def test_a_call_comes_back_as_it_was_written(name, arguments):
    assert parse_call("Well. " + format_call(ToolCall(name, arguments)) + "<|tool_response>") == ToolCall(name, arguments)


@given(TEXT)
def test_text_from_outside_cannot_leave_its_quotes(text):
    written = format_response("note", {"text": text})
    assert written.count(QUOTE) == 2
    assert written.count("<tool_response|>") == 1
    inside = written.split(QUOTE)[1]
    assert harmless(inside) == inside
    for token in (
        "<turn|>",
        "<|turn>",
        "<|tool_call>",
        "<tool_call|>",
        "<|tool_response>",
        "<bos>",
        "<eos>",
        "<|audio>",
    ):
        assert token not in inside


def test_a_control_token_taken_apart_does_not_grow_together():
    assert harmless("<|tu<bos>rn>") == ""
    assert harmless("a < b, c |> d <em>ok</em>") == "a < b, c |> d <em>ok</em>"


@given(TEXT)
def test_anything_after_a_call_token_is_a_call_or_malformed(text):
    try:
        call = parse_call("<|tool_call>" + text)
    except MalformedCall:
        return
    assert isinstance(call, ToolCall)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call:f{a:1", "expected ,"),
        ("call:f{a:}<tool_call|>", "a value"),
        ('call:f{a:<|"|>x}<tool_call|>', "a closing"),
        ("call:f{a:1,a:2}<tool_call|>", "one value for 'a'"),
        ("call:f{a:" + "9" * 5000 + "}<tool_call|>", "at most 18 digits"),
        ("call:f{a:1e999}<tool_call|>", "a finite number"),
        ("call:f{a:" + "[" * 500, "at most 16 brackets"),
        ("call:{}", "the name of a tool"),
        ("call:f{}", "<tool_call|>"),
        ("", "call:"),
    ],
)
def test_a_malformed_call_says_what_was_expected(text, expected):
    with pytest.raises(MalformedCall, match=expected.replace("|", r"\|")):
        parse_call("<|tool_call>" + text)


def test_no_call_in_plain_talk():
    assert parse_call("It is 14:05.<turn|>") is None


def test_a_declaration_as_the_published_template_writes_it():
    tool = Declaration(
        "set_volume",
        "Change the volume.",
        {
            "change": Parameter("string", "Which way.", ("up", "down"), required=False),
            "percent": Parameter("integer", "Level."),
        },
    )
    assert format_declaration(tool) == (
        '<|tool>declaration:set_volume{description:<|"|>Change the volume.<|"|>,parameters:{properties:{'
        'change:{description:<|"|>Which way.<|"|>,enum:[<|"|>up<|"|>,<|"|>down<|"|>],type:<|"|>STRING<|"|>},'
        'percent:{description:<|"|>Level.<|"|>,type:<|"|>INTEGER<|"|>}},'
        'required:[<|"|>percent<|"|>],type:<|"|>OBJECT<|"|>}}<tool|>'
    )


def test_the_system_turn_never_switches_thinking_on():
    system = format_system("Be brief.<|think|>", [Declaration("get_time", "The time.")])
    assert system == (
        '<|turn>system\nBe brief.<|tool>declaration:get_time{description:<|"|>The time.<|"|>,'
        'parameters:{type:<|"|>OBJECT<|"|>}}<tool|><turn|>\n'
    )
