"""How much slower a token is after a long conversation: `python context.py BUNDLE [THREADS] [PREPARED]`, as JSON.

Sessions of one model hold 256 to 4,096 tokens; each decodes a few tokens before it is the next one's turn, so that what else the
machine does meets all.
"""

import json
import sys
from pathlib import Path
from statistics import median

from work import CAPACITY, Stopwatch, memory, tokens

from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel

CONTEXTS = (256, 1024, 2048, 4096)
BURST, BURSTS = 4, 15


def main() -> None:
    bundle, threads = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    prepared = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    watch = Stopwatch()
    model = OnnxModel.open(bundle, threads=threads, spin=threads > 1, prepared=prepared)
    opened = watch.read() | memory()
    sessions = {context: model.session(CAPACITY) for context in CONTEXTS}
    for context, session in sessions.items():
        session.feed_ids(tokens(context, context))
        next(iter(session.decode(Sampling())))
    found: dict[int, list[dict[str, float]]] = {context: [] for context in CONTEXTS}
    for _ in range(BURSTS):
        for context, session in sessions.items():
            session.cut(context)
            watch, left = Stopwatch(), BURST
            while left:
                left -= sum(1 for _ in session.decode(Sampling(max_tokens=left)))
            found[context].append(watch.read())
    figures = {
        context: {clock: round(1000 * median(run[clock] for run in runs) / BURST, 2) for clock in ("wall_s", "cpu_s")}
        for context, runs in found.items()
    }
    print(json.dumps({"threads": threads, "opened": opened, "ms a token": figures}))


if __name__ == "__main__":
    main()
