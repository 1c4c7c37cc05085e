"""The loudspeaker's queue: bounded, emptied at once, and it says what has been heard."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from edge_assistant.frames import Sounding, Spoken, WorkEvent
from edge_assistant.runtime import Pcm

CAPACITY_S = 10.0
"""Sound that may wait; a mouth that is further ahead waits too."""


class Speaker:
    """Sound goes in by sentences (`write`, `mark`), and out by the block (`pull`) as the device plays it."""

    def __init__(self, rate_hz: int, post: Callable[[WorkEvent], None], *, patience_s: float = 0.0) -> None:
        """`patience_s`: how long `write` waits for room."""
        self.rate_hz = rate_hz
        self._post = post
        self._patience_s = patience_s
        self._latency = 0
        """Samples from `pull` to the ear."""
        self._room = threading.Condition()
        self._queue: deque[tuple[int, Pcm | Spoken]] = deque()
        self._waiting = 0
        """Samples in the queue."""
        self._pulled = 0
        self._leaving: deque[tuple[int, WorkEvent]] = deque()
        """Events, and the sample count at which the ear has them."""
        self._sounding = 0
        """The reply whose sound was pulled last."""
        self._hushed = 0
        """Sound of this reply and of replies before it is not wanted."""
        self._held = False
        self._signals: Pcm = np.zeros(0, np.float32)
        self.gain = 1.0
        """Factor for every sample, 0 to 1; may be set at any time, and holds from the next block on."""
        self._applied = 1.0
        self.stirred: Callable[[], None] = lambda: None
        """Called when there is something to pull again, on whichever thread brought it."""

    @property
    def idle(self) -> bool:
        """There is nothing to pull, nothing held back, and nothing left to tell."""
        return not self._queue and not self._leaving and not len(self._signals)

    @property
    def waiting(self) -> bool:
        """There is sound to pull."""
        return (self._waiting > 0 and not self._held) or len(self._signals) > 0

    def delay(self, latency_s: float) -> None:
        """Sound takes this long from `pull` to the ear."""
        self._latency = round(latency_s * self.rate_hz)

    def write(self, reply: int, pcm: Pcm) -> bool:
        """Queue a piece of sound (shape [samples]) of a reply; False if there is no room for it yet."""
        with self._room:
            if reply > self._hushed and not self._room.wait_for(lambda: self._fits(reply, len(pcm)), self._patience_s):
                return False
            if reply > self._hushed:
                self._queue.append((reply, pcm))
                self._waiting += len(pcm)
        self.stirred()
        return True

    def mark(self, event: Spoken) -> None:
        """Post this event when all that was written before it has been heard."""
        with self._room:
            if event.reply > self._hushed:
                self._queue.append((event.reply, event))
        self.stirred()

    def flush(self, reply: int) -> None:
        """Be silent now, and for whatever still comes of this reply or of replies before it."""
        with self._room:
            self._hushed = max(self._hushed, reply)
            self._queue.clear()
            self._leaving.clear()
            self._waiting = 0
            self._held = False
            self._room.notify_all()

    def signal(self, pcm: Pcm) -> None:
        """Mix a short sound (shape [samples]) into what is played, whatever that is."""
        with self._room:
            self._signals = np.concatenate([self._signals, pcm])
        self.stirred()

    def hold(self) -> None:
        """Be silent until `resume` or `flush`, and keep what waits."""
        with self._room:
            self._held = True

    def resume(self) -> None:
        """Go on where it was."""
        with self._room:
            self._held = False

    def pull(self, samples: int) -> Pcm:
        """The next block for the device, shape [samples]; silence where there is nothing to say."""
        block = np.zeros(samples, np.float32)
        with self._room:
            filled = 0
            while self._queue and not self._held:
                reply, item = self._queue[0]
                if isinstance(item, Spoken):
                    self._leaving.append((self._pulled + filled + self._latency, item))
                    self._queue.popleft()
                    continue
                if filled == samples:
                    break
                if reply != self._sounding:
                    self._sounding = reply
                    self._leaving.append((self._pulled + filled + self._latency, Sounding(reply)))
                taken = min(samples - filled, len(item))
                block[filled : filled + taken] = item[:taken]
                filled += taken
                self._waiting -= taken
                self._queue.popleft()
                if taken < len(item):
                    self._queue.appendleft((reply, item[taken:]))
            mixed = min(samples, len(self._signals))
            if mixed:
                block[:mixed] += self._signals[:mixed]
                self._signals = self._signals[mixed:]
            gain = self.gain
            if (filled or mixed) and (gain < 1 or self._applied < 1):
                ramp = np.linspace(self._applied, gain, samples, dtype=np.float32) if gain != self._applied else gain
                block *= ramp  # a jump would click
            self._applied = gain
            self._pulled += samples
            while self._leaving and self._leaving[0][0] <= self._pulled:
                self._post(self._leaving.popleft()[1])
            if filled:
                self._room.notify_all()
        return block

    def _fits(self, reply: int, samples: int) -> bool:
        fits = not self._waiting or self._waiting + samples <= CAPACITY_S * self.rate_hz
        return fits or reply <= self._hushed
