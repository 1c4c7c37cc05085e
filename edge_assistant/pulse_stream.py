"""A stream to or from a port of PulseAudio, or of PipeWire in its clothes.

One thread owns the connection and everything of it: it sleeps in libpulse's main loop, and does what there is to do whenever
that has waked it. libpulse's simple interface would want a second thread for each stream, and cannot rest. ALSA's `pulse` device
under PortAudio would be one library less, but when the server went away PortAudio 19.6 spun at a whole core, filled stderr and
could not be stopped.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from edge_assistant.errors import DeviceError
from edge_assistant.pulse import CAPTURE, PATIENCE_S, PLAYBACK, Direction
from edge_assistant.streams import Heard, Play

RESTING = 4
"""Blocks that a microphone gives at a time while nobody waits for them."""
LOOK = 4.5
"""Blocks from one look to the next meanwhile: some more, so that there are always so many. A server that has other listeners too
sends smaller pieces, and each would wake us."""


class PulseStream:
    """Connected, and running on a thread of its own."""

    def __init__(self, way: Direction, port: str, rate_hz: int, channels: int) -> None:
        """Connect to a port by name.

        Raises:
            DeviceError: it does not open.
        """
        self.rate_hz, self.channels = rate_hz, channels
        self.ended = self.paused = False
        self._held_s = way.pace.held_ms / 1000
        self._block = 4 * channels * way.pace.samples(rate_hz)
        self._lib = _libpulse()
        self._wanted = True
        self._resting = self._rests = False
        """What was asked for, and what the server was told."""
        self._freed = threading.Lock()
        self._stirred = threading.Event()
        self._look_s = LOOK * way.pace.block_ms / 1000 if way is CAPTURE else None
        self._loop: Any = self._lib.pa_mainloop_new()
        self._context: Any = self._lib.pa_context_new(self._lib.pa_mainloop_get_api(self._loop), b"edge-assistant")
        self._stream: Any = None
        try:
            self._connect(way, port)
        except DeviceError:
            self._free()
            raise

    @classmethod
    def capture(cls, port: str, rate_hz: int, channels: int, heard: Heard) -> "PulseStream":
        """Hear what a source gives. Raises DeviceError."""
        stream = cls(CAPTURE, port, rate_hz, channels)
        stream._start(stream._reader(heard), stream._give_more)
        return stream

    @classmethod
    def playback(cls, port: str, rate_hz: int, play: Play) -> "PulseStream":
        """Play into a sink. Raises DeviceError."""
        stream = cls(PLAYBACK, port, rate_hz, 1)
        stream._start(stream._writer(play), stream._pause)
        return stream

    @property
    def latency_s(self) -> float:
        """Sound under way between us and the device; asked on the stream's own thread, it is what the server said last."""
        if threading.current_thread() is not self._thread:
            return self._held_s
        latency_us, early = ctypes.c_uint64(), ctypes.c_int()
        known = self._lib.pa_stream_get_latency(self._stream, ctypes.byref(latency_us), ctypes.byref(early)) == 0
        self._forget(self._lib.pa_stream_update_timing_info(self._stream, None, None))
        return latency_us.value / 1e6 if known and not early.value else self._held_s

    def rest(self, resting: bool) -> None:
        """See `streams.Stream`."""
        self._resting = resting
        self._wake()

    def close(self) -> None:
        """Nothing is heard or played from here on."""
        self._wanted = False
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=0.3)

    def _connect(self, way: Direction, port: str) -> None:
        lib = self._lib
        deadline = time.monotonic() + PATIENCE_S
        spec = _SampleSpec(FLOAT32LE, self.rate_hz, self.channels)
        # The server leaves half of what goes beyond two blocks to the device: if nothing does, both run as fast as they can.
        target = round(4 * self.channels * self.rate_hz * self._held_s)
        self._attr = _BufferAttr(ANY, target, ANY, self._block, self._block)
        opened = lib.pa_context_connect(self._context, None, 0, None) >= 0 and self._becomes_ready(
            lambda: lib.pa_context_get_state(self._context), CONTEXT_READY, deadline
        )
        if opened:
            self._stream = lib.pa_stream_new(self._context, b"edge-assistant", ctypes.byref(spec), None)
            name, attr = port.encode(), ctypes.byref(self._attr)
            if way is CAPTURE:
                opened = lib.pa_stream_connect_record(self._stream, name, attr, ADJUST_LATENCY) >= 0
            else:
                opened = lib.pa_stream_connect_playback(self._stream, name, attr, ADJUST_LATENCY, None, None) >= 0
            opened = opened and self._becomes_ready(self._state, STREAM_READY, deadline)
        if not opened:
            fault = lib.pa_context_errno(self._context)
            reason = lib.pa_strerror(fault).decode() if fault else "the server does not answer"
            raise DeviceError(f"pulse:{port} does not open ({reason})", "edge-assistant devices lists what is there")

    def _becomes_ready(self, state: Callable[[], int], ready: int, deadline: float) -> bool:
        """Wait for a state; those beyond it are ends."""
        while (now := state()) < ready and (left_s := deadline - time.monotonic()) > 0:
            self._lib.pa_mainloop_prepare(self._loop, int(left_s * 1e6))
            self._lib.pa_mainloop_poll(self._loop)
            self._lib.pa_mainloop_dispatch(self._loop)
        return now == ready

    def _state(self) -> int:
        return self._lib.pa_stream_get_state(self._stream)

    def _sleep(self) -> None:
        """Until the server, or `_wake`, has something for us; a microphone at rest looks by itself."""
        if not self._rests or self._look_s is None:
            self._lib.pa_mainloop_iterate(self._loop, 1, None)
            return
        self._stirred.wait(self._look_s)
        self._stirred.clear()
        while self._lib.pa_mainloop_iterate(self._loop, 0, None) > 0:
            pass

    def _wake(self) -> None:
        """From any thread."""
        self._stirred.set()
        with self._freed:
            if self._loop:
                self._lib.pa_mainloop_wakeup(self._loop)

    def _start(self, work: Callable[[], None], rest: Callable[[bool], None]) -> None:
        """`work` does what can be done now; `rest` tells the server whether somebody waits for us."""

        def run() -> None:
            while self._wanted and self._state() == STREAM_READY:
                if self._resting is not self._rests:
                    self._rests = not self._rests
                    rest(self._rests)
                work()
                if self._resting is self._rests:
                    self._sleep()
            self.ended = True
            self._free()

        self._thread = threading.Thread(target=run, name="pulse", daemon=True)
        self._thread.start()

    def _reader(self, heard: Heard) -> Callable[[], None]:
        lib = self._lib
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        kept = bytearray()
        lost = False

        def read() -> None:
            nonlocal lost
            while lib.pa_stream_peek(self._stream, ctypes.byref(data), ctypes.byref(size)) == 0 and size.value:
                if data.value:
                    kept.extend(ctypes.string_at(data.value, size.value))
                lost = lost or not data.value  # a hole
                lib.pa_stream_drop(self._stream)
            whole = len(kept) // self._block * self._block
            if whole and self._wanted:
                heard(np.frombuffer(bytes(kept[:whole]), np.float32).reshape(-1, self.channels), self.rate_hz, lost)
                del kept[:whole]
                lost = False

        return read

    def _writer(self, play: Play) -> Callable[[], None]:
        lib = self._lib
        samples = self._block // 4

        def write() -> None:
            while self._wanted and not self._resting and lib.pa_stream_writable_size(self._stream) >= self._block:
                block = np.ascontiguousarray(play(samples), np.float32).tobytes()
                lib.pa_stream_write(self._stream, block, self._block, None, 0, 0)

        return write

    def _give_more(self, resting: bool) -> None:
        self._attr.fragsize = self._block * (RESTING if resting else 1)
        self._forget(self._lib.pa_stream_set_buffer_attr(self._stream, ctypes.byref(self._attr), None, None))

    def _pause(self, resting: bool) -> None:
        """What the server holds is silence: without it, the first word waits behind nothing."""
        self.paused = resting
        self._forget(self._lib.pa_stream_cork(self._stream, int(resting), None, None))
        if resting:
            self._forget(self._lib.pa_stream_flush(self._stream, None, None))

    def _forget(self, operation: Any) -> None:
        """It goes its way; nobody waits for its end."""
        if operation:
            self._lib.pa_operation_unref(operation)

    def _free(self) -> None:
        lib = self._lib
        if self._stream:
            lib.pa_stream_disconnect(self._stream)
            lib.pa_stream_unref(self._stream)
        lib.pa_context_disconnect(self._context)
        lib.pa_context_unref(self._context)
        with self._freed:
            lib.pa_mainloop_free(self._loop)
            self._loop = None


FLOAT32LE = 5
ANY = 0xFFFFFFFF
"""The server's choice."""
ADJUST_LATENCY = 0x2000
"""What the device holds counts as held."""
CONTEXT_READY, STREAM_READY = 4, 2


class _SampleSpec(ctypes.Structure):
    _fields_ = [("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8)]


class _BufferAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")]


POINTER, INT, TEXT, SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "pa_mainloop_new": (POINTER,),
    "pa_mainloop_get_api": (POINTER, POINTER),
    "pa_mainloop_prepare": (INT, POINTER, INT),
    "pa_mainloop_poll": (INT, POINTER),
    "pa_mainloop_dispatch": (INT, POINTER),
    "pa_mainloop_iterate": (INT, POINTER, INT, POINTER),
    "pa_mainloop_wakeup": (None, POINTER),
    "pa_mainloop_free": (None, POINTER),
    "pa_strerror": (TEXT, INT),
    "pa_context_new": (POINTER, POINTER, TEXT),
    "pa_context_connect": (INT, POINTER, TEXT, INT, POINTER),
    "pa_context_get_state": (INT, POINTER),
    "pa_context_errno": (INT, POINTER),
    "pa_context_disconnect": (None, POINTER),
    "pa_context_unref": (None, POINTER),
    "pa_operation_unref": (None, POINTER),
    "pa_stream_new": (POINTER, POINTER, TEXT, POINTER, POINTER),
    "pa_stream_connect_record": (INT, POINTER, TEXT, POINTER, INT),
    "pa_stream_connect_playback": (INT, POINTER, TEXT, POINTER, INT, POINTER, POINTER),
    "pa_stream_get_state": (INT, POINTER),
    "pa_stream_peek": (INT, POINTER, POINTER, POINTER),
    "pa_stream_drop": (INT, POINTER),
    "pa_stream_writable_size": (SIZE, POINTER),
    "pa_stream_write": (INT, POINTER, TEXT, SIZE, POINTER, ctypes.c_int64, INT),
    "pa_stream_cork": (POINTER, POINTER, INT, POINTER, POINTER),
    "pa_stream_flush": (POINTER, POINTER, POINTER, POINTER),
    "pa_stream_set_buffer_attr": (POINTER, POINTER, POINTER, POINTER, POINTER),
    "pa_stream_update_timing_info": (POINTER, POINTER, POINTER, POINTER),
    "pa_stream_get_latency": (INT, POINTER, POINTER, POINTER),
    "pa_stream_disconnect": (INT, POINTER),
    "pa_stream_unref": (None, POINTER),
}
"""Of libpulse: what each gives back, and what it takes."""


@cache
def _libpulse() -> Any:
    try:
        lib = ctypes.CDLL("libpulse.so.0")
    except OSError as error:
        raise DeviceError("libpulse is missing", "apt install libpulse0") from error
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib
