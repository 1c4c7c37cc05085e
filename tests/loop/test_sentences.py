import random

import pytest

from edge_assistant.sentences import LONGEST, Sentences, speakable


def cut(text, size=3):
    """The sentences, with the text coming in pieces of this many characters."""
    sentences = Sentences()
    done = [s for i in range(0, len(text), size) for s in sentences.push(text[i : i + size])]
    return done + sentences.flush()


CASES = {
    "It is 14:05.": ["It is 14:05."],
    "It is 3.5 degrees. That is cold!": ["It is 3.5 degrees.", "That is cold!"],
    "Really? Yes! Good...  And so on": ["Really?", "Yes!", "Good...", "And so on"],
    "Dr. Who met Mrs. Smith at 5 p.m. They left.": ["Dr. Who met Mrs. Smith at 5 p.m. They left."],
    "Use a tool, e.g. a hammer. Done.": ["Use a tool, e.g. a hammer.", "Done."],
    "J. S. Bach wrote it. Yes.": ["J. S. Bach wrote it.", "Yes."],
    "1. Open it. 2. Close it.": ["1. Open it.", "2. Close it."],
    "It is 5. Then 6.": ["It is 5.", "Then 6."],
    'He said "Stop." Then he left.': ['He said "Stop."', "Then he left."],
    "First line\nsecond line": ["First line", "second line"],
    "今天是星期二。天气很好。": ["今天是星期二。", "天气很好。"],
    "Version 1.2.3 is out. Get it.": ["Version 1.2.3 is out.", "Get it."],
    "": [],
    " \n ": [],
    "...": [],
}


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_sentences(text, size):
    assert cut(text, size) == CASES[text]


def test_a_sentence_is_given_out_as_soon_as_it_is_sure():
    sentences = Sentences()
    assert sentences.push("Hello.") == []
    assert sentences.push(" ") == ["Hello."]
    assert sentences.flush() == []


def test_a_text_without_an_end_is_cut_at_a_word():
    text = "word " * 200
    pieces = cut(text)
    assert max(map(len, pieces)) <= LONGEST
    assert " ".join(pieces).split() == text.split()
    assert "".join(cut("x" * 1000)) == "x" * 1000


def test_nothing_is_lost_for_any_split():
    for seed in range(200):
        r = random.Random(seed)
        text = "".join(r.choice(["Well", " ", ". ", "3.5", "Mr. ", "!", "\n", "a", "? "]) for _ in range(40))
        whole = cut(text, 1000)
        assert cut(text, r.randint(1, 9)) == whole
        assert letters("".join(whole)) == letters(text)


def letters(text):
    return [c for c in text if c.isalnum()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("**Bold** and *soft* and `code`", "Bold and soft and code"),
        ("# Title", "Title"),
        ("- item one\n- item two", "item one item two"),
        ("[a link](http://example.org)", "a link"),
        ("<|turn>model hello<turn|>", "model hello"),
        ("a <|tool_call>", "a"),
        ('<|"|>quoted<|"|>', "quoted"),
        ("3 * 4 is 12", "3 times 4 is 12"),
        ("-5 degrees", "-5 degrees"),
        ("snake_case stays", "snake_case stays"),
        ("_emphasis_ goes", "emphasis goes"),
        ("Good \U0001f600 day \u2728!", "Good day!"),
        ("21 °C", "21 °C"),
        ("broken \ufffd\x14 bytes", "broken bytes"),
        ("***", ""),
        ("| a | b |", "a b"),
    ],
)
def test_what_a_voice_says(text, said):
    assert speakable(text) == said
