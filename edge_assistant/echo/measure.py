"""How well a room, its devices and each strategy go together, from one recording of what was played and what was heard. Pure."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from edge_assistant.echo.delay import Lag, find_lag
from edge_assistant.echo.stage import Echo
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm

SILENT_DB = -100.0
"""A frame below this holds nothing but zeros, or next to: every microphone makes more noise."""
PLAYING_DB = -40.0
"""A frame of the far end above this is loud enough to judge its echo."""
CLIPPED, CLIPPED_SHARE = 0.985, 1e-4
"""Samples beyond this are cut off; so many of them break the rule that an echo is a sum of what was played."""
WINDOW, HOP = SAMPLE_RATE_HZ, SAMPLE_RATE_HZ // 2
EARLIEST, LATEST = -SAMPLE_RATE_HZ // 10, SAMPLE_RATE_HZ
"""Samples by which an echo may come early (clocks read badly) or late (a slow sound server)."""
AUDIBLE_PEAK, AUDIBLE_SHARE = 12.0, 0.2
START = 3
"""Frames of speech that start a turn: 96 ms, as the endpointer has it."""
ENOUGH = 0.75
"""Share of interruptions that must be found before speech is worth listening for."""


class Problem(Enum):
    """Why an echo could not be judged."""

    MICROPHONE_SILENT = "the microphone gives nothing but zeros: it is muted, or another one is meant (edge-assistant mic-test)"
    LOUDSPEAKER_SILENT = "nothing was played: the loudspeaker took no sound, or the far recording is silent"
    NO_ECHO = "nothing of what was played reached the microphone: headphones, or a loudspeaker that is off or turned down"

    @property
    def ends(self) -> bool:
        """Is there nothing to try the strategies on?"""
        return self is not Problem.NO_ECHO


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """What the loudspeaker was given and what the microphone heard, 16 kHz, shape [samples] both; sample 0 at the same time."""

    far: Pcm
    near: Pcm

    def frames(self) -> Iterator[tuple[Pcm, Pcm]]:
        """Whole frames, far and near."""
        for begin in range(0, min(len(self.far), len(self.near)) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            yield self.far[begin : begin + FRAME_SAMPLES], self.near[begin : begin + FRAME_SAMPLES]


@dataclass(frozen=True, slots=True)
class Path:
    """The way from the loudspeaker into the microphone."""

    problem: Problem | None = None
    clipped_share: float = 0.0
    """Of the microphone's samples."""
    noise_db: float = SILENT_DB
    """The room while nothing is played, in dB of full scale."""
    echo_db: float = SILENT_DB
    """The echo in dB of full scale."""
    coupling_db: float = SILENT_DB
    """The echo against what was played."""
    delay_ms: float = 0.0
    """At the beginning."""
    drift_ppm: float = 0.0
    """How much faster the loudspeaker's clock runs than the microphone's."""

    @property
    def clips(self) -> bool:
        """Is the microphone overdriven?"""
        return self.clipped_share > CLIPPED_SHARE


@dataclass(frozen=True, slots=True)
class Result:
    """What a strategy does with a take."""

    strategy: str
    reduction_db: float
    """Echo before against after (ERLE), once it has learned; room noise counts as echo, so that this is what is sure."""
    leaked: float
    """Share of our own frames that the detector takes for speech before the guard, 0 to 1."""
    self_triggers: int
    """Turns that our own voice would have started."""
    found: int
    asked: int
    """Interruptions by a stand-in for the user, mixed into the recording: found, and made."""
    user_db: float
    """How loud the user must be at the microphone to be heard over us, in dB of full scale."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to use."""

    strategy: str
    barge_in: str
    """`speech`: speaking over it silences it; `wake-word`: only the wake word, "stop" or a button does."""
    reason: str


def measure_path(take: Take) -> Path:
    """Delay, drift and levels."""
    far_db, near_db = (np.array([_decibels(frame) for frame in frames]) for frames in zip(*take.frames(), strict=True))
    playing = far_db > PLAYING_DB
    if near_db.max() < SILENT_DB:
        return Path(Problem.MICROPHONE_SILENT)
    if not playing.any():
        return Path(Problem.LOUDSPEAKER_SILENT)
    clipped = float(np.mean(np.abs(take.near) >= CLIPPED))
    quiet = near_db[: max(1, int(playing.argmax()))]  # before the first sound no echo rings on
    noise_db = float(np.median(quiet))
    measured = [(at, lag) for at, lag in _lags(take) if lag.peak >= AUDIBLE_PEAK]
    if len(measured) < max(2, AUDIBLE_SHARE * len(list(_lags_at(take)))):
        return Path(Problem.NO_ECHO, clipped, noise_db)
    drift, delay = _line([at for at, _ in measured], [lag.samples for _, lag in measured])
    heard = np.roll(playing, round(delay / FRAME_SAMPLES))
    echo = max(1e-12, _mean_power(near_db[heard]) - 10 ** (noise_db / 10))
    echo_db = 10 * float(np.log10(echo))
    coupling_db = echo_db - 10 * float(np.log10(_mean_power(far_db[playing])))
    return Path(None, clipped, noise_db, echo_db, coupling_db, 1000 * delay / SAMPLE_RATE_HZ, -1e6 * drift)


def try_strategy(
    strategy: str, take: Take, path: Path, vad: Callable[[], Callable[[Pcm], float]], user: Sequence[tuple[int, Pcm]]
) -> Result:
    """Run a take through a strategy, as it is and with the user speaking: (sample, sound of shape [samples]) each.

    Raises:
        EchoError: the strategy is not installed.
    """
    alone = list(_run(strategy, take, path, vad()))
    begin = user[0][0] // FRAME_SAMPLES if user else len(alone) // 2  # it has learned by then
    far_db = np.array([_decibels(far) for far, _ in take.frames()])
    playing = np.roll(far_db > PLAYING_DB, round(path.delay_ms * SAMPLE_RATE_HZ / 1000 / FRAME_SAMPLES))
    playing[:begin] = False
    before = _mean_power(np.array([_decibels(near) for _, near in take.frames()])[playing])
    if strategy == "system":  # what it took out was never recorded: the take without it tells what there was
        before = _mean_power(far_db[playing]) * 10 ** (path.coupling_db / 10) + 10 ** (path.noise_db / 10)
    after = _mean_power(np.array([step.cleaned_db for step in alone])[playing])
    near = take.near.copy()
    for at, pcm in user:
        near[at : at + len(pcm)] += pcm[: max(0, len(near) - at)]
    talked = list(_run(strategy, Take(take.far, np.clip(near, -1, 1)), path, vad()))
    starts = [number for number, _ in _starts([step.guarded for step in talked])]
    spans = [(at // FRAME_SAMPLES, (at + len(pcm)) // FRAME_SAMPLES + START) for at, pcm in user]
    return Result(
        strategy,
        10 * float(np.log10(before / after)),
        float(np.mean([step.speech >= 0.5 for step, ours in zip(alone, playing, strict=True) if ours])),
        sum(1 for _ in _starts([step.guarded for step in alone])),
        sum(any(first <= start <= last for start in starts) for first, last in spans),
        len(spans),
        alone[-1].user_db,
    )


def advise(path: Path, results: Sequence[Result]) -> Advice:
    """What to use, and why."""
    good = [result for result in results if not result.self_triggers and result.found >= ENOUGH * max(1, result.asked)]
    best = max(good, key=lambda result: (result.found, result.reduction_db), default=None)
    if path.problem is not None and path.problem.ends:
        return Advice("half-duplex", "wake-word", f"{path.problem.value}; until that is mended nothing can be judged")
    if path.problem is Problem.NO_ECHO:
        strategy = best.strategy if best else "half-duplex"
        return Advice(strategy, "speech" if best else "wake-word", f"{Problem.NO_ECHO.value}; there is no echo to fear")
    clips = " (turn the microphone's gain down: it clips, and a clipped echo cannot be taken out)" if path.clips else ""
    if best is not None:
        return Advice(
            best.strategy,
            "speech",
            f"it takes {best.reduction_db:.0f} dB off the echo, our own voice started no turn, and "
            f"{best.found} of {best.asked} interruptions were found{clips}",
        )
    tried = max(results, key=lambda result: (result.found, result.reduction_db), default=None)
    if tried is None:
        return Advice("half-duplex", "wake-word", f"no canceller is installed: apt install libspeexdsp1{clips}")
    fault = f"lets our own voice start {tried.self_triggers} turns" if tried.self_triggers else "hides the user"
    found = f"{tried.found} of {tried.asked} interruptions were found"
    return Advice("half-duplex", "wake-word", f"the best canceller here, {tried.strategy}, {fault} ({found}){clips}")


@dataclass(frozen=True, slots=True)
class _Step:
    cleaned_db: float
    speech: float
    guarded: float
    user_db: float


def _run(strategy: str, take: Take, path: Path, vad: Callable[[Pcm], float]) -> Iterator[_Step]:
    echo = Echo(strategy, delay_ms=path.delay_ms or 60.0, drift_ppm=path.drift_ppm)
    for number, (far, near) in enumerate(take.frames()):
        echo.played(far, SAMPLE_RATE_HZ)
        cleaned = echo.clean(number, near)
        speech = vad(cleaned)
        yield _Step(_decibels(cleaned), speech, echo.guard(speech), echo.user_db)


def _starts(probabilities: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Frame number and length in frames of each run of speech long enough to start a turn."""
    number = 0
    for speech, run in itertools.groupby(probability >= 0.5 for probability in probabilities):
        length = len(list(run))
        if speech and length >= START:
            yield number + START - 1, length
        number += length


def _lags_at(take: Take) -> Iterator[int]:
    """Where a window of the far end is loud enough."""
    for begin in range(LATEST, len(take.near) - WINDOW + EARLIEST, HOP):
        if _decibels(take.far[begin : begin + WINDOW]) > PLAYING_DB:
            yield begin


def _lags(take: Take) -> Iterator[tuple[float, Lag]]:
    for begin in _lags_at(take):
        # An echo that is late by d comes from d samples earlier in the far end.
        far = take.far[begin - LATEST : begin + WINDOW - EARLIEST]
        lag = find_lag(take.near[begin : begin + WINDOW], far, EARLIEST - LATEST, 0)
        yield begin + WINDOW / 2, Lag(lag.samples + LATEST, lag.peak)


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and height at 0 of the line through most points (Theil, 1950, and Sen, 1968)."""
    pairs = itertools.combinations(zip(x, y, strict=True), 2)
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in pairs if t - s >= 2 * SAMPLE_RATE_HZ]
    slope = float(np.median(slopes)) if slopes else 0.0
    return slope, float(np.median([b - slope * a for a, b in zip(x, y, strict=True)]))


def _decibels(pcm: Pcm) -> float:
    return 10 * float(np.log10(float(np.dot(pcm, pcm)) / max(1, len(pcm)) + 1e-13))


def _mean_power(db: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    return float(np.mean(10 ** (db / 10))) if len(db) else 1e-13
