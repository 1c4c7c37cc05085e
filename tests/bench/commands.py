"""How well “stop” is heard without the language model: hits, false alarms, delay, cost. The protocol is in docs/commands.md.

    python tests/bench/commands.py [--sets FOLDER] [--kokoro MODEL VOICES] [--clips SHARD.npz …] [--requests N]

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
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
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


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, metavar="FOLDER", help="pocket's test sets")
    parser.add_argument("--kokoro", type=Path, nargs=2, metavar=("MODEL", "VOICES"), help="more voices")
    parser.add_argument("--clips", type=Path, nargs="+", metavar="SHARD", help="synthesised clips, instead of synthesis")
    parser.add_argument("--requests", type=int, default=2000, help="of each set (all)")
    args = parser.parse_args()
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
