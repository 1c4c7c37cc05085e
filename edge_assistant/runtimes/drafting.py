"""Several greedy tokens from one pass: a drafter guesses them, the model checks all guesses at once.

What comes out is what the model alone would have said, to the bit: ids, probabilities, keys and values. Rows that are checked
together are computed as if each had come alone (`decoder.Layers`), and that holds on a processor whose matrix products give a
row the same bits whatever the number of rows. Whether they do is not assumed: it is tried when the model is opened, for so many
rows as will be used. A kernel that sums in another order shows at once in the thousands of numbers that are compared; where one
does, fewer rows are taken, or none, and the drafter is left alone.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_assistant.gemma4.cache import Blocks, Cache
from edge_assistant.gemma4.config import KINDS, TextConfig
from edge_assistant.gemma4.drafter import DrafterConfig
from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.engine import Decoder, Graph, Row, Threads
from edge_assistant.runtimes.sampling import choose

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
Embed = Callable[[list[int]], tuple[Array, Array]]
"""See `OnnxModel.embed`."""
MOST = 8
"""Tokens that may be drafted at once."""
WORTH = 0.4
"""A guess is checked where it and all before it are right at least so often, by the drafter's own word: a row more takes 0.15 to
0.3 of the time of one alone at E2B's shape (docs/benchmarks.md), and a drafter may be surer than right."""
_VECTOR = 16
"""Floats of the widest vector of any processor. Of a head half is turned, by Eigen, which takes 4 or 8."""
_GREEDY, _UNUSED = Sampling(), np.random.default_rng(0)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token that a model has chosen."""

    id: int
    probability: float
    state: Array
    """What chose it, or is to choose the next. Shape [hidden]."""


class Drafter:
    """The drafter's graph, over the cache of the large model."""

    def __init__(self, config: DrafterConfig, target: TextConfig, path: Path, threads: Threads) -> None:
        self._config, self._target = config, target
        self._graph = Graph(path, threads)

    def step(self, cache: Cache, embeds: Array, state: Array) -> Chosen:
        """A guess at the token after the one that follows the cache.

        `embeds` [1, hidden]: of that one, or of the last guess; `state` [hidden]: what chose it.
        """
        ids, logits, after = self.compare(cache, embeds, state)
        best, probability = choose(logits, _GREEDY, _UNUSED)
        return Chosen(best if ids is None else int(ids[best]), probability, after)

    def compare(self, cache: Cache, embeds: Array, state: Array) -> tuple[NDArray[np.int32] | None, Array, Array]:
        """Ids of the tokens that were compared (None: all, in order), their logits, and the next state [hidden]."""
        config, target = self._config, self._target
        inputs: dict[str, NDArray[Any]] = {
            "inputs_embeds": np.ascontiguousarray(embeds[None]),
            "state": np.ascontiguousarray(state[None, None]),
            "positions": np.array([cache.length], np.int64),
        }
        for kind in KINDS:
            if f"key.{kind}" not in self._graph.inputs:
                continue
            view = cache.view(kind, cache.length - 1, config.text.window)
            inputs[f"key_positions.{kind}"] = view.positions
            inputs |= cache.shown(target.source(kind), view, "", f".{kind}")
        logits, after = np.empty((1, config.candidates), np.float32), np.empty((1, 1, config.backbone), np.float32)
        ids = np.empty((1, config.candidates), np.int32) if config.clusters else None
        outputs: dict[str, NDArray[Any]] = {"logits": logits, "next_state": after}
        self._graph.run(inputs, outputs if ids is None else outputs | {"ids": ids})
        return None if ids is None else ids[0], logits[0], after[0, 0]


@dataclass(frozen=True, slots=True)
class Checked:
    """A token whose keys and values lie in the cache already, beyond its end."""

    id: int
    probability: float
    row: Row


@dataclass(slots=True)
class Ahead:
    """What is known of the answer beyond the end of the cache."""

    checked: deque[Checked] = field(default_factory=deque[Checked])
    chosen: Chosen | None = None
    """The one after those, where it is known."""


class Drafting:
    """Decodes with a drafter."""

    def __init__(self, decoder: Decoder, drafter: Drafter, embed: Embed, stops: frozenset[int], most: int) -> None:
        self.most = most
        """Tokens drafted at once."""
        self._decoder, self._drafter, self._embed, self._stops = decoder, drafter, embed, stops

    def go_on(self, cache: Cache, row: Row, chosen: Chosen | None, wanted: int) -> Ahead:
        """At least one more token, at most `wanted`; `row` is the last token's in the cache, which stays as long as it was.

        `chosen` is what an earlier call gave as the next. There must be room for a token.
        """
        length = cache.length
        chosen = chosen or self._choose(cache, row)
        drafted = self._draft(cache, chosen, min(wanted, self.most + 1))
        embeds, ple_rows = self._embed([chosen.id, *drafted])
        try:
            if not drafted:
                row = self._decoder.lower(cache, embeds, ple_rows)
                return Ahead(deque([Checked(chosen.id, chosen.probability, row)]))
            rows = self._decoder.lower_apart(cache, embeds, ple_rows)
            logits, states = self._decoder.upper_with_states(cache, rows)
        finally:
            cache.cut(length)
        ahead = Ahead()
        for i, guess in enumerate([*drafted, None]):
            ahead.checked.append(Checked(chosen.id, chosen.probability, rows[i]))
            chosen = Chosen(*choose(logits[i], _GREEDY, _UNUSED), states[i].copy())
            if chosen.id != guess:
                break
        ahead.chosen = chosen
        return ahead

    def _choose(self, cache: Cache, row: Row) -> Chosen:
        logits, states = self._decoder.upper_with_states(cache, row)
        return Chosen(*choose(logits[0], _GREEDY, _UNUSED), states[0])

    def _draft(self, cache: Cache, chosen: Chosen, rows: int) -> list[int]:
        """Guesses at what follows the chosen one: fewer than `rows`, for that needs one."""
        drafted: list[int] = []
        likely = 1.0
        for _ in range(cache.apart(rows) - 1):
            if chosen.id in self._stops:
                break
            chosen = self._drafter.step(cache, self._embed([chosen.id])[0], chosen.state)
            likely *= chosen.probability
            if likely < WORTH:
                break
            drafted.append(chosen.id)
        return drafted


def rows_alike(decoder: Decoder, config: TextConfig, blocks: Blocks, most: int, bits: int = 32) -> int:
    """How many rows, up to `most`, give together the very bits that they give alone, fewer of them too; 1 where no two do.

    Tried on noise, after noise in a cache of two of the larger blocks. Rows that are no whole vectors are not tried, for noise
    finds that too seldom: together, their elements fall into other places of a vector, and what is left over at the end is
    computed one by one, which rounds otherwise now and then (seen: sines of heads of 12, at one position in fifty).
    """
    if any(width % _VECTOR for width in _widths(config)):
        return 1
    random = np.random.default_rng(0)

    def noise(*shape: int) -> Array:
        return random.standard_normal(shape, np.float32)

    def fill(array: NDArray[Any]) -> None:
        # codes, times their scales, of the size of floats: larger ones would leave a softmax nothing but its largest
        array[:] = noise(*array.shape) if array.dtype == np.float32 else random.integers(-1, 2, array.shape, np.int8)

    cache = Cache(config, blocks, 2 * max(blocks.full, blocks.sliding), bits)
    for part in chain(*cache.parts):
        fill(part.array)
    begin, room = 0, 0
    for place in range(cache.capacity // 2 + 1, cache.capacity - most):
        cache.cut(place)
        if cache.apart(most) > room:
            begin, room = place, cache.apart(most)
    most = room
    cache.cut(begin)
    embeds, ple_rows = noise(most, config.hidden), noise(most, len(config.layers) * config.ple)
    alone: list[list[NDArray[Any]]] = []
    for i in range(most):
        row = decoder.lower(cache, embeds[i : i + 1], ple_rows[i : i + 1])
        logits, states = decoder.upper_with_states(cache, row)
        kept = [array.copy() for array in cache.token(begin + i)]
        alone.append([row.hidden[0, 0], logits[0], states[0], *kept])
    for count in range(2, most + 1):
        cache.cut(begin)
        for array in chain(*(cache.token(begin + i) for i in range(most))):
            fill(array)
        rows = decoder.lower_apart(cache, embeds[:count], ple_rows[:count])
        logits, states = decoder.upper_with_states(cache, rows)
        together = [[rows.hidden[0, i], logits[i], states[i], *cache.token(begin + i)] for i in range(count)]
        if not all(map(np.array_equal, chain(*together), chain(*alone[:count]))):
            return count - 1
    return most


def _widths(config: TextConfig) -> set[int]:
    """Of everything that functions are applied to, element by element."""
    layers = ((layer.mlp, layer.head_dim, config.heads * layer.head_dim) for layer in config.layers)
    return {config.hidden, config.ple, config.vocab, *chain(*layers)}
