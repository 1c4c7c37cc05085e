"""Attention over keys and values in 8 bits, against floats over what the codes stand for."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from edge_assistant.gemma4 import coded
from edge_assistant.gemma4.attention import CodedAttention, Masks, Source
from edge_assistant.gemma4.cache import Blocks, Part, parts_of
from edge_assistant.gemma4.config import Layer
from edge_assistant.gemma4.graph import FLOAT, INT8, UINT8, Graph

Arrays = dict[str, np.ndarray]
SLOTS, BLOCKS = 16, 3
RANDOM = np.random.default_rng(3)


class Inline:
    """In place of a file: constants stay in the graph."""

    def write(self, name: str, parts: Any, *_: Any) -> Any:
        return numpy_helper.from_array(next(parts), name)


def graph() -> Graph:
    return Graph(Inline())  # type: ignore[arg-type]


def run(g: Graph, path: Path, inputs: Arrays) -> list[np.ndarray]:
    g.save(path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)


def noise(*shape: int) -> np.ndarray:
    """With a few large numbers, as trained models have them."""
    return (RANDOM.standard_normal(shape) * RANDOM.choice([0.1, 1, 6], shape)).astype(np.float32)


def encoded(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.abs(x).max(-1, keepdims=True).astype(np.float32) / np.float32(127)
    return np.rint(x / scale).astype(np.int8), scale


def test_a_row_of_codes_has_the_scale_of_its_largest(tmp_path: Path) -> None:
    x = noise(2, 9, 32)
    x[1, 4] = 0
    g = graph()
    found = coded.encode(g, g.input("x", [2, "S", 32]))
    for name, output, kind in (("codes", found.codes, INT8), ("scale", found.scale, FLOAT), ("rows", found.rows, FLOAT)):
        g.output(output, name, [2, "S", "n"], kind)
    codes, scale, rows = run(g, tmp_path / "g.onnx", {"x": x})
    assert codes.dtype == np.int8
    assert codes.min() >= -127
    assert scale.shape == (2, 9, 1)
    assert np.array_equal(rows, codes * scale)
    assert np.abs(x - rows).max() <= 0.501 * scale.max()
    assert (np.abs(x - rows) <= 0.501 * scale).all()
    largest = np.abs(codes).max(-1)
    assert (np.delete(largest.ravel(), 13) == 127).all()
    assert largest[1, 4] == 0


def test_two_digits_stand_for_a_row(tmp_path: Path) -> None:
    x = noise(2, 9, 33)
    x[0, 2] = 0
    g = graph()
    found = coded.split(g, g.input("x", [2, "rows", "n"]))
    g.output(found.digits, "digits", [2, "rows", "n"], UINT8)
    g.output(found.scales, "scales", [2, "rows", 1])
    digits, scales = run(g, tmp_path / "g.onnx", {"x": x})
    assert digits.min() >= 0
    assert digits.max() <= 128  # two products of such a number and a signed one fit into 16 bits
    first, second = np.split((digits.astype(np.float32) - 64) * scales, 2, axis=1)
    assert (np.abs(first + second - x) <= 0.51 * scales[:, 9:]).all()
    assert (scales[:, 9:] * 8000 <= np.abs(x).max(-1, keepdims=True) + 1e-12).all()


class Attended:
    """A layer with tokens in its cache, and new ones."""

    def __init__(self, kv_heads: int, tokens: int, new: int, size: int = 32, heads: int = 4) -> None:
        self.layer, self.heads, self.size, self.new = Layer("full", size, kv_heads, False, False, 64), heads, size, new
        self.parts = parts_of(self.layer, SLOTS, 8, BLOCKS)
        for part in self.parts:  # rubbish, as a cut leaves it
            rubbish = RANDOM.integers(-127, 128, part.array.shape) if part.array.dtype == np.int8 else noise(*part.array.shape)
            part.array[:] = rubbish
        self.tokens: Arrays = {}
        self.keys, self.values = (self._hold(name, tokens) for name in ("key", "value"))
        self.new_keys, self.new_values = (self._fresh(name) for name in ("key", "value"))
        self.positions = np.where(np.arange(SLOTS * BLOCKS) < tokens, 0, -3e38).astype(np.float32)
        self.q = noise(kv_heads, new * heads // kv_heads, size) / 8

    def _hold(self, name: str, tokens: int) -> np.ndarray:
        codes, scale = encoded(noise(self.layer.kv_heads, tokens, self.size))
        for part, array in ((self._part(name), codes), (self._part(f"{name}_scale"), scale)):
            for token in range(tokens):
                part.tokens(token // SLOTS)[:, token % SLOTS] = array[:, token]
        return codes * scale

    def _fresh(self, name: str) -> np.ndarray:
        codes, scale = encoded(noise(self.layer.kv_heads, self.new, self.size))
        self.tokens |= {f"new_{name}": codes, f"new_{name}_scale": scale}
        return codes * scale

    def _part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def expected(self) -> np.ndarray:
        """In float64, causal."""
        kv, new = self.layer.kv_heads, self.new
        keys, values = (
            np.concatenate(pair, 1).astype(np.float64) for pair in ((self.keys, self.new_keys), (self.values, self.new_values))
        )
        scores = self.q.astype(np.float64) @ keys.swapaxes(1, 2)
        place = keys.shape[1] - new + np.arange(new).repeat(self.heads // kv)
        scores[:, np.arange(keys.shape[1])[None] > place[:, None]] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ values

    def attend(self, folder: Path, *, apart: bool = False) -> np.ndarray:
        g, masks, kv, new = graph(), Masks(), self.layer.kv_heads, self.new
        held = int((self.positions == 0).sum())
        causal = np.where(np.tri(new, dtype=bool), 0, -3e38)
        if apart:
            bias = np.repeat(self.positions[None], new, 0)
            for row in range(new):
                bias[row, held : held + row] = 0
            bias = np.concatenate([bias, np.zeros((new, 1), np.float32)], 1)
        else:
            bias = np.concatenate([np.repeat(self.positions[None], new, 0), causal], 1)
        bias = np.concatenate([bias] * kv)[:, None].astype(np.float32)
        masks.bias["full"] = masks.apart_bias["full"] = g.constant("bias", bias)
        masks.sizes["full"] = g.ints(SLOTS * BLOCKS, new)
        masks.apart_sizes["full"] = g.ints(SLOTS * BLOCKS, 1)
        masks.slots["full"] = g.ints(*range(held - SLOTS * (BLOCKS - 1), held - SLOTS * (BLOCKS - 1) + new))
        q = g.input("q", list(self.q.shape))
        past = {part.name: g.input(part.name, list(part.array.shape), _kind(part.array)) for part in self.parts}
        fresh = {name: g.input(name, list(array.shape), _kind(array)) for name, array in self.tokens.items()}
        rows = [
            g.op("Mul", g.op("Cast", fresh[f"new_{name}"], to=FLOAT), fresh[f"new_{name}_scale"]) for name in ("key", "value")
        ]
        source = Source(past, *rows, {name.removeprefix("new_"): kept for name, kept in fresh.items()})
        attention, y = CodedAttention(g, self.heads, Blocks(SLOTS, SLOTS), masks), g.name("y")
        (attention.rows_apart if apart else attention.few_rows)(q, self.layer, source, y)
        g.output(y, "out", ["kv", "rows", self.size])
        inputs = {"q": self.q, **{part.name: part.array for part in self.parts}, **self.tokens}
        return run(g, folder / "g.onnx", inputs)[0]


def _kind(array: np.ndarray) -> int:
    return INT8 if array.dtype == np.int8 else FLOAT


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize(("tokens", "new"), [(0, 5), (1, 1), (40, 1), (48, 3), (37, 20)])
def test_it_is_attention_over_what_the_codes_stand_for(kv_heads: int, tokens: int, new: int, tmp_path: Path) -> None:
    case = Attended(kv_heads, tokens, new)
    expected = case.expected()
    assert np.abs(case.attend(tmp_path) - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize(("tokens", "new"), [(33, 1), (40, 3), (44, 4)])
def test_rows_apart_too(kv_heads: int, tokens: int, new: int, tmp_path: Path) -> None:
    case = Attended(kv_heads, tokens, new)
    expected = case.expected()
    assert np.abs(case.attend(tmp_path, apart=True) - expected).max() < 2e-3 * np.abs(expected).max()


def test_what_lies_beyond_the_end_changes_no_bit(tmp_path: Path) -> None:
    case = Attended(1, 37, 2)
    before = case.attend(tmp_path)
    for part in case.parts:
        beyond = part.tokens(BLOCKS - 1)[:, 37 - SLOTS * (BLOCKS - 1) :]
        beyond[:] = -beyond
    assert np.array_equal(case.attend(tmp_path), before)


def test_a_row_has_the_same_bits_in_company(tmp_path: Path) -> None:
    """Over a cache that all see alike: the rows of a longer run, in part."""
    case = Attended(1, 48, 6)
    together = case.attend(tmp_path)
    alone = Attended.__new__(Attended)
    alone.__dict__.update(case.__dict__)
    alone.new, alone.q = 1, case.q[:, :4]
    alone.tokens = {name: array[:, :1] for name, array in case.tokens.items()}
    assert np.allclose(alone.attend(tmp_path), together[:, :4], atol=1e-6)
