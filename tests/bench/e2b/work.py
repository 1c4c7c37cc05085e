"""What both sides are asked to do, in numbers. Plain Python and numpy: the peer's environment reads it too."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
FRAME = 512
"""Samples of a microphone's frame: 32 ms."""
CAPACITY = 4608
BEFORE = 64
"""Tokens in the cache before the sound: a short system turn. On neither side is their time counted."""
AFTER = 5
"""Tokens after the sound: the end of the user's turn and the beginning of the model's."""


def tokens(count: int, seed: int) -> list[int]:
    """Ids of ordinary tokens."""
    return np.random.default_rng(seed).integers(1_000, 250_000, count).tolist()


def sound(seconds: float) -> NDArray[np.float32]:
    """Something as loud as speech."""
    return (0.05 * np.random.default_rng(1).standard_normal(round(seconds * RATE))).astype(np.float32)


class Stopwatch:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"wall_s": time.perf_counter() - self._wall, "cpu_s": time.process_time() - self._cpu}


def memory() -> dict[str, float]:
    """MB resident in this process: all, anonymous, and pages of files."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    keys = {"rss_mb": "VmRSS", "anonymous_mb": "RssAnon", "file_mb": "RssFile"}
    return {name: int(fields[key].split()[0]) * 1024 / 1e6 for name, key in keys.items()}


def serve(jobs: dict[str, Callable[..., Any]]) -> None:
    """Do what is asked, a line of JSON each, until the input ends."""
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(jobs[name](**arguments)), flush=True)
