"""Attention over keys and values in 8 bits: they are multiplied as they lie, in whole numbers.

The other side of such a product, queries or weights of the softmax, is written in two digits of 7 bits with one scale a row, as
two rows of one matrix. So only keys and values are rounded to 8 bits, and reading them costs nearly the same. With digits of 7
bits no processor's products saturate, and unsigned by signed is the form that has dot-product instructions on x86-64 and on ARM.
Whole numbers give the same sum in any order: a row's products have the same bits in any company.

A new token's keys and values are quantised first and used then, as every later token will see them.
"""

from dataclasses import dataclass

import numpy as np

from edge_assistant.gemma4.graph import FLOAT, MICROSOFT, Graph

_DIGIT = 128
_MOST = 63
"""The largest first digit; the second lies between -64 and 64."""
_OFFSET = 64
"""Added to digits, so that they are stored without sign."""
_LEAST = 1e-20
"""No scale divides by zero."""


@dataclass(frozen=True, slots=True)
class Codes:
    """Rows in 8 bits."""

    codes: str
    """int8 [kv heads, S, head]."""
    scale: str
    """[kv heads, S, 1]."""
    rows: str
    """What they stand for. [kv heads, S, head]."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Rows in two digits."""

    digits: str
    """uint8 [kv heads, 2 · rows, n]: the first digits of all rows, then the second ones."""
    scales: str
    """What each counts. [kv heads, 2 · rows, 1]."""


def encode(g: Graph, x: str) -> Codes:
    """[kv heads, S, head] in 8 bits with one scale a row."""
    scale = _scale(g, g.op("Abs", x), 127)
    codes = g.op("QuantizeLinear", _over(g, x, scale), g.scalar(1.0), g.constant("code_zero", np.zeros((), np.int8)))
    return Codes(codes, scale, g.op("Mul", g.op("Cast", codes, to=FLOAT), scale))


def split(g: Graph, x: str, *, signed: bool = True) -> Digits:
    """[kv heads, rows, n] in two digits; `signed`: some of the numbers may be negative."""
    scale, step, zero = _scale(g, g.op("Abs", x) if signed else x, _MOST * _DIGIT), g.scalar(float(_DIGIT)), _zero(g)
    whole = _over(g, x, scale)
    first = g.op("QuantizeLinear", whole, step, zero)
    second = g.op("QuantizeLinear", g.op("Sub", whole, g.op("DequantizeLinear", first, step, zero)), g.scalar(1.0), zero)
    scales = g.op("Concat", g.op("Mul", scale, step), scale, axis=1)
    return Digits(g.op("Concat", first, second, axis=1), scales)


def scores(g: Graph, q: Digits, keys: str, scale: str) -> str:
    """Of keys [blocks, kv heads, head, slots] with scales [blocks, kv heads, 1, slots]: [blocks, kv heads, rows, slots]."""
    products = g.op("MatMulIntegerToFloat", q.digits, keys, g.scalar(1.0), scale, _zero(g), domain=MICROSOFT)
    return _together(g, g.op("Mul", products, q.scales), 2)


def weighted(g: Graph, digits: str, values: str) -> str:
    """Digits [blocks, kv heads, 2 · rows, slots] · values [blocks, kv heads, slots, head], int32, apart for each block."""
    return g.op("MatMulInteger", digits, values, _zero(g))


def summed(g: Graph, sums: str) -> str:
    """Those of all blocks together, [kv heads, 2 · rows, head]."""
    return g.op("ReduceSum", sums, g.ints(0), keepdims=0)


def decoded(g: Graph, sums: str, scales: str) -> str:
    """What they stand for, [kv heads, rows, head]."""
    return _together(g, g.op("Mul", g.op("Cast", sums, to=FLOAT), scales), 1)


def _zero(g: Graph) -> str:
    return g.constant("digit_zero", np.array(_OFFSET, np.uint8))


def _scale(g: Graph, sizes: str, most: int) -> str:
    """So that the largest of each row is `most` of it. [kv heads, rows, 1]."""
    largest = g.op("ReduceMax", sizes, g.ints(-1), keepdims=1)
    return g.op("Mul", g.op("Max", largest, g.scalar(_LEAST)), g.scalar(1 / most))


def _over(g: Graph, x: str, scale: str) -> str:
    """x / scale, without so many divisions."""
    return g.op("Mul", x, g.op("Reciprocal", scale))


def _together(g: Graph, x: str, axis: int) -> str:
    """The two digits' shares of each row, added."""
    first, second = g.name("first"), g.name("second")
    g.ops("Split", [x], [first, second], axis=axis, num_outputs=2)
    return g.op("Add", first, second)
