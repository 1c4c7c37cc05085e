"""What a drafter costs and what it has to bring at E2B's shape: `python drafting.py BUNDLE [THREADS] [PREPARED]`, as JSON.

A pass checks the drafted tokens and one more, so k right guesses out of k make k + 1 tokens of it. Against one row at a time: a
draft step, passes of two to five rows, and from both how many tokens a pass must bring so that drafting is no slower. Then
whole answers with and without. The weights are random and guess nothing right: the last is the worst that can happen.
"""

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from work import CAPACITY, Stopwatch, tokens

from edge_assistant.gemma4.cache import Cache
from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.drafting import Drafter, Drafting, rows_alike
from edge_assistant.runtimes.engine import Threads
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession

CONTEXTS = (256, 2048, 4096)
FED = 8
"""Tokens after those: blocks of the cache end at the contexts themselves."""
MOST = 5
"""Rows in a pass."""
TURNS, ANSWERS, BURST = 12, 3, 8


class Bench:
    def __init__(self, bundle: Path, threads: int, prepared: Path | None) -> None:
        self.model = OnnxModel.open(bundle, threads=threads, spin=threads > 1, prepared=prepared)
        config, text = self.model.bundle.drafter, self.model.config.text
        assert config
        manifest = self.model.bundle.manifest
        path = (prepared or bundle) / "drafter.onnx"
        self.drafter = Drafter(config, text, path, Threads(threads, threads > 1))
        self.alike = rows_alike(self.model.decoder, text, manifest.blocks, MOST, manifest.quantisation.cache_bits)
        random = np.random.default_rng(0)
        self.embeds = random.standard_normal((MOST, text.hidden), np.float32)
        self.ple_rows = random.standard_normal((MOST, len(text.layers) * text.ple), np.float32)

    def session(self, context: int) -> OnnxSession:
        """Its cache is filled with noise: times do not depend on it."""
        session, random = self.model.session(CAPACITY), np.random.default_rng(context)
        cache = session._cache
        for part in itertools.chain(*cache.parts):
            part.array[:] = (50 * random.standard_normal(part.array.shape, np.float32)).astype(part.array.dtype)
        cache.cut(context)
        session._ids = tokens(context, context)
        session.feed_ids(tokens(FED, 0))
        return session

    def one(self, cache: Cache) -> None:
        self.model.decoder.upper(cache, self.model.decoder.lower(cache, self.embeds[:1], self.ple_rows[:1]))

    def together(self, cache: Cache, count: int) -> None:
        rows = self.model.decoder.lower_apart(cache, self.embeds[:count], self.ple_rows[:count])
        self.model.decoder.upper_with_states(cache, rows)

    def costs(self, session: OnnxSession) -> dict[str, dict[str, float]]:
        """Milliseconds of each part, taken in turns."""
        cache, begin = session._cache, session.position
        parts: dict[str, Callable[[], object]] = {"one row": lambda: self.one(cache)}
        for count in range(2, MOST + 1):
            parts[f"{count} rows"] = lambda count=count: self.together(cache, count)
        parts["draft"] = lambda: self.drafter.step(cache, self.embeds[:1], self.embeds[0])
        found: dict[str, list[dict[str, float]]] = {name: [] for name in parts}
        for _ in range(TURNS + 1):
            for name, part in parts.items():
                watch = Stopwatch()
                part()
                found[name].append(watch.read())
                cache.cut(begin)
        return {
            clock: {name: round(1000 * median(run[clock] for run in runs[1:]), 2) for name, runs in found.items()}
            for clock in ("wall_s", "cpu_s")
        }

    def answers(self, session: OnnxSession) -> dict[str, dict[str, float]]:
        """Milliseconds a token, and tokens a pass, by how many are drafted."""
        model, begin = self.model, session.position
        found: dict[int, list[tuple[float, float, float]]] = {draft: [] for draft in range(4)}
        for _ in range(ANSWERS):
            for draft, runs in found.items():
                model.drafting = Drafting(model.decoder, self.drafter, model.embed, frozenset(), draft) if draft else None
                session.cut(begin)
                passes, run = 0, model.decoder._add

                def counted(*arguments: Any, run: Any = run, **kind: bool) -> Any:
                    nonlocal passes
                    passes += 1
                    return run(*arguments, **kind)

                model.decoder._add = counted  # type: ignore[method-assign]
                watch, left = Stopwatch(), BURST
                while left:
                    left -= sum(1 for _ in session.decode(Sampling(max_tokens=left)))
                spent = watch.read()
                del model.decoder._add
                runs.append((spent["wall_s"], spent["cpu_s"], BURST / passes))
        session.cut(begin)
        return {
            f"{draft} drafted": {
                "wall_ms": round(1000 * median(wall for wall, _, _ in runs) / BURST, 2),
                "cpu_ms": round(1000 * median(cpu for _, cpu, _ in runs) / BURST, 2),
                "tokens a pass": round(median(each for _, _, each in runs), 2),
            }
            for draft, runs in found.items()
        }


def needed(costs: dict[str, float]) -> dict[str, float]:
    """Tokens that a pass must bring, its own included, to be as fast as one row at a time; by how many are drafted."""
    passes = {draft: costs[f"{draft + 1} rows"] + draft * costs["draft"] for draft in range(1, MOST)}
    return {f"{draft} drafted": round(cost / costs["one row"], 2) for draft, cost in passes.items()}


def main() -> None:
    bundle, threads = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bench = Bench(bundle, threads, Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    out: dict[str, Any] = {"threads": threads, "rows alike": bench.alike}
    for context in CONTEXTS:
        session = bench.session(context)
        costs = bench.costs(session)
        out[str(context)] = {"ms": costs, "needed": {clock: needed(each) for clock, each in costs.items()}}
        out[str(context)]["answers"] = bench.answers(session)
        print(f"{threads} threads, {context} tokens: done", file=sys.stderr, flush=True)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
