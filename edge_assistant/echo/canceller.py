"""Strategies against our own echo: what the microphone heard and what the loudspeaker played in, what the user said out."""

import ctypes
import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from edge_assistant.errors import EchoError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm


class Canceller(Protocol):
    """Takes the echo out. It remembers: frames are given in order, silent ones too."""

    delay_samples: int
    """How much later the cleaned sound comes out than it went in."""

    def __call__(self, near: Pcm, far: Pcm) -> Pcm:
        """The near frame without the far one's echo; all of shape [FRAME_SAMPLES].

        `far` is what the loudspeaker played, aligned so that its echo begins in the same frame or up to the tail later.
        """
        ...


class NoCanceller:
    """Half duplex: nothing is cancelled, the loop ignores the microphone while we sound. Also where the sound server cancels."""

    delay_samples = 0

    def __call__(self, near: Pcm, far: Pcm) -> Pcm:
        """The near frame as it is."""
        return near


class SpeexCanceller:
    """libspeexdsp: a linear filter that learns the room, then suppression of what it leaves. Needs both clocks to agree.

    The suppression is what keeps our own voice from the speech detector. Its noise suppression stays off: the model hears the
    room that it was trained to hear.
    """

    BLOCK = 256
    """Samples that the filter takes at a time: it learns twice a frame."""

    def __init__(self, tail_ms: int = 200) -> None:
        """`tail_ms`: how long the room rings, at most; a longer filter learns more slowly.

        Raises:
            EchoError: the library is not installed.
        """
        self._lib = _speexdsp()
        self.delay_samples = self.BLOCK  # the suppressor overlaps its blocks
        self._echo = ctypes.c_void_p(self._lib.speex_echo_state_init(self.BLOCK, tail_ms * SAMPLE_RATE_HZ // 1000))
        self._suppressor = ctypes.c_void_p(self._lib.speex_preprocess_state_init(self.BLOCK, SAMPLE_RATE_HZ))
        rate = ctypes.c_int(SAMPLE_RATE_HZ)
        self._lib.speex_echo_ctl(self._echo, _ECHO_SET_SAMPLING_RATE, ctypes.byref(rate))
        self._lib.speex_preprocess_ctl(self._suppressor, _SET_ECHO_STATE, self._echo)
        for request, value in ((_SET_NOISE_SUPPRESS, 0), (_SET_ECHO_SUPPRESS, -40), (_SET_ECHO_SUPPRESS_ACTIVE, -15)):
            self._lib.speex_preprocess_ctl(self._suppressor, request, ctypes.byref(ctypes.c_int(value)))

    def __call__(self, near: Pcm, far: Pcm) -> Pcm:
        """The near frame without the far one's echo."""
        heard, played = _to_int16(near), _to_int16(far)
        cleaned = np.empty(FRAME_SAMPLES, np.int16)
        for begin in range(0, FRAME_SAMPLES, self.BLOCK):
            block = slice(begin, begin + self.BLOCK)
            self._lib.speex_echo_cancellation(
                self._echo, _address(heard[block]), _address(played[block]), _address(cleaned[block])
            )
            self._lib.speex_preprocess_run(self._suppressor, _address(cleaned[block]))
        return cleaned.astype(np.float32) / np.float32(32768)

    def __del__(self) -> None:
        """Give the library its memory back."""
        if hasattr(self, "_suppressor"):
            self._lib.speex_preprocess_state_destroy(self._suppressor)
            self._lib.speex_echo_state_destroy(self._echo)


class Aec3Canceller:
    """WebRTC's AEC3: finds the delay and follows drifting clocks by itself, but swallows most of a user who speaks over us."""

    BLOCK = SAMPLE_RATE_HZ // 100
    """It works on 10 ms; a frame is 32 ms."""
    HOLDS = 128
    """Samples by which its output is late; measured."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            EchoError: the package is not installed.
        """
        try:
            webrtc: Any = importlib.import_module("pywebrtc_audio")
        except ImportError as error:
            raise EchoError("the echo canceller aec3 is not installed", "pip install 'edge-assistant[aec3]'") from error
        self._aec: Any = webrtc.EchoCanceller(sample_rate=SAMPLE_RATE_HZ)
        self._waiting = np.zeros((2, 0), np.float32)
        # A frame is 3.2 blocks: with 128 samples in stock there are always 512 to give. Its own filters hold 128 more.
        stock = self.BLOCK - FRAME_SAMPLES % self.BLOCK
        self.delay_samples = stock + self.HOLDS
        self._done = np.zeros(stock, np.float32)

    def __call__(self, near: Pcm, far: Pcm) -> Pcm:
        """The near frame without the far one's echo."""
        waiting = np.concatenate([self._waiting, np.stack([near, far])], axis=1)
        whole = waiting.shape[1] // self.BLOCK * self.BLOCK
        heard, played = np.ascontiguousarray(waiting[:, :whole])
        self._done = np.concatenate([self._done, self._aec.process(heard, played)])
        self._waiting = waiting[:, whole:]
        cleaned, self._done = self._done[:FRAME_SAMPLES], self._done[FRAME_SAMPLES:]
        return cleaned


CANCELLERS: dict[str, Callable[[], Canceller]] = {
    "half-duplex": NoCanceller,
    "speexdsp": SpeexCanceller,
    "aec3": Aec3Canceller,
    "system": NoCanceller,
}
"""Strategies by the name that the command line gives them."""

# Requests of speex_echo.h and speex_preprocess.h.
_ECHO_SET_SAMPLING_RATE = 24
_SET_NOISE_SUPPRESS, _SET_ECHO_SUPPRESS, _SET_ECHO_SUPPRESS_ACTIVE, _SET_ECHO_STATE = 18, 20, 22, 24


def _speexdsp() -> Any:
    try:
        lib: Any = ctypes.CDLL("libspeexdsp.so.1")
    except OSError as error:
        raise EchoError("the echo canceller speexdsp is not installed", "apt install libspeexdsp1") from error
    lib.speex_echo_state_init.restype = lib.speex_preprocess_state_init.restype = ctypes.c_void_p
    return lib


def _to_int16(pcm: Pcm) -> Any:
    return (np.clip(pcm, -1, 1) * 32767).astype(np.int16)


def _address(block: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(block.ctypes.data)
