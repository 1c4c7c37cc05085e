"""The product's side: `python ours.py BUNDLE LOGITS.npz PROMPT TOKENS SECONDS`, with one thread; emulated or not.

A prompt, tokens one by one, and a sound, with a place named between them (see count.c).
"""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np

from edge_assistant.runtimes.onnx import OnnxModel


def place(number: int) -> None:
    with contextlib.suppress(OSError):
        os.getpriority(0xA76, number)


def main() -> None:
    bundle, out = Path(sys.argv[1]), Path(sys.argv[2])
    prompt, tokens, seconds = (int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    ids = [1000 + 7919 * i % 20000 for i in range(prompt + tokens)]
    session = OnnxModel.open(bundle).session(prompt + tokens + 256)
    place(0)
    session.feed_ids(ids[:prompt])
    logits = [session.logits()]
    place(1)
    for i in range(tokens):
        session.feed_ids([ids[prompt + i]])
        logits.append(session.logits())
        place(2 + i)
    pcm = np.random.default_rng(0).standard_normal(round(seconds * 16000)).astype(np.float32) * 0.1
    session.begin_audio()
    before = session.position
    session.feed_audio(pcm)
    place(2 + tokens)
    soft = session.position - before
    session.end_audio()
    logits.append(session.logits())
    np.savez(out, logits=np.stack(logits), soft=soft)


if __name__ == "__main__":
    main()
