"""“Stop” without the language model: heard while the model is busy, or broken.

The word is looked for by pocketsphinx (extra `commands`), which carries an acoustic model and needs no other file. It is
easily wrong in running speech, so it is asked only about what stands alone: sound between two silences, short enough to be one
word, and filled by that word from its beginning to its end. docs/commands.md has what that is worth.
"""

import importlib
import math
import tempfile
from collections import deque
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from edge_assistant.errors import EdgeAssistantError
from edge_assistant.frames import FRAME_MS, frames
from edge_assistant.runtime import Pcm

PRONUNCIATIONS = ("S T AA P", "S T AO P", "S T AH P")
"""Of the word, in the acoustic model's sounds: American, British, and short."""
SPHINX_FRAME_MS = 10


def can_hear_stop() -> bool:
    """Whether the extra `commands` is installed."""
    return find_spec("pocketsphinx") is not None


@dataclass(frozen=True, slots=True)
class AloneConfig:
    """What stands alone."""

    threshold: float = 0.5
    """Speech probability at which sound begins."""
    lead_ms: int = 256
    """Sound kept from before that."""
    quiet_ms: int = 96
    """Silence after it; every millisecond of it is waited for."""
    shortest_ms: int = 128
    longest_ms: int = 1088
    above_room: float = 1.6
    """A frame is quiet when its level (root mean square) is less than so many times that of the room,"""
    below_peak: float = 0.06
    """or than this part of the loudest frame's."""
    over_ms: int = 384
    """Silence after which the next sound is another one."""


class Alone:
    """Finds sound that stands alone: tells for each frame for how many frames such sound has been over."""

    def __init__(self, config: AloneConfig | None = None) -> None:
        self.config = config or AloneConfig()
        self._room = 1e-3
        self._peak = 0.0
        self.since = 0
        """Frames since the sound began, this one included; 0 where there is none."""
        self.loud = 0
        """Up to which of them it went."""

    def __call__(self, pcm: Pcm, speech: float) -> int:
        """Take a frame (shape [FRAME_SAMPLES]) and the probability that somebody speaks in it.

        Returns the frames of silence after the sound up to `quiet_ms`; 0 while it sounds, and where it was too short or too long.
        """
        config, level = self.config, float(np.sqrt(np.mean(np.square(pcm))))
        if not self.since:
            if speech < config.threshold:
                self._room += 0.1 * (level - self._room)
                return 0
            self._peak = 0.0
        self.since += 1
        self._peak = max(self._peak, level)
        if level >= max(self._room * config.above_room, self._peak * config.below_peak):
            self.loud = self.since
            return 0
        quiet = self.since - self.loud
        if quiet >= frames(config.over_ms) and speech < config.threshold:
            self.since = self.loud = 0
            return 0
        counts = quiet <= frames(config.quiet_ms) and config.shortest_ms <= self.loud * FRAME_MS <= config.longest_ms
        return quiet if counts else 0


class StopWord:
    """Hears “stop” when nothing else is said. It remembers: frames are given in order."""

    LEAST = -0.205
    """How sure pocketsphinx is to be; the scale is its own, 0 the most."""
    HEAD_MS = 90
    """What of the sound may come before the word,"""
    TAIL_MS = 270
    """and what may be left over after it: its last consonant comes late, and is easily lost."""

    def __init__(self) -> None:
        """Load the model. Raises EdgeAssistantError if the package is missing or its library cannot be loaded."""
        if not can_hear_stop():
            raise EdgeAssistantError(
                "a spoken stop needs a package that is not installed", "pip install 'edge-assistant[commands]'"
            )
        try:
            sphinx: Any = importlib.import_module("pocketsphinx")
        except (ImportError, OSError) as error:
            raise EdgeAssistantError(f"pocketsphinx cannot be loaded ({error})") from error
        config = sphinx.Config(hmm=sphinx.get_model_path("en-us/en-us"), lm=None, dict=None, kws_delay=0, loglevel="FATAL")
        self._decoder: Any = sphinx.Decoder(config)
        with tempfile.NamedTemporaryFile("w", suffix=".list") as file:  # it takes several words from nowhere else
            for number, phones in enumerate(PRONUNCIATIONS):
                self._decoder.add_word(f"stop{number}", phones, True)
                print(f"stop{number} /1e-60/", file=file, flush=True)
            self._decoder.add_kws("stop", file.name)
        self._decoder.activate_search("stop")
        self._alone = Alone()
        self._before: deque[Pcm] = deque(maxlen=frames(self._alone.config.lead_ms))
        self._lead_ms = 0
        self._open = False
        """The decoder listens."""

    def __call__(self, pcm: Pcm, speech: float) -> bool:
        """Take a frame (shape [FRAME_SAMPLES]) and its probability of speech; tell whether the word has just been said alone."""
        alone = self._alone
        ended = alone(pcm, speech) == frames(alone.config.quiet_ms)
        if alone.since == 1:
            self._begin()
        elif self._open and (not alone.since or alone.loud * FRAME_MS > alone.config.longest_ms):
            self._end()
        if self._open:
            self._decoder.process_raw(_int16(pcm))
        if not alone.since:
            self._before.append(pcm)
        return ended and self._open and self._is_it()

    def _begin(self) -> None:
        if self._open:
            self._end()
        self._decoder.start_utt()
        self._open = True
        self._lead_ms = len(self._before) * FRAME_MS
        for pcm in self._before:
            self._decoder.process_raw(_int16(pcm))
        self._before.clear()

    def _end(self) -> None:
        self._decoder.end_utt()
        self._open = False

    def _is_it(self) -> bool:
        end_ms = self._lead_ms + self._alone.loud * FRAME_MS
        for found in self._decoder.seg() or ():
            begins, ends = found.start_frame * SPHINX_FRAME_MS, found.end_frame * SPHINX_FRAME_MS
            fills = begins <= self._lead_ms + self.HEAD_MS and ends >= end_ms - self.TAIL_MS
            if fills and found.prob > 0 and math.log(found.prob) >= self.LEAST:
                return True
        return False


def _int16(pcm: Pcm) -> bytes:
    return (np.clip(pcm, -1, 1) * 32767).astype(np.int16).tobytes()
