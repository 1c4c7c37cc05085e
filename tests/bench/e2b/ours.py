"""The product's side: `python ours.py BUNDLE THREADS [PREPARED]`, then one job a line."""

import sys
import time
from pathlib import Path
from typing import Any

from work import AFTER, BEFORE, CAPACITY, FRAME, RATE, Stopwatch, memory, serve, sound, tokens

from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel


class Ours:
    def __init__(self, bundle: Path, threads: int, prepared: Path | None) -> None:
        watch = Stopwatch()
        self.model = OnnxModel.open(bundle, threads=threads, spin=threads > 1, prepared=prepared)
        self._opened = watch.read() | memory()
        self.session = self.model.session(CAPACITY)

    def opened(self) -> dict[str, float]:
        """What opening the model took, and the memory after it."""
        return self._opened

    def prefill(self, context: int) -> dict[str, float]:
        """`context` tokens, up to the logits of the next."""
        self.session = self.model.session(CAPACITY)
        watch = Stopwatch()
        self.session.feed_ids(tokens(context, context))
        self.session.logits()
        return watch.read()

    def decode(self, count: int) -> dict[str, float]:
        """The next tokens after what is in the cache."""
        watch, left = Stopwatch(), count
        while left:  # a random model may end its reply at any token
            left -= sum(1 for _ in self.session.decode(Sampling(max_tokens=left)))
        return watch.read()

    def hear(self, seconds: float) -> dict[str, Any]:
        """Sound as a microphone delivers it, and the time from its last sample to the first token."""
        pcm, session = sound(seconds), self.model.session(CAPACITY)
        session.feed_ids(tokens(BEFORE, 0))
        session.begin_audio()
        cpu, begin, late_s = time.process_time(), time.perf_counter(), 0.0
        for at in range(0, len(pcm), FRAME):
            frame = pcm[at : at + FRAME]
            due = begin + (at + len(frame)) / RATE
            while (ahead := due - time.perf_counter()) > 0:
                time.sleep(ahead)
            late_s = max(late_s, time.perf_counter() - due)
            session.feed_audio(frame)
        listening = time.process_time() - cpu
        session.end_audio()
        session.feed_ids(tokens(AFTER, 1))
        next(iter(session.decode(Sampling())))
        after = time.perf_counter() - begin - len(pcm) / RATE
        return {"after_s": after, "late_s": late_s, "listening_cpu": listening / seconds, "tokens": session.position - BEFORE}

    def memory(self) -> dict[str, float]:
        return memory()


def main() -> None:
    bundle, threads, *prepared = sys.argv[1:]
    side = Ours(Path(bundle), int(threads), Path(prepared[0]) if prepared else None)
    serve({"prefill": side.prefill, "decode": side.decode, "hear": side.hear, "memory": side.memory, "opened": side.opened})


if __name__ == "__main__":
    main()
