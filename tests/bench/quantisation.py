"""What quantisation costs: soft tokens and next-token distributions of quantised bundles against the float32 one.

    python tests/bench/quantisation.py CHECKPOINT [SOUND.wav ...]
    python tests/bench/quantisation.py random          a random checkpoint: the worst case, nothing learned to be robust

Each sound is put to the model as a question. The float32 bundle answers greedily; the others are led through the same answer, and
at every token their distribution is compared with its own: KL divergence in nats, and how often the likeliest token is the same.
Bundles whose cache has 8 bits are compared with the same weights over a cache in float32 too.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edge_assistant.gemma4.export import export
from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession
from edge_assistant.runtimes.sampling import probabilities

sys.path.insert(0, str(Path(__file__).parent.parent / "parity"))
from shapes import SHAPES, make_checkpoint, sound

VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"decoder_bits": None, "encoder_bits": None, "table_bits": 32},
    "tables 8": {"decoder_bits": None, "encoder_bits": None, "table_bits": 8},
    "tables 4": {"decoder_bits": None, "encoder_bits": None, "table_bits": 4},
    "encoder 8": {"decoder_bits": None, "encoder_bits": 8, "table_bits": 32},
    "encoder 4": {"decoder_bits": None, "encoder_bits": 4, "table_bits": 32},
    "decoder 8": {"decoder_bits": 8, "encoder_bits": None, "table_bits": 32},
    "decoder 4": {"decoder_bits": 4, "encoder_bits": None, "table_bits": 32},
    "decoder 4, block 128": {"decoder_bits": 4, "encoder_bits": None, "table_bits": 32, "block": 128},
    "all 8": {"decoder_bits": 8, "encoder_bits": 8, "table_bits": 8},
    "all 8, cache 8": {"decoder_bits": 8, "encoder_bits": 8, "table_bits": 8, "cache_bits": 8},
    "default, cache 32": {"cache_bits": 32},
    "default (4, 8, 8)": {},
}
WITH_FLOATS = {"all 8, cache 8": "all 8", "default (4, 8, 8)": "default, cache 32"}
"""Bundles that differ from another in their cache alone."""
ANSWER = 32
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """What one bundle made of one sound."""

    soft: Array
    logits: Array
    answer: list[int]


def ask(session: OnnxSession, pcm: Array) -> None:
    session.feed_text("<bos><|turn>user\n")
    session.begin_audio()
    session.feed_audio(pcm)
    session.end_audio()
    session.feed_text("<turn|>\n<|turn>model\n")


def soft_tokens(model: OnnxModel, pcm: Array) -> Array:
    clip, out = model.hearing.begin().heard(pcm), list[Array]()
    while (ahead := model.hearing.step(clip)) is not None:
        soft, clip = ahead
        out.append(soft)
    rest = model.hearing.finish(clip)
    return np.concatenate([*out, rest] if len(rest) else out)


def hear(model: OnnxModel, pcm: Array, answer: list[int] | None) -> Heard:
    """Its own greedy answer, or the given one; logits [tokens, vocab] before each of its tokens."""
    session = model.session(2048)
    ask(session, pcm)
    if answer is None:
        mark = session.position
        answer = [token.id for token in session.decode(Sampling(max_tokens=ANSWER))]
        session.cut(mark)
    rows: list[Array] = []
    for id_ in answer:
        rows.append(session.logits())
        session.feed_ids([id_])
    return Heard(soft_tokens(model, pcm), np.array(rows), answer)


def divergence(own: Array, other: Array) -> list[float]:
    """KL(own ‖ other) in nats, of each row."""
    out: list[float] = []
    for a, b in zip(own, other, strict=True):
        p, q = probabilities(a), probabilities(b)
        out.append(float(np.sum(p * (np.log(p + 1e-300) - np.log(q + 1e-300)))))
    return out


def cosines(a: Array, b: Array) -> Array:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def read(path: Path) -> Array:
    pcm, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(pcm.mean(1), rate, 16_000).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("sounds", nargs="*", type=Path)
    arguments = parser.parse_args()
    sounds = [read(path) for path in arguments.sounds] or [sound(seed, 32_000 + 4_000 * seed) for seed in range(6)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = arguments.checkpoint == "random"
        checkpoint = make_checkpoint(folder / "random", SHAPES["base"], 1) if random else Path(arguments.checkpoint)
        print(f"{len(sounds)} sounds")
        print(f"{'bundle':32} {'MB':>6} {'cosine min':>10} {'mean':>8} {'KL mean':>9} {'max':>9} {'same token':>10}")
        whole: list[Heard] = []
        all_heard: dict[str, list[Heard]] = {}
        for label, wish in VARIANTS.items():
            bundle = export(checkpoint, folder / label, progress=False, **wish)
            model = OnnxModel.open(bundle.folder)
            own = whole or [None] * len(sounds)
            heard = [hear(model, pcm, first.answer if first else None) for pcm, first in zip(sounds, own, strict=True)]
            whole = whole or heard
            all_heard[label] = heard
            size = sum(entry.bytes for entry in bundle.manifest.files.values()) / 1e6
            show(label, size, whole, heard)
        for label, floats in WITH_FLOATS.items():
            base = all_heard[floats]
            answers = [first.answer for first in base]
            model = OnnxModel.open(folder / label)
            heard = [hear(model, pcm, answer) for pcm, answer in zip(sounds, answers, strict=True)]
            show(f"{label}, of it the cache", 0.0, base, heard)


def show(label: str, size: float, whole: list[Heard], heard: list[Heard]) -> None:
    """A line of the table."""
    cosine = np.concatenate([cosines(a.soft, b.soft) for a, b in zip(whole, heard, strict=True)])
    kl = [x for a, b in zip(whole, heard, strict=True) for x in divergence(a.logits, b.logits)]
    same = np.mean([x for a, b in zip(whole, heard, strict=True) for x in a.logits.argmax(1) == b.logits.argmax(1)])
    print(
        f"{label:32} {size:6.1f} {cosine.min():10.5f} {cosine.mean():8.5f} {np.mean(kl):9.2e} {max(kl):9.2e} {same:10.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
