"""Measure a bundle through the product's own runtime, on folders of WAV files.

A set is a folder with WAV files and a `manifest.jsonl` as `speech.py wav` writes them. Each clip is one first turn:

- calls: the right call with the right arguments, letter for letter, and sure enough for the gate;
- talk: the right sentence where no tool is needed;
- refused: speech outside the repertoire answered with "Sorry, I did not understand that.";
- acted: speech outside the repertoire answered with a tool call that passes the gate: the worst that can happen.

`--turns` measures conversations of three clips, with the sentences after tool responses and "repeat that".
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import repertoire
import speech

from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.runtime import Sampling, Session
from edge_assistant.runtimes.onnx import OnnxModel

USER, MODEL = "<|turn>user\n", "<turn|>\n<|turn>model\n"
CALL = "<|tool_call>"
GREEDY = Sampling(max_tokens=64)
LEAD_S, TAIL_S = 0.4, 0.5
"""Silence around a clip: the pre-roll and what the end of a turn takes."""


@dataclass(frozen=True)
class Case:
    """One clip of a set, to be heard with or without noise."""

    path: Path
    meta: dict
    snr_db: float | None = None

    def pcm(self, index: int, babble: list[np.ndarray]) -> np.ndarray:
        """Return float32 [samples]; the noise is a function of the index, pink on even ones and babble on odd ones."""
        clip, rate = speech.read_wav(self.path)
        if rate != speech.RATE_HZ:
            raise ValueError(f"{self.path}: {rate} Hz, expected {speech.RATE_HZ}")
        pcm = np.pad(clip, (int(LEAD_S * rate), int(TAIL_S * rate)))
        rng = np.random.default_rng(index)
        power = np.sqrt((clip**2).mean())
        snr_db = speech.SNR_LOUD_DB if self.snr_db is None else self.snr_db
        if self.snr_db is None or index % 2 == 0:
            noise = speech.coloured(len(pcm), rng, 0.5)
        else:
            noise = speech.babble(len(pcm), rng, babble)
        pcm = pcm + noise * power * 10 ** (-snr_db / 20)
        return (pcm * 0.5 / max(1e-6, float(np.abs(pcm).max()))).astype(np.float32)


@dataclass(frozen=True)
class Heard:
    """An answer and the product of its tokens' probabilities."""

    answer: str
    sure: float

    def gated(self, threshold: float) -> str:
        """Return what the product does with it: a call that is not sure enough is not understood."""
        return repertoire.REJECT if self.answer.startswith(CALL) and self.sure < threshold else self.answer


def listen(session: Session, pcm: np.ndarray) -> Heard:
    """Feed one user turn of sound and return the model's answer, up to its stop token."""
    session.feed_text(USER)
    session.begin_audio()
    session.feed_audio(pcm)
    session.end_audio()
    session.feed_text(MODEL)
    return say(session)


def say(session: Session) -> Heard:
    """Return what the model says next."""
    text, sure = "", 1.0
    for token in session.decode(GREEDY):
        sure *= token.probability
        if not token.stop:
            text += token.text
    return Heard(text, sure)


def read_set(folder: Path, snr_db: float | None) -> list[Case]:
    """Return the cases of a folder."""
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [Case(folder / meta["file"], meta, snr_db) for meta in map(json.loads, lines)]


def right(case: Case) -> str:
    """Return the right answer of a first turn."""
    return repertoire.NOTHING_SAID if case.meta["answer"] == repertoire.REPEAT else case.meta["answer"]


def percent(part: int, whole: int) -> str:
    """Return a share with its counts."""
    return f"{100 * part / whole:.1f} % ({part}/{whole})" if whole else "–"


def score(cases: list[Case], heard: list[Heard], threshold: float) -> dict[str, str]:
    """Return the four figures of the module's docstring."""
    pairs = [(case, one.gated(threshold)) for case, one in zip(cases, heard, strict=True)]
    calls = [got == right(case) for case, got in pairs if right(case).startswith(CALL)]
    talk = [got == right(case) for case, got in pairs if not right(case).startswith(CALL) and case.meta["intent"] != "foreign"]
    outside = [got for case, got in pairs if case.meta["intent"] == "foreign"]
    return {
        "calls": percent(sum(calls), len(calls)),
        "talk": percent(sum(talk), len(talk)),
        "refused": percent(sum(got == repertoire.REJECT for got in outside), len(outside)),
        "acted": percent(sum(got.startswith(CALL) for got in outside), len(outside)),
    }


def first_turns(model: OnnxModel, cases: list[Case]) -> list[Heard]:
    """Return what the model answers to each clip in a conversation of its own."""
    voices = [(speech.read_wav(case.path)[0] * 32767).astype(np.int16) for case in cases[:60]]
    heard = []
    for index, case in enumerate(cases):
        session = model.session(1024)
        session.feed_text("<bos>")
        heard.append(listen(session, case.pcm(index, voices)))
    return heard


def conversations(model: OnnxModel, cases: list[Case], count: int) -> None:
    """Three turns in one session; the host answers as `repertoire.respond` does."""
    rng = random.Random(3)
    repeats = [case for case in cases if case.meta["intent"] == repertoire.REPEAT]
    turns: dict[int, list[bool]] = defaultdict(list)
    sentences: list[bool] = []
    repeated: list[bool] = []
    for number in range(count):
        session = model.session(2048)
        session.feed_text("<bos>")
        said = repertoire.NOTHING_SAID
        for turn in range(3):
            case = rng.choice(repeats) if turn and rng.random() < 0.3 else rng.choice(cases)
            if turn:
                session.feed_text("\n")
            got = listen(session, case.pcm(2 * number, [])).answer
            wanted = said if case.meta["answer"] == repertoire.REPEAT else case.meta["answer"]
            turns[turn].append(got == wanted)
            if case.meta["answer"] == repertoire.REPEAT and turn:
                repeated.append(got == wanted)
            said = got
            told = repertoire.respond(rng, got)
            if told:
                session.feed_text(told[0])
                said = say(session).answer
                sentences.append(said == told[1])
            elif got.startswith(CALL):
                break
    for turn, good in turns.items():
        print(f"turn {turn + 1}: {percent(sum(good), len(good))}")
    print(
        "repeat that:",
        percent(sum(repeated), len(repeated)),
        "| sentences after a response:",
        percent(sum(sentences), len(sentences)),
    )


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+", help="folders of WAV files with a manifest.jsonl")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--snr", type=float, help="mix noise in, at this signal-to-noise ratio in dB")
    parser.add_argument("--threshold", type=float, help="least probability of a call (default: the bundle's)")
    parser.add_argument("--sweep", action="store_true", help="score a range of thresholds; for development sets")
    parser.add_argument("--turns", type=int, default=0, metavar="N", help="measure N conversations instead")
    parser.add_argument("--limit", type=int, default=10**9, help="clips of each set")
    parser.add_argument("--errors", type=int, default=0, metavar="N", help="show N wrong answers of each set")
    parser.add_argument("--save", type=Path, help="append every answer to this JSON-lines file")
    args = parser.parse_args()
    model = OnnxModel.open(args.bundle)
    threshold = Bundle.open(args.bundle).manifest.prompting.min_call_probability if args.threshold is None else args.threshold
    all_cases: list[Case] = []
    all_heard: list[Heard] = []
    for folder in args.sets:
        cases = read_set(folder, args.snr)[: args.limit]
        if args.turns:
            conversations(model, [case for case in cases if case.meta["intent"] != "foreign"], args.turns)
            continue
        start = time.time()
        heard = first_turns(model, cases)
        all_cases, all_heard = all_cases + cases, all_heard + heard
        print(
            folder.name,
            len(cases),
            "clips",
            score(cases, heard, threshold),
            f"{1000 * (time.time() - start) / len(cases):.0f} ms each",
            flush=True,
        )
        unseen = [index for index, case in enumerate(cases) if not case.meta["seen"]]
        if unseen:
            print("  wordings never trained:", score([cases[i] for i in unseen], [heard[i] for i in unseen], threshold))
        wrong = [(case, one) for case, one in zip(cases, heard, strict=True) if one.gated(threshold) != right(case)]
        for case, one in wrong[: args.errors]:
            print(f"    {case.meta['voice']}: {case.meta['text']!r} -> {one.answer} ({one.sure:.2f})")
    if args.save:
        with args.save.open("a") as out:
            for case, one in zip(all_cases, all_heard, strict=True):
                out.write(json.dumps(case.meta | {"snr_db": args.snr, "heard": one.answer, "sure": one.sure}) + "\n")
    if all_cases and len(args.sets) > 1:
        print("all", len(all_cases), "clips", score(all_cases, all_heard, threshold))
    if args.sweep:
        for step in (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
            print(f"  threshold {step:.2f}", score(all_cases, all_heard, step))


if __name__ == "__main__":
    main()
