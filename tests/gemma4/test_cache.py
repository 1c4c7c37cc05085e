import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import SHAPES, config

from edge_assistant.gemma4.cache import NOWHERE, Blocks, Cache
from edge_assistant.gemma4.config import KINDS, Config

CONFIG = Config.parse(config(SHAPES["two-key-heads"]), {}).text
RANDOM = np.random.default_rng(0)


def rows(count: int) -> list[np.ndarray]:
    shapes = [(layer.kv_heads, count, layer.head_dim) for layer in CONFIG.layers[: CONFIG.lower]]
    return [RANDOM.standard_normal(shape, np.float32) for shape in shapes]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 40), st.integers(-40, -1)), min_size=1, max_size=8))
def test_every_row_lies_where_its_position_says(steps: list[int]) -> None:
    """Against plain lists of rows; a negative step cuts."""
    cache, keys, values = Cache(CONFIG, Blocks(8, 16), 400), rows(0), rows(0)
    for step in steps:
        if step < 0:
            cache.cut(max(0, cache.length + step))
            keys, values = ([a[:, : cache.length] for a in held] for held in (keys, values))
        else:
            new = rows(step), rows(step)
            cache.append(*new)
            keys, values = (
                [np.concatenate(pair, 1) for pair in zip(*both, strict=True)] for both in ((keys, new[0]), (values, new[1]))
            )
    for i, layer in enumerate(CONFIG.layers[: CONFIG.lower]):
        for query in {cache.length, max(0, cache.length - 1)}:
            view = cache.view(layer.kind, query)
            held = view.positions != NOWHERE
            seen = view.positions[held].tolist()
            assert seen == list(range(seen[0], cache.length)) if seen else cache.length == 0
            if layer.kind == "sliding" and seen:
                assert seen[0] <= max(0, query - CONFIG.window + 1)
            k = cache.keys[i][view.begin : view.end].swapaxes(0, 1).reshape(layer.kv_heads, -1, layer.head_dim)
            v = cache.values[i][view.begin : view.end].transpose(1, 0, 3, 2).reshape(layer.kv_heads, -1, layer.head_dim)
            assert np.array_equal(k[:, held], keys[i][:, seen])
            assert np.array_equal(v[:, held], values[i][:, seen])


def test_sliding_layers_are_shown_little_of_a_long_past() -> None:
    cache = Cache(CONFIG, Blocks(8, 16), 400)
    cache.append(rows(390), rows(390))
    assert len(cache.view("sliding", 390).positions) <= CONFIG.window + 8
    assert len(cache.view("full", 390).positions) == 400


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_cache_shows_one_empty_block(kind: str) -> None:
    view = Cache(CONFIG, Blocks(8, 16), 400).view(kind, 0)  # type: ignore[arg-type]
    assert view.end - view.begin == 1
    assert set(view.positions.tolist()) == {NOWHERE}


def test_what_does_not_fit_is_not_restored() -> None:
    cache, other = Cache(CONFIG, Blocks(8, 16), 64), Cache(CONFIG, Blocks(16, 16), 64)
    cache.append(rows(20), rows(20))
    assert not other.restore(cache.rows(), 20)
    assert other.length == 0
    short = Cache(CONFIG, Blocks(8, 16), 16)
    assert not short.restore(cache.rows(), 20)
