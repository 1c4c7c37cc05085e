"""A microphone that gives nothing but zeros. Pure: it counts sound, and holds no clock.

Every converter makes some noise, in the quietest room too: zeros for seconds come from a switch, a mixer or a cut wire. They are
told once: some devices gate their noise away, and would be told of in every pause.
"""

from dataclasses import dataclass

ZEROS_S = 5.0
"""Nothing but zeros for so long is no quiet room, and no device that wakes up."""
SOUND_S = 0.5
"""The same the other way round: a switch clicks."""
APART_S = 600.0
"""Zeros that come again so soon after they ended are no news."""

SAID = "The microphone gives no sound. It may be switched off or muted."
SAID_AFTER = "The microphone gives sound again."


@dataclass(frozen=True, slots=True)
class Change:
    """Zeros began, or sound is back."""

    zeros: bool
    news: bool
    """Worth a word: not so if it was like this a while ago."""


class Zeros:
    """Of one device."""

    def __init__(self) -> None:
        self.only = False
        """Nothing but zeros comes."""
        self._against_s = 0.0
        """Sound, at a stretch, that speaks against the present state."""
        self._since_s = APART_S
        """Since zeros ended."""
        self._news = True

    def step(self, sounds: bool, seconds: float) -> Change | None:
        """Take a piece of sound of this length that is not all zeros, or is."""
        self._against_s = self._against_s + seconds if sounds is self.only else 0.0
        self._since_s += seconds
        if self._against_s < (SOUND_S if self.only else ZEROS_S):
            return None
        self.only, self._against_s = not self.only, 0.0
        if self.only:
            self._news = self._since_s >= APART_S
        else:
            self._since_s = 0.0
        return Change(self.only, self._news)
