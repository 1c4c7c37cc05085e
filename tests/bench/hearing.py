"""Which turns are asked for again: recordings of people at many levels, in noise, overdriven and cut off. See docs/hearing.md.

    python tests/bench/hearing.py FOLDER [--every N] [--quantiles]

FOLDER is the set of recordings of people that assets/pocket/recipe/README.md makes.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "assets" / "pocket" / "recipe"))

import speech

from edge_assistant.ears import PlainEars
from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, SpeechEnded, SpeechStarted
from edge_assistant.hearing import Hearing, HearingConfig, Measured, Quality
from edge_assistant.vad import SileroVad

Sound = np.ndarray
"""float32 [samples] of speech; its root mean square is 0.1, −20 dB of full scale."""


def noisy(snr_db: float, kind: str = "pink") -> Callable[[Sound, np.random.Generator], Sound]:
    def make(pcm: Sound, rng: np.random.Generator) -> Sound:
        return (pcm + coloured(len(pcm), rng, kind) * 0.1 * 10 ** (-snr_db / 20)) * 0.5

    return make


def coloured(samples: int, rng: np.random.Generator, kind: str) -> Sound:
    return speech.coloured(samples, rng, {"pink": 0.5, "white": 0.0}[kind])


def louder(gain_db: float) -> Callable[[Sound, np.random.Generator], Sound]:
    return lambda pcm, rng: np.clip(pcm * 10 ** (gain_db / 20), -1, 1)


def cut(ms: int) -> Callable[[Sound, np.random.Generator], Sound]:
    def make(pcm: Sound, rng: np.random.Generator) -> Sound:
        kept = pcm.copy()
        kept[SAMPLE_RATE_HZ + ms * SAMPLE_RATE_HZ // 1000 :] = 0
        return kept

    return make


USABLE = {
    "as recorded": louder(0),
    "−45 dBFS": louder(-25),
    "white noise, 20 dB": noisy(20, "white"),
    "pink noise, 20 dB": noisy(20),
    "pink noise, 10 dB": noisy(10),
}
UNUSABLE = {
    "−75 dBFS": louder(-55),
    "overdriven by 35 dB": louder(35),
    "pink noise, −5 dB": noisy(-5),
    "white noise, −5 dB": noisy(-5, "white"),
    "its first 150 ms": cut(150),
    "nothing but pink noise": lambda pcm, rng: coloured(len(pcm), rng, "pink") * 0.05,
    "silence": lambda pcm, rng: pcm * 0,
}
BETWEEN = {"pink noise, 5 dB": noisy(5), "pink noise, 0 dB": noisy(0), "−60 dBFS": louder(-40)}


def turns(sound: Sound) -> list[Quality]:
    """How each turn of it is heard by the ears and the endpointer of a conversation."""
    ears, endpoint, hearing = PlainEars(SileroVad()), Endpointer(EndpointConfig()), Hearing(HearingConfig())
    found = []
    for number, begin in enumerate(range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES)):
        heard = ears(Frame(number, sound[begin : begin + FRAME_SAMPLES]))
        hearing.step(number, Measured(heard.speech, heard.power, heard.clipped))
        match endpoint.step(number, heard.speech):
            case SpeechStarted(first):
                hearing.begin(first)
            case SpeechEnded():
                found.append(hearing.quality())
            case _:
                pass
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=8, help="which of the recordings: every eighth (8)")
    parser.add_argument("--quantiles", action="store_true", help="of what is judged")
    args = parser.parse_args()
    entries = [json.loads(line) for line in (args.folder / "manifest.jsonl").read_text().splitlines()]
    entries = entries[:: args.every]
    rng, config = np.random.default_rng(7), HearingConfig()
    for title, conditions in (("usable", USABLE), ("between", BETWEEN), ("unusable", UNUSABLE)):
        for name, make in conditions.items():
            found: list[Quality] = []
            answered = asked = silent = 0
            for entry in entries:
                pcm, _ = speech.read_wav(args.folder / entry["file"])
                pcm = np.pad(pcm * (0.1 / np.sqrt(np.mean(pcm**2))), (SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * 3 // 2))
                sound = make(pcm.astype(np.float32), rng) + rng.standard_normal(len(pcm)) * 1e-4
                each = turns(sound.astype(np.float32))
                found += each
                complaints = [quality.complaint(config) for quality in each]
                answered += None in complaints
                asked += None not in complaints and any(complaints)
                silent += None not in complaints and bool(complaints) and not any(complaints)
            print(
                f"{title:9} {name:24} of {len(entries)}: answered {answered}, asked for {asked}, dropped {silent}, "
                f"not heard {len(entries) - answered - asked - silent}",
                flush=True,
            )
            if args.quantiles and found:
                for what in ("speech_ms", "level_dbfs", "snr_db", "clipped", "voice"):
                    values = [v for quality in found if (v := getattr(quality, what)) is not None]
                    print(
                        "   ", what, *(f"{v:.3g}" for v in np.quantile(values, [0, 0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98, 1]))
                    )


if __name__ == "__main__":
    main()
