import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parrot import call

from edge_assistant.tools import ToolError
from edge_assistant.tools.calculator import calculate, calculator_tools, spoken, written


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("2+2", "That is 4."),
        ("0.1 + 0.2", "That is 0.3."),
        ("12.5 * (3 + 4)", "That is 87.5."),
        ("15% of 80", "That is 12."),
        ("15 percent of 80", "That is 12."),
        ("200 * 19%", "That is 38."),
        ("7 × 8", "That is 56."),
        ("1,234,567 - 1", "That is 1234566."),
        ("10 ÷ 4", "That is 2.5."),
        ("2^10", "That is 1024."),
        ("2 ^ -2", "That is 0.25."),
        ("-2 ^ 2", "That is minus 4."),
        ("3 − 5", "That is minus 2."),
        ("10/3", "That is about 3.333333."),
        ("sqrt(2)", "That is about 1.414214."),
        ("sqrt(144)", "That is 12."),
        ("16^0.5", "That is 4."),
        ("2*pi", "That is about 6.283185."),
        ("0/5", "That is 0."),
        ("1/3/10000000", "That is about 0.0000000333."),
        ("2^100", "That is about 1.26 times 10 to the power of 30."),
    ],
)
def test_sums(talk, expression, text):
    assert calculator_tools()[0].function(expression).text == text


def test_what_is_exact():
    assert [calculate(text)[1] for text in ("1/3", "sqrt(9/4)", "sqrt(2)", "2*pi")] == [True, True, False, False]


def test_by_way_of_the_model(talk):
    it = talk(call("calculate", expression="17 * 23"), call("calculate", expression="1/0"))
    assert it.said == ["That is 391.", "It says no: one cannot divide by zero."]


@pytest.mark.parametrize(
    "expression",
    [
        "", " ", "two plus two", "2 +", "__import__('os').system('true')", "(1).__class__", "[1][0]", "lambda: 1", "x",
        "True + 1", "'a' * 9", "1 if 1 else 2", "1 == 1", "f'{1}'", "1j", "1e999", "9**9**9**9", "2^99999",
        "(((((2^64)^64)^64)^64)^64)", "(" * 99, "sqrt(-1)", "sqrt(1, 2)", "sqrt", "abs(1)", "2^0.3", "0^-1", "1/(2-2)",
        "9" * 300, "1 # 2 #", "1;2", "1\n2", "0x10 and 1", "...", "1_0" * 30,
    ],
)  # fmt: skip
def test_what_is_no_sum_is_refused(expression):
    with pytest.raises(ToolError):
        calculate(expression)


def grow(rng, depth):
    """A random sum and its value, by another way."""
    if depth == 0 or rng.random() < 0.2:
        number = Fraction(rng.randint(0, 9999), 10 ** rng.randint(0, 3))
        digits, _ = written(number)
        return digits, number
    (left, a), (right, b) = grow(rng, depth - 1), grow(rng, depth - 1)
    sign = rng.choice("+-*/")
    if sign == "/" and b == 0:
        sign = "+"
    value = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[sign]()
    return f"({left} {sign} {right})", value


@pytest.mark.parametrize("seed", range(100))
def test_random_sums_are_exact(seed):
    text, value = grow(random.Random(seed), 3)
    assert calculate(text) == (value, True)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.+-*/^%()e, sqrtpi×_\n\0", max_size=60))
def test_any_text_gives_a_number_or_a_refusal(text):
    try:
        value, _ = calculate(text)
    except ToolError:
        return
    assert spoken(written(value)[0])


@settings(deadline=None)
@given(st.fractions(-1000, 1000))
def test_digits_are_the_number(value):
    digits, whole = written(value)
    assert (Fraction(digits) == value) is whole
    assert abs(Fraction(digits) - value) <= max(Fraction(1, 10**6), abs(value) / 100)
