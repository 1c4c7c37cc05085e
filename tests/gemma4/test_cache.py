import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import SHAPES, config

from edge_assistant.gemma4.cache import NOWHERE, Blocks, Cache, Part
from edge_assistant.gemma4.config import KINDS, Config

CONFIG = Config.parse(config(SHAPES["two-key-heads"]), {}).text
RANDOM = np.random.default_rng(0)


BITS = [32, 8]


def rows(cache: Cache, count: int) -> list[list[np.ndarray]]:
    """Tokens: of each layer, of each part."""

    def noise(part: Part) -> np.ndarray:
        return (30 * RANDOM.standard_normal(part.fresh(count).shape)).astype(part.array.dtype)

    return [[noise(part) for part in parts] for parts in cache.parts]


@pytest.mark.parametrize("bits", BITS)
@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.one_of(st.integers(1, 40), st.integers(-40, -1)), min_size=1, max_size=8))
def test_every_row_lies_where_its_position_says(bits: int, steps: list[int]) -> None:
    """Against plain lists of rows; a negative step cuts."""
    cache = Cache(CONFIG, Blocks(8, 16), 400, bits)
    held = rows(cache, 0)
    for step in steps:
        if step < 0:
            cache.cut(max(0, cache.length + step))
            held = [[array[:, : cache.length] for array in layer] for layer in held]
        else:
            new = rows(cache, step)
            cache.append(new)
            held = [[np.concatenate(pair, 1) for pair in zip(*both, strict=True)] for both in zip(held, new, strict=True)]
    for i, layer in enumerate(CONFIG.layers[: CONFIG.lower]):
        for query in {cache.length, max(0, cache.length - 1)}:
            view = cache.view(layer.kind, query)
            full = view.positions != NOWHERE
            seen = view.positions[full].tolist()
            assert seen == list(range(seen[0], cache.length)) if seen else cache.length == 0
            if layer.kind == "sliding" and seen:
                assert seen[0] <= max(0, query - CONFIG.window + 1)
            shown = cache.shown(i, view, "past_", ".x")
            assert list(shown) == [f"past_{part.name}.x" for part in cache.parts[i]]
            for part, array, told in zip(cache.parts[i], shown.values(), held[i], strict=True):
                assert np.shares_memory(array, part.array)
                lying = np.moveaxis(array, (1, part.axis), (0, 2)).reshape(layer.kv_heads, -1, told.shape[2])
                assert np.array_equal(lying[:, full], told[:, seen])
    for position in range(cache.length):
        token = cache.token(position)
        assert all(map(np.array_equal, token, (array[:, position] for layer in held for array in layer)))


def test_sliding_layers_are_shown_little_of_a_long_past() -> None:
    cache = Cache(CONFIG, Blocks(8, 16), 400)
    cache.append(rows(cache, 390))
    assert len(cache.view("sliding", 390).positions) <= CONFIG.window + 8
    assert len(cache.view("full", 390).positions) == 400


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_cache_shows_one_empty_block(kind: str) -> None:
    view = Cache(CONFIG, Blocks(8, 16), 400).view(kind, 0)  # type: ignore[arg-type]
    assert view.end - view.begin == 1
    assert set(view.positions.tolist()) == {NOWHERE}


@pytest.mark.parametrize("bits", BITS)
def test_what_does_not_fit_is_not_restored(bits: int) -> None:
    cache = Cache(CONFIG, Blocks(8, 16), 64, bits)
    cache.append(rows(cache, 20))
    others = [Cache(CONFIG, Blocks(16, 16), 64, bits), Cache(CONFIG, Blocks(8, 16), 16, bits)]
    others += [Cache(CONFIG, Blocks(8, 16), 64, wrong) for wrong in BITS if wrong != bits]
    for other in others:
        assert not other.restore(cache.rows(), 20)
        assert other.length == 0
    same = Cache(CONFIG, Blocks(8, 16), 64, bits)
    assert same.restore(cache.rows(), 20)
    for position in range(20):
        assert all(map(np.array_equal, same.token(position), cache.token(position)))


@pytest.mark.parametrize("bits", BITS)
def test_what_is_shed_is_what_nobody_holds(bits: int) -> None:
    cache = Cache(CONFIG, Blocks(8, 16), 64, bits)
    cache.append(rows(cache, 60))
    cache.cut(20)
    before = [array.copy() for position in range(20) for array in cache.token(position)]
    cache.shed()
    assert all(map(np.array_equal, before, (array for position in range(20) for array in cache.token(position))))
    assert not any(part.array[4:].any() for parts in cache.parts for part in parts)


def test_it_takes_a_quarter_in_8_bits_and_a_scale() -> None:
    def size(bits: int) -> int:
        return sum(part.array.nbytes for parts in Cache(CONFIG, Blocks(8, 16), 64, bits).parts for part in parts)

    scales = sum(2 * 4 * layer.kv_heads * 64 for layer in CONFIG.layers[: CONFIG.lower])
    assert size(8) == size(32) // 4 + scales
