"""How much slower a token is after a long conversation, by the bits of the cache: `python context.py BUNDLE [BUNDLE …]`, as JSON
for each number of threads.

Sessions of every bundle hold 256 to 4,096 tokens; each decodes a few tokens before it is the next one's turn, and they are fed in
pieces, in turns: so what else the machine does meets all. With --prepared, weights are packed beforehand and mapped from files.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from work import CAPACITY, Stopwatch, memory, tokens

from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession
from edge_assistant.runtimes.prepared import is_prepared, prepare

CONTEXTS = (256, 2048, 4096)
PIECE = 256
"""Tokens fed before it is the next one's turn."""
BURST, BURSTS = 4, 15
CLOCKS = ("wall_s", "cpu_s")


def packed(bundle: Path) -> Path:
    """The bundle's packed weights, beside it."""
    folder = bundle.with_name(f"{bundle.name}-prepared")
    if not is_prepared(Bundle.open(bundle), folder):
        prepare(bundle, folder)
    return folder


def decode(session: OnnxSession, count: int) -> None:
    left = count
    while left:  # a random model may end its reply at any token
        left -= sum(1 for _ in session.decode(Sampling(max_tokens=left)))


def fill(sessions: dict[str, OnnxSession], context: int) -> dict[str, dict[str, float]]:
    """Tokens a second, up to the logits of the next."""
    spent = {name: dict.fromkeys(CLOCKS, 0.0) for name in sessions}
    ids = tokens(context, context)
    for begin in range(0, context, PIECE):
        for name, session in sessions.items():
            watch = Stopwatch()
            session.feed_ids(ids[begin : begin + PIECE])
            if begin + PIECE >= context:
                session.logits()
            for clock, seconds in watch.read().items():
                spent[name][clock] += seconds
    return {name: {clock: round(context / each[clock], 1) for clock in CLOCKS} for name, each in spent.items()}


def measure(bundles: list[Path], threads: int, prepared: bool) -> dict[str, Any]:
    models: dict[str, OnnxModel] = {}
    for bundle in bundles:
        folder = packed(bundle) if prepared else None
        models[bundle.name] = OnnxModel.open(bundle, threads=threads, spin=threads > 1, prepared=folder)
    out: dict[str, Any] = {"threads": threads, "opened": memory(), "prefill, tok/s": {}, "decode, ms a token": {}}
    sessions: dict[int, dict[str, OnnxSession]] = {}
    for context in CONTEXTS:
        sessions[context] = {name: model.session(CAPACITY) for name, model in models.items()}
        out["prefill, tok/s"][context] = fill(sessions[context], context)
        print(f"{threads} threads: {context} tokens fed", file=sys.stderr, flush=True)
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for _, context, name in itertools.product(range(BURSTS + 1), CONTEXTS, models):
        session = sessions[context][name]
        session.cut(context)
        watch = Stopwatch()
        decode(session, BURST)
        found.setdefault((context, name), []).append(watch.read())
    for (context, name), runs in found.items():
        times = {clock: round(1000 * median(run[clock] for run in runs[1:]) / BURST, 2) for clock in CLOCKS}
        out["decode, ms a token"].setdefault(context, {})[name] = times
    long, short = (out["decode, ms a token"][context] for context in (CONTEXTS[-1], CONTEXTS[0]))
    out["as many times 256"] = {
        name: {clock: round(long[name][clock] / short[name][clock], 3) for clock in CLOCKS} for name in models
    }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--prepared", action="store_true")
    options = parser.parse_args()
    for threads in options.threads:
        print(json.dumps(measure(options.bundles, threads, options.prepared), indent=1), flush=True)


if __name__ == "__main__":
    main()
