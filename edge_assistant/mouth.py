"""Voice and loudspeaker together: sentences in, sound in the loudspeaker's queue."""

from collections.abc import Iterator

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.frames import Spoken
from edge_assistant.runtime import Pcm
from edge_assistant.speaker import Speaker
from edge_assistant.voice import Voice

PIECE_S = 0.2
"""Sound is queued in pieces of this length."""


class SpeakingMouth:
    """Owned by the mouth worker; only `flush` may be called from another thread."""

    def __init__(self, voice: Voice, speaker: Speaker) -> None:
        self._voice, self._speaker = voice, speaker
        self._bell = bell(speaker.rate_hz)

    def open(self) -> None:
        """Get the voice ready. Raises VoiceError."""
        self._voice.open()

    def say(self, reply: int, text: str) -> Iterator[None]:
        """Speak a sentence; yields while the queue is full. Raises VoiceError."""
        pcm, rate_hz = self._voice.say(text)
        if rate_hz != self._speaker.rate_hz:
            pcm = soxr.resample(pcm, rate_hz, self._speaker.rate_hz)
        yield from self._play(reply, pcm)

    def ring(self, reply: int) -> Iterator[None]:
        """Sound the bell."""
        yield from self._play(reply, self._bell)

    def mark(self, event: Spoken) -> None:
        """Have this event posted when all that was said so far has been heard."""
        self._speaker.mark(event)

    def flush(self, reply: int) -> None:
        """Be silent now."""
        self._speaker.flush(reply)

    def close(self) -> None:
        """Let the voice go."""
        self._voice.close()

    def _play(self, reply: int, pcm: Pcm) -> Iterator[None]:
        size = round(PIECE_S * self._speaker.rate_hz)
        for begin in range(0, len(pcm), size):
            while not self._speaker.write(reply, pcm[begin : begin + size]):
                yield None


def bell(rate_hz: int) -> Pcm:
    """Two strokes of a bell, one second."""
    t = np.arange(rate_hz) / rate_hz
    strokes = [np.where(t >= start, np.exp(-9 * (t - start).clip(0)), 0) for start in (0.0, 0.35)]
    tones = [np.sin(2 * np.pi * hz * t) + 0.4 * np.sin(2 * np.pi * 2.76 * hz * t) for hz in (880.0, 1174.7)]
    return (0.3 * (strokes[0] * tones[0] + strokes[1] * tones[1])).astype(np.float32)
