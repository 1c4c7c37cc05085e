"""Sums, exactly: fractions inside, decimals outside."""

import ast
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from fractions import Fraction
from math import pi

from edge_assistant.tools.contract import Result, Tool, ToolError, tool

LONGEST = 200
"""Characters of a sum."""
MOST_BITS = 4096
"""Of a numerator or denominator: a power grows fast."""
PLACES = 6
"""Digits after the point that are told of what does not end."""
_WORDS = (
    (r"[×✕]", "*"),
    (r"[÷:]", "/"),
    (r"[−–]", "-"),
    (r"\^", "**"),
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (r"(\d)\s*(?:%|percent)\s*of\b", r"\1/100*"),
    (r"(\d)\s*(?:%|percent)", r"\1/100"),
    (r"\b(?:pi|π)\b|π", "pi"),
)

_ALLOWED = re.compile(r"[0-9a-z.+*/(), -]+")


def calculate(text: str) -> tuple[Fraction, bool]:
    """The value of a sum, and whether it is exact.

    Raises:
        ToolError: it is none, or too large, or has no value.
    """
    if len(text) > LONGEST:
        raise ToolError("that sum is too long")
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text)
    text = text.strip()
    try:
        if not _ALLOWED.fullmatch(text):
            raise ValueError(text)
        sum_ = _Sum(text)
        return sum_.value(ast.parse(text, mode="eval").body), sum_.exact
    except ZeroDivisionError as error:
        raise ToolError("one cannot divide by zero") from error
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ToolError("that is no sum: give numbers, + - * / ^ % ( ) sqrt and pi") from error


class _Sum:
    """Walks what Python's parser made of it; everything that is not arithmetic is refused."""

    def __init__(self, text: str) -> None:
        self._text, self.exact = text, True

    def value(self, node: ast.expr) -> Fraction:
        match node:
            case ast.Constant(int() | float()) if not isinstance(node.value, bool):
                written = ast.get_source_segment(self._text, node) or ""
                if len(written) > 40 or "e" in written.lower():
                    raise ValueError(written)
                return Fraction(written)  # as it is written: 0.1 is a tenth
            case ast.UnaryOp(ast.USub(), inner):
                return -self.value(inner)
            case ast.UnaryOp(ast.UAdd(), inner):
                return self.value(inner)
            case ast.BinOp(left, ast.Pow(), right):
                return self._power(self.value(left), self.value(right))
            case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
                return _checked(_OPERATORS[type(operator)](self.value(left), self.value(right)))
            case ast.Name("pi"):
                self.exact = False
                return Fraction(pi)
            case ast.Call(ast.Name("sqrt"), [inner], []):
                return self._root(self.value(inner))
            case _:
                raise ValueError(type(node).__name__)

    def _power(self, base: Fraction, exponent: Fraction) -> Fraction:
        if exponent == Fraction(1, 2):
            return self._root(base)
        if exponent.denominator != 1:
            raise ToolError("only whole powers")
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * bits > MOST_BITS:
            raise ToolError("that is too large")
        return base**exponent.numerator

    def _root(self, square: Fraction) -> Fraction:
        if square < 0:
            raise ToolError("a negative number has no root")
        context = Context(prec=50)
        root = context.sqrt(context.divide(Decimal(square.numerator), Decimal(square.denominator)))
        near = Fraction(root).limit_denominator(10**12)
        if near * near == square:
            return near
        self.exact = False
        return Fraction(root)


_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def _checked(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise ToolError("that is too large")
    return value


def written(value: Fraction, places: int = PLACES) -> tuple[str, bool]:
    """A number in digits, and whether they are all of it."""
    scaled = round(value * 10**places)
    whole = Fraction(scaled, 10**places) == value
    if value and not whole and abs(value) < Fraction(10) ** (2 - places):
        return f"{Decimal(f'{float(value):.3g}'):f}", False  # a small number keeps its first digits
    text = f"{'-' if scaled < 0 else ''}{abs(scaled) // 10**places}.{abs(scaled) % 10**places:0{places}}"
    return text.rstrip("0").rstrip("."), whole


def spoken(number: str) -> str:
    """Digits as a voice should say them."""
    digits = number.lstrip("-").partition(".")[0]
    if len(digits) > 15:
        power = len(digits) - 1
        number = f"{'-' if number.startswith('-') else ''}{digits[0]}.{digits[1:3]} times 10 to the power of {power}"
    return f"minus {number[1:]}" if number.startswith("-") else number


def calculator_tools() -> list[Tool]:
    """`calculate`."""

    def calculate_(expression: str) -> Result:
        """Work out a sum exactly. Use it for every calculation.

        Args:
            expression: In digits, as in "12.5 * (3 + 4)", "15% of 80", "2^10", "sqrt(2)".
        """
        value, exact = calculate(expression)
        digits, whole = written(value)
        exactly = exact and whole and len(digits) <= 16
        is_ = "is" if exactly else "is about"
        return Result({"result": digits[:60], "exact": exact and whole}, f"That {is_} {spoken(digits)}.")

    return [tool(calculate_, name="calculate")]
