"""Whether a turn was heard well enough to be answered. Pure: it counts frames and what each of them measured.

A reply to what was not heard is a guess, and a guess may act. So a turn that is too short, too faint, overdriven or drowned in
noise is not given to the model; it is asked for again, once: until a turn was usable nothing more is asked, or a radio in the
room would be asked for ever.
"""

import math
from collections import deque
from dataclasses import dataclass
from statistics import fmean, median

from edge_assistant.frames import FRAME_MS, frames

SILENT_DB = -120.0
"""What digital silence counts as."""


@dataclass(frozen=True, slots=True)
class HearingConfig:
    """What is usable. docs/hearing.md has the measurements behind these."""

    least_ms: int = 192
    """Speech in a turn, by the detector."""
    least_dbfs: float = -58.0
    """Its level: mean square of the frames of speech; 0 is a full-scale square wave."""
    least_snr_db: float = 1.0
    """The same above what was heard in the second before it."""
    most_clipped: float = 0.05
    """Share of the samples of speech at the end of the scale."""
    voice: float = 0.75
    """Mean probability of speech from which what was not understood may have been a person, whom one may ask."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One frame."""

    speech: float
    """Probability that somebody speaks, 0 to 1."""
    power: float
    """Mean square of its samples, 0 to 1."""
    clipped: float
    """Share of its samples at the end of the scale, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How a turn was heard."""

    speech_ms: int
    level_dbfs: float
    snr_db: float | None
    """None where nothing was heard before it."""
    clipped: float
    voice: float
    """Mean probability of speech."""

    def complaint(self, config: HearingConfig) -> str | None:
        """A sentence to say about a turn that is not usable, or "" to be silent about it; None if it is usable."""
        match self:
            case Quality(speech_ms=ms) if ms < config.least_ms:
                what = "Sorry, I didn't catch that."
            case Quality(level_dbfs=level) if level < config.least_dbfs:
                what = "Sorry, that was too quiet."
            case Quality(clipped=share) if share > config.most_clipped:
                what = "Sorry, that was too loud."
            case Quality(snr_db=float(snr)) if snr < config.least_snr_db:
                what = "Sorry, I didn't catch that."
            case _:
                return None
        return what if self.voice >= config.voice else ""


class Hearing:
    """Takes every frame; `begin` when a turn begins, `complaint` when it may be over."""

    SPEECH = 0.5
    """Probability from which a frame counts as speech."""
    FEWEST = 4
    """Frames without speech that tell how loud the room is."""

    def __init__(self, config: HearingConfig) -> None:
        self._config = config
        self._before: deque[tuple[int, Measured]] = deque(maxlen=frames(1000))
        self._turn: list[Measured] = []
        self._room: float | None = None
        self._open = self._asked = False

    def step(self, number: int, measured: Measured) -> None:
        """Take frame `number`."""
        self._before.append((number, measured))
        if self._open and measured.speech >= self.SPEECH:
            self._turn.append(measured)

    def begin(self, first: int) -> None:
        """A turn began, with frame `first`; it was taken already."""
        quiet = [heard.power for number, heard in self._before if number < first and heard.speech < self.SPEECH]
        self._room = median(quiet) if len(quiet) >= self.FEWEST else None
        self._turn = [heard for number, heard in self._before if number >= first and heard.speech >= self.SPEECH]
        self._open = True

    def quality(self) -> Quality:
        """How the present turn was heard so far."""
        turn = self._turn or [Measured(0.0, 0.0, 0.0)]
        power = fmean(heard.power for heard in turn)
        snr_db = None if self._room is None else _db(max(0.0, power - self._room)) - max(_db(self._room), SILENT_DB + 1)
        return Quality(
            len(self._turn) * FRAME_MS,
            _db(power),
            snr_db,
            fmean(heard.clipped for heard in turn),
            fmean(heard.speech for heard in turn),
        )

    def complaint(self) -> str | None:
        """What to say about the present turn if it ends now; see `Quality.complaint`. Nothing is asked twice in a row."""
        what = self.quality().complaint(self._config)
        return "" if what and self._asked else what

    def end(self, asked: str | None) -> None:
        """The present turn is over; `asked` is what was said about it, None if it was usable."""
        self._open = False
        self._asked = asked is not None and (self._asked or bool(asked))


def _db(power: float) -> float:
    return max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB
