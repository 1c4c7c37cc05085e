"""Whether somebody has finished, by how it sounded: smart-turn v3 (extra `smart-turn`).

The model hears the falling voice of a finished sentence, and the held one of "set a timer for …". It is right about most finished
turns and only about half of the unfinished, so that it never ends a turn: it makes the wait for the end shorter or longer.

Model: smart-turn-v3.2 (BSD-2-Clause), which the package pipecat-ai carries; only its file is used, nothing of the package is run.
Features: Whisper's log-mel spectrogram over 8 s (transformers 5.23, `feature_extraction_whisper.py`).
"""

import importlib
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_assistant.errors import EdgeAssistantError
from edge_assistant.frames import SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm

HEARD_S = 8
"""The model hears the end of a turn, so much of it."""
WINDOW, HOP, BINS = 400, 160, 80
FLOOR, RANGE = 1e-10, 8.0
"""Power below which everything is silence, and what is kept below the loudest, in powers of ten."""


class EndOfTurn:
    """The model. It remembers nothing: every call hears the turn anew."""

    def __init__(self) -> None:
        """Load the model. Raises EdgeAssistantError if it is not installed."""
        ort: Any = importlib.import_module("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model: Any = ort.InferenceSession(_file(), options, providers=["CPUExecutionProvider"])
        self._filters = filter_bank()
        self._window = np.hanning(WINDOW + 1)[:-1]  # periodic

    def probability(self, turn: Pcm) -> float:
        """How probable it is, 0 to 1, that nothing more comes. `turn` is what was heard so far, silence too; shape [samples]."""
        (answer,) = self._model.run(None, {"input_features": self.features(turn)[None]})
        return float(answer.reshape(-1)[0])

    def features(self, turn: Pcm) -> NDArray[np.float32]:
        """Log-mel of the last 8 s, silence in front of a shorter turn. Shape [samples] to [bins, frames]."""
        samples = HEARD_S * SAMPLE_RATE_HZ
        heard = turn[-samples:]
        heard = np.pad(heard, (samples - len(heard), 0))
        heard = (heard - heard.mean()) / np.sqrt(heard.var() + 1e-7)
        padded = np.pad(heard.astype(np.float64), WINDOW // 2, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:samples:HOP]
        power = np.abs(np.fft.rfft(windows * self._window, axis=-1)) ** 2
        log = np.log10(np.maximum(FLOOR, power @ self._filters))
        return ((np.maximum(log, log.max() - RANGE) + 4) / 4).T.astype(np.float32)


def end_wait_ms(probability: float, usual_ms: int, *, min_ms: int, max_ms: int) -> int:
    """How much silence ends the turn: `usual_ms` at even odds, `min_ms` when surely finished, `max_ms` when surely not.

    Straight lines between the three; `usual_ms` itself is brought within the bounds.
    """
    return round(float(np.interp(probability, [0.0, 0.5, 1.0], [max_ms, min(max(usual_ms, min_ms), max_ms), min_ms])))


def filter_bank() -> NDArray[np.float64]:
    """Triangles of equal area on Slaney's mel scale (linear to 1 kHz, then logarithmic). Shape [WINDOW / 2 + 1, BINS]."""
    top = 15 + math.log(SAMPLE_RATE_HZ / 2 / 1000) * 27 / math.log(6.4)
    mels = np.linspace(0, top, BINS + 2)
    edges_hz = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW // 2 + 1)
    slopes = edges_hz[None] - bins_hz[:, None]
    widths = np.diff(edges_hz)
    falling, rising = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    return np.maximum(0, np.minimum(falling, rising)) * 2 / (edges_hz[2:] - edges_hz[:-2])


def _file() -> Path:
    # Found, not imported: the package itself is a framework with a hundred dependencies.
    spec = find_spec("pipecat")
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder) / "audio" / "turn" / "smart_turn" / "data" / "smart-turn-v3.2-cpu.onnx"
        if path.is_file():
            return path
    raise EdgeAssistantError("the end-of-turn model is not installed", "pip install --no-deps pipecat-ai, which carries it")
