"""Finds how the runtime uses this machine best for one model, by measuring: threads, spinning, affinity, chunk of sound, drafts.

One question after the other: each candidate meets the best so far in turns, and takes its place only when it is faster beyond
doubt. At the end the best meets the defaults once more, and they win every tie: nothing that is kept is slower than they are.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np

from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm, Sampling
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession
from edge_assistant.runtimes.settings import Settings, Tuned

Measure = Callable[[Settings, int], float]
"""Seconds that a user waits with these settings, in the run of this number: runs of one number ask the same."""

RUNS = 7
MARGIN = 0.03
"""By how much the median must be better."""
LOST_RUNS = 1
"""Of its runs a winner may lose so many."""
CHUNKS = (8, 16)
"""Candidates beside the default: 40 ms of sound each."""
DRAFTS = (1, 2, 3)
"""Tokens drafted at once, where there is a drafter."""
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)
QUESTION_S = 5.0
"""A question of this length is what counts: sound that is encoded slower than it comes is waited for at its end."""
_HEARD_S = 2.0
_BEFORE_TOKENS = 64
_ANSWER_TOKENS = 12
"""About what the first words of a reply take."""
_TEXT = "The kettle is on the stove. "
_LONGEST_CHUNK_S = 0.64
_CAPACITY = 512


def tune(measure: Measure, most: int, processors: list[int], told: Callable[[str], None], drafts: tuple[int, ...] = ()) -> Tuned:
    """Measure and choose.

    `most`: threads; `processors`: logical ones to tie them to; `told`: is told each result; `drafts`: numbers of tokens to draft.
    """
    default = Settings()
    best = _choose_threads(measure, most, told)
    if best.threads > 1:
        best = _better(measure, best, replace(best, cores=tuple(processors[1 - best.threads :])), told)
    for chunk in CHUNKS:
        best = _better(measure, best, replace(best, chunk=chunk), told)
    for draft in drafts:
        best = _better(measure, best, replace(best, draft=draft), told)
    if best == default:
        wait = median(measure(default, run) for run in range(RUNS))
        return Tuned(default, wait, wait)
    told("the best once more beside the defaults:")
    defaults, bests = _duel(measure, default, best)
    if not is_better(bests, defaults):
        told("no better than the defaults, which stay")
        return Tuned(default, median(defaults), median(defaults))
    return Tuned(best, median(bests), median(defaults))


def is_better(challenger: list[float], incumbent: list[float]) -> bool:
    """Beyond doubt, run by run: what else the machine does meets both."""
    ratios = [new / old for new, old in zip(challenger, incumbent, strict=True)]
    return median(ratios) <= 1 - MARGIN and sum(ratio >= 1 for ratio in ratios) <= LOST_RUNS


def _choose_threads(measure: Measure, most: int, told: Callable[[str], None]) -> Settings:
    """One more as long as it helps: a count that is no better than the one before ends it."""
    best = Settings()
    for count in COUNTS[1:]:
        if count > most:
            break
        before = best
        for spin in (True, False):
            best = _better(measure, best, replace(best, threads=count, spin=spin), told)
        if best == before:
            break
    return best


def _better(measure: Measure, best: Settings, other: Settings, told: Callable[[str], None]) -> Settings:
    old, new = _duel(measure, best, other)
    won = is_better(new, old)
    told(f"{other}: {median(new):.3f} s, against {median(old):.3f} s{', better' if won else ''}")
    return other if won else best


def _duel(measure: Measure, one: Settings, other: Settings) -> tuple[list[float], list[float]]:
    """In turns, now one first and now the other."""
    times: dict[Settings, list[float]] = {one: [], other: []}
    for run in range(RUNS):
        for settings in (other, one) if run % 2 else (one, other):
            times[settings].append(measure(settings, run))
    return times[one], times[other]


class Bench:
    """Measures a model; keeps no more than `most` open at a time."""

    def __init__(self, open_model: Callable[[Settings], OnnxModel], most: int) -> None:
        self._open_model, self._most = open_model, most
        self._open: OrderedDict[Settings, OnnxSession] = OrderedDict()

    def __call__(self, settings: Settings, run: int) -> float:
        """As `Measure`."""
        return _ask(self._session(settings), question(run))

    def _session(self, settings: Settings) -> OnnxSession:
        if settings not in self._open:
            while len(self._open) >= self._most:
                self._open.popitem(last=False)
            session = self._open_model(settings).session(_CAPACITY)
            session.feed_text(_TEXT * (_BEFORE_TOKENS // len(session.encode(_TEXT)) + 1))
            _ask(session, question(0))  # the first time is always slower
            self._open[settings] = session
        self._open.move_to_end(settings)
        return self._open[settings]


def _ask(session: OnnxSession, pcm: list[Pcm]) -> float:
    """Seconds from the end of a question to the first words, as if it had come at the pace of speech. Leaves no trace."""
    start = session.position
    begin = perf_counter()
    session.begin_audio()
    for frame in pcm:
        session.feed_audio(frame)
    heard = perf_counter()
    session.end_audio()
    session.feed_text(_TEXT)
    left = _ANSWER_TOKENS
    while left > 0:  # a reply may end sooner
        left -= sum(1 for _ in session.decode(Sampling(max_tokens=left)))
    answer_s = perf_counter() - heard
    load = (heard - begin) * SAMPLE_RATE_HZ / sum(map(len, pcm))
    session.cut(start)
    return answer_s + max(0.0, load - 1) * QUESTION_S


def question(run: int) -> list[Pcm]:
    """Something as loud as speech, in frames. It may end anywhere in a chunk: in the same place in all runs of one number."""
    seconds = _HEARD_S + _LONGEST_CHUNK_S * (run * 0.618 % 1)
    pcm = (0.05 * np.random.default_rng(run).standard_normal(round(seconds * SAMPLE_RATE_HZ))).astype(np.float32)
    return [pcm[at : at + FRAME_SAMPLES] for at in range(0, len(pcm), FRAME_SAMPLES)]
