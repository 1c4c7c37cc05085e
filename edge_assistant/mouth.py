"""Voice and loudspeaker together: sentences in, sound in the loudspeaker's queue."""

from collections.abc import Iterator

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant import earcons
from edge_assistant.frames import Spoken
from edge_assistant.runtime import Pcm
from edge_assistant.speaker import Speaker
from edge_assistant.voice import Voice

SOUNDS = (earcons.bell, earcons.error, earcons.listening, earcons.muted, earcons.thinking, earcons.understood)
SILENT = 1e-4
"""Samples no louder than that are silence."""
PIECE_S = 0.2
"""Sound is queued in pieces of this length."""


class SpeakingMouth:
    """Owned by the mouth worker; only `signal`, `flush`, `hold` and `resume` may be called from another thread."""

    def __init__(self, voice: Voice, speaker: Speaker) -> None:
        self._voice, self._speaker = voice, speaker
        self._prepared: tuple[str, float, Pcm] = ("", 0.0, np.zeros(0, np.float32))
        """A sentence, the pace at which it is spoken, and its sound."""
        self._sounds = {make.__name__: make(speaker.rate_hz) for make in SOUNDS}

    def open(self) -> None:
        """Get the voice ready. Raises VoiceError."""
        self._voice.open()

    def say(self, reply: int, text: str) -> Iterator[None]:
        """Speak a sentence; yields while the queue is full. Raises VoiceError."""
        if self._prepared[:2] != (text, self._voice.pace):
            self.prepare(text)
        yield from self._play(reply, self._prepared[2])

    def prepare(self, text: str) -> None:
        """Have a sentence ready, which may be the next one to be spoken. Raises VoiceError."""
        pace = self._voice.pace
        pcm, rate_hz = self._voice.say(text)
        loud = np.flatnonzero(np.abs(pcm) > SILENT)
        pcm = pcm[loud[0] :] if len(loud) else pcm  # silence in front (espeak-ng: 50 ms before a T) is time that we wait
        if rate_hz != self._speaker.rate_hz:
            pcm = soxr.resample(pcm, rate_hz, self._speaker.rate_hz)
        self._prepared = (text, pace, pcm)

    def sound(self, reply: int, name: str) -> Iterator[None]:
        """Sound one of SOUNDS as a part of a reply."""
        yield from self._play(reply, self._sounds[name])

    def signal(self, name: str) -> None:
        """Sound one of SOUNDS now."""
        self._speaker.signal(self._sounds[name])

    def mark(self, event: Spoken) -> None:
        """Have this event posted when all that was said so far has been heard."""
        self._speaker.mark(event)

    def flush(self, reply: int) -> None:
        """Be silent now."""
        self._speaker.flush(reply)

    def hold(self) -> None:
        """Be silent for now, and keep what there is to say."""
        self._speaker.hold()

    def resume(self) -> None:
        """Go on where it was."""
        self._speaker.resume()

    def close(self) -> None:
        """Let the voice go."""
        self._voice.close()

    def _play(self, reply: int, pcm: Pcm) -> Iterator[None]:
        size = round(PIECE_S * self._speaker.rate_hz)
        for begin in range(0, len(pcm), size):
            while not self._speaker.write(reply, pcm[begin : begin + size]):
                yield None
