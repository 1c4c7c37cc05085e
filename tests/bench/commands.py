"""How well commands are heard without the language model: hits, false alarms, delay, cost. The protocol is in docs/commands.md.

    python tests/bench/commands.py [--sets FOLDER] [--kokoro MODEL VOICES] [--clips SHARD.npz …] [--requests N]
    python tests/bench/commands.py --listener SET… [--snr DB] [--requests N] [--save FILE]

The first measures “stop” by pocketsphinx; the second everything that the command listener understands, on sets of pocket: right
and wrong for a row of thresholds. The threshold is chosen on voices of development (dev-*), and reported on test-*.

Voices are those that the recipe of pocket keeps for tests; no part of this was tuned on them. `--sets` has pocket's test sets and
the recordings of people, made as assets/pocket/recipe/README.md says. `--clips` takes what was synthesised before.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "assets" / "pocket" / "recipe"))

import speech

from edge_assistant.commands import StopWord
from edge_assistant.fastpath import CAPACITY, CommandListener
from edge_assistant.frames import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.models import find_model
from edge_assistant.prompt import ToolCall, parse_call
from edge_assistant.runtime import Session
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.turn import STOP
from edge_assistant.vad import SileroVad

LIKE_IT = ["top", "shop", "step", "start", "stock", "spot", "pop", "steps", "stops"]
LONGER = ["stop the timer", "stop all timers", "stop the music", "start a timer", "start up", "bus stop", "don't stop the music"]
PER_VOICE = {"espeak": 56, "flite": 24, "kokoro": 3}


def synthesise(kokoro: list[Path] | None) -> Iterator[tuple[np.ndarray, str, str]]:
    """Clips (int16 [samples]), their engine and their words."""
    for engine in ("espeak", "flite", *(["kokoro"] if kokoro else [])):
        rng = random.Random(engine)
        voices = getattr(speech, engine.upper())["test"]
        for group in [[voice] for voice in voices] if engine == "kokoro" else [voices]:
            say = (
                speech.kokoro(group, rng, *kokoro, blend=False)
                if engine == "kokoro" and kokoro
                else getattr(speech, engine)(group, rng)
            )
            for text in ["stop"] * PER_VOICE[engine] + (LIKE_IT + LONGER) * (engine != "kokoro"):
                _, pcm, rate_hz = say(text if engine == "espeak" else text.capitalize() + rng.choice(".!"))
                pcm = speech.trim(speech.resample(pcm, rate_hz))
                yield (pcm / np.abs(pcm).max() * 32767).astype(np.int16), engine, text


def hear(stop: StopWord, pcm: np.ndarray, vad: SileroVad) -> tuple[list[int], float]:
    """At which samples “stop” is told, and the processor's seconds that it took."""
    found, spent_s = [], 0.0
    for begin in range(0, len(pcm) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        frame = pcm[begin : begin + FRAME_SAMPLES]
        probability = vad(frame)
        start_s = time.process_time()
        if stop(frame, probability):
            found.append(begin + FRAME_SAMPLES)
        spent_s += time.process_time() - start_s
    return found, spent_s


def in_a_room(clip: np.ndarray, rng: np.random.Generator, snr_db: float | None) -> tuple[np.ndarray, int]:
    """The clip (int16) between silences at a level between −26 and −8 dB of full scale, and the sample at which it is over."""
    pcm = clip.astype(np.float32) / 32768
    end = int(np.flatnonzero(np.abs(pcm) > 0.02 * np.abs(pcm).max())[-1]) + 1
    pcm *= 10 ** rng.uniform(-1.3, -0.4) / np.abs(pcm).max()
    lead = int(rng.uniform(0.5, 0.9) * SAMPLE_RATE_HZ)
    sound = np.pad(pcm, (lead, SAMPLE_RATE_HZ))
    sound += rng.standard_normal(len(sound)) * 3e-4
    if snr_db is not None:
        sound += speech.coloured(len(sound), rng, 0.5) * np.sqrt(np.mean(pcm**2)) * 10 ** (-snr_db / 20)
    return sound.astype(np.float32), lead + end


def voices(clips: list[tuple[np.ndarray, str, str]], snr_db: float | None) -> None:
    """Hits and delay on “stop”, false alarms on words like it."""
    stop, vad, rng = StopWord(), SileroVad(), np.random.default_rng(4)
    hits: dict[str, list[bool]] = {}
    delays: list[float] = []
    spent_s = heard_s = 0.0
    for clip, engine, text in clips:
        sound, end = in_a_room(clip, rng, snr_db)
        found, took_s = hear(stop, sound, vad)
        spent_s, heard_s = spent_s + took_s, heard_s + len(sound) / SAMPLE_RATE_HZ
        kind = (
            "stop" if text == "stop" else "a word like it" if text in LIKE_IT else "a sentence with it" if text in LONGER else ""
        )
        if kind:
            hits.setdefault(f"{kind}, {engine}", []).append(bool(found))
        if found and kind == "stop":
            delays.append((found[0] - end) * 1000 / SAMPLE_RATE_HZ)
    print("clean" if snr_db is None else f"pink noise at {snr_db:g} dB")
    for kind, each in sorted(hits.items()):
        print(f"  {kind}: {sum(each)} of {len(each)}")
    p50, p90, most = np.quantile(delays, [0.5, 0.9, 1])
    core = 100 * spent_s / heard_s
    print(f"  word's end to event: p50 {p50:.0f} ms, p90 {p90:.0f} ms, max {most:.0f} ms; {core:.1f} % of a core")


def others(folder: Path, most: int) -> None:
    """False alarms in one long row of recordings, half a second of silence between them."""
    stop, vad, rng = StopWord(), SileroVad(), np.random.default_rng(5)
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    entries = [entry for entry in entries if entry["intent"] != "stop"]
    entries = entries if len(entries) <= most else random.Random(6).sample(entries, most)
    alarms, total_s = [], 0.0
    for entry in entries:
        pcm, _ = speech.read_wav(folder / entry["file"])
        sound = (
            np.pad(pcm * 10 ** rng.uniform(-1, 0), (0, SAMPLE_RATE_HZ // 2))
            + rng.standard_normal(len(pcm) + SAMPLE_RATE_HZ // 2) * 3e-4
        )
        found, _ = hear(stop, sound.astype(np.float32), vad)
        alarms += [entry["text"]] * bool(found)
        total_s += len(sound) / SAMPLE_RATE_HZ
    print(f"{folder.name}: {len(alarms)} false alarms in {len(entries)} recordings ({total_s / 60:.1f} min): {', '.join(alarms)}")


COMMANDS = ("volume_up", "volume_down", "volume", "cancel_timer", "stop")
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


class Noted(CommandListener):
    """Keeps every answer with its probability, whatever the threshold."""

    LEAST = LEAST_SOUNDING = THRESHOLDS[0]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.may_cancel = lambda: True
        self.asked: list[tuple[tuple[ToolCall, ...], float]] = []

    def _ask(self) -> tuple[str, float]:
        answer, sure = super()._ask()
        self.asked.append((self._commands(answer, sure), sure))
        return answer, sure


def wanted(entry: dict) -> tuple[ToolCall, ...]:
    """What is to be understood in a clip."""
    if entry["intent"] == "stop":
        return (STOP,)
    call = parse_call(entry["answer"]) if entry["intent"] in COMMANDS else None
    return (call,) if call else ()


def listen(folder: Path, model: OnnxModel, snr_db: float | None, most: int) -> list[dict]:
    """Every command of a set, and so many other clips: what was understood when, how sure, how late, at what cost."""
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    others = [entry for entry in entries if entry["intent"] not in COMMANDS]
    entries = [entry for entry in entries if entry["intent"] in COMMANDS]
    entries += others if len(others) <= most else random.Random(6).sample(others, most)
    rng, vad, found = np.random.default_rng(4), SileroVad(), []
    for entry in entries:
        listener = Noted(model.session(CAPACITY))
        clip, _ = speech.read_wav(folder / entry["file"])
        sound, end = in_a_room((clip * 32767).astype(np.int16), rng, snr_db)
        asked: list[tuple[float, float]] = []
        spent_s = 0.0
        for begin in range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            frame = sound[begin : begin + FRAME_SAMPLES]
            probability, before = vad(frame), len(listener.asked)
            start_s = time.process_time()
            list(listener.hear(0, frame, probability))
            took_s = time.process_time() - start_s
            spent_s += took_s
            if len(listener.asked) > before:
                asked.append(((begin + FRAME_SAMPLES - end) * 1000 / SAMPLE_RATE_HZ, took_s * 1000))
        answers = [
            {"calls": [[call.name, dict(call.arguments)] for call in calls], "sure": sure, "after_ms": after, "took_ms": took}
            for (calls, sure), (after, took) in zip(listener.asked, asked, strict=True)
        ]
        right = [[call.name, dict(call.arguments)] for call in wanted(entry)]
        found.append(
            {"set": folder.name, "snr_db": snr_db, "intent": entry["intent"], "text": entry["text"], "wanted": right}
            | {"answers": answers, "spent_s": spent_s, "heard_s": len(sound) / SAMPLE_RATE_HZ}
        )
    return found


def in_one_pause(answers: list[dict]) -> bool:
    """Was the second asked for a frame after the first? Then nobody has spoken between them, and the first stays."""
    return answers[1]["after_ms"] - answers[0]["after_ms"] < 1.5 * FRAME_MS


def judge(found: list[dict], threshold: float | None = None) -> str:
    """Done right, done wrong, and shown something else before that; None takes the thresholds of the product."""

    def least(calls: list) -> float:
        sounding = not calls or calls[0][0] != "set_volume"
        return threshold or (CommandListener.LEAST_SOUNDING if sounding else CommandListener.LEAST)

    rows: dict[str, list[int]] = {}
    delays: list[float] = []
    alarms: list[str] = []
    for one in found:
        calls = [answer["calls"] if answer["sure"] >= least(answer["calls"]) else [] for answer in one["answers"]]
        done = calls[-1] if calls else []
        kind = one["intent"] if one["wanted"] else "others"
        kind = "mute" if one["wanted"] == [["set_volume", {"percent": 0}]] else kind
        row = rows.setdefault(kind, [0, 0, 0, 0])
        row[0] += 1
        row[1] += bool(done) and done == one["wanted"]
        row[2] += bool(done) and done != one["wanted"]
        row[3] += any(each and each != done for each in calls[:-1])
        if done and done == one["wanted"]:
            first = one["answers"][-2 if calls[-2:] == [done, done] and in_one_pause(one["answers"][-2:]) else -1]
            delays.append(first["after_ms"] + first["took_ms"])
        elif done:
            alarms.append(f"{one['text']} -> {done[0][0]} {list(done[0][1].values())}")
    lines = [
        f"  {kind}: {row[1]} right, {row[2]} wrong, {row[3]} shown and taken back, of {row[0]}" for kind, row in rows.items()
    ]
    if delays:
        p50, p90, most = np.quantile(delays, [0.5, 0.9, 1])
        lines.append(f"  word's end to event: p50 {p50:.0f} ms, p90 {p90:.0f} ms, max {most:.0f} ms")
    return "\n".join([f"threshold {threshold or 'of the product'}", *lines, *[f"    wrong: {alarm}" for alarm in alarms]])


def listeners(folders: list[Path], snr_db: float | None, most: int, save: Path | None) -> None:
    """Measure the command listener."""
    model = OnnxModel.open(find_model("pocket"))
    found: list[dict] = []
    for folder in folders:
        part = listen(folder, model, snr_db, most)
        found += part
        print(f"{folder.name}: {len(part)} clips", flush=True)
        if save:
            with save.open("a") as out:
                out.writelines(json.dumps(one) + "\n" for one in part)
    heard_s, asked = sum(one["heard_s"] for one in found), [a["took_ms"] for one in found for a in one["answers"]]
    core = 100 * sum(one["spent_s"] for one in found) / heard_s
    print(f"{heard_s / 60:.1f} min; {core:.1f} % of a core; an answer takes {np.median(asked):.0f} ms (p50) of it")
    for threshold in (None, *THRESHOLDS):
        print(judge(found, threshold))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, metavar="FOLDER", help="pocket's test sets")
    parser.add_argument("--kokoro", type=Path, nargs=2, metavar=("MODEL", "VOICES"), help="more voices")
    parser.add_argument("--clips", type=Path, nargs="+", metavar="SHARD", help="synthesised clips, instead of synthesis")
    parser.add_argument("--requests", type=int, default=2000, help="of each set (all)")
    parser.add_argument("--listener", type=Path, nargs="+", metavar="SET", help="measure the command listener on these sets")
    parser.add_argument("--snr", type=float, metavar="DB", help="pink noise, for the listener")
    parser.add_argument("--save", type=Path, metavar="FILE", help="append what the listener understood, a JSON line a clip")
    args = parser.parse_args()
    if args.listener:
        listeners(args.listener, args.snr, args.requests, args.save)
        return
    if args.clips:
        clips = [(clip, meta["engine"], meta["text"]) for path in args.clips for clip, meta in speech.load(path)]
    else:
        clips = list(synthesise(args.kokoro))
    for snr_db in (None, 10.0):
        voices(clips, snr_db)
    for folder in sorted(args.sets.glob("test-*")) if args.sets else []:
        others(folder, args.requests)


if __name__ == "__main__":
    main()
