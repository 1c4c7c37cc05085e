"""Warm the audio tower up on phonemes whose times are known exactly, because espeak-ng says them itself.

CTC on an untrained tower stays on a plateau for a long time: nothing tells it where a phoneme is. espeak-ng's library
reports an event for every phoneme that it speaks, so the tower can learn, by plain cross entropy, which phoneme sounds
at the centre of each soft token (class 0 is silence). A few minutes of that are worth more than half an hour of CTC.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import time
from pathlib import Path
from typing import ClassVar

import alter
import numpy as np
import quick
import repertoire
import speech
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
import train
from phonemes import Phonemes, plain
from torch import nn

RETRIEVAL = 2
"""espeak-ng's mode in which sound comes in callbacks and is not played."""
PHONEME_EVENTS = 1
RATE, PITCH = 1, 3
"""espeak-ng's numbers of the two parameters."""
PHONEME = 7
"""The type of a phoneme's event."""
IGNORE = -100


class _Name(ctypes.Union):
    _fields_: ClassVar = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Name),
    ]


class Speaker:
    """espeak-ng as a library."""

    def __init__(self) -> None:
        """Open the library, which must be installed."""
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate_hz = self._library.espeak_Initialize(RETRIEVAL, 0, None, PHONEME_EVENTS)
        self._parts: list[np.ndarray] = []
        self._marks: list[tuple[int, str]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = kind(self._take)  # kept, or it would be collected while C holds it
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, sound: ctypes._Pointer, samples: int, events: ctypes._Pointer) -> int:
        if sound and samples:
            self._parts.append(np.ctypeslib.as_array(sound, (samples,)).copy())
        index = 0
        while events[index].type:
            if events[index].type == PHONEME:
                self._marks.append((events[index].sample, events[index].id.string.decode("utf8", "replace")))
            index += 1
        return 0

    def say(self, text: str, voice: str, words_per_minute: int, pitch: int) -> tuple[speech.Pcm, list[tuple[int, str]]]:
        """Return sound at `speech.RATE_HZ` and each phoneme with the sample at which it begins."""
        self._parts.clear()
        self._marks.clear()
        self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(PITCH, pitch, 0)
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 0, 0, 1, None, None)
        pcm = np.concatenate(self._parts).astype(np.float32) / 32768
        scale = speech.RATE_HZ / self.rate_hz
        return speech.resample(pcm, self.rate_hz), [(round(at * scale), name) for at, name in self._marks]


def labels(marks: list[tuple[int, str]], lead: int, tokens: int, index: dict[str, int]) -> np.ndarray:
    """Return the phoneme's class at the centre of each soft token, int64 [tokens]; 0 for silence."""
    starts = np.array([at + lead for at, _ in marks])
    classes = [0] + [index.get(plain(name), 0) for _, name in marks]
    centres = np.arange(tokens) * speech.TOKEN_SAMPLES + speech.TOKEN_SAMPLES // 2
    return np.array(classes)[np.searchsorted(starts, centres, side="right")]


def clips(count: int, index: dict[str, int], rng: random.Random) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return mels, float16 [frames, 128], and labels, int64 [tokens], of sentences in the training voices."""
    speaker, mel_of, mels, classes = Speaker(), speech.log_mel(), [], []
    noise = np.random.default_rng(0)
    for _ in range(count):
        one = repertoire.request(rng) if rng.random() < 0.7 else repertoire.foreign(rng)
        voice = "en-us+" + rng.choice(speech.ESPEAK["train"])
        pcm, marks = speaker.say(one.text, voice, rng.randint(120, 220), rng.randint(20, 80))
        pcm *= 10 ** rng.uniform(-1.2, 0) / (np.abs(pcm).max() + 1e-6)
        lead, tail = (int(speech.RATE_HZ * rng.uniform(0.05, 0.5)) for _ in range(2))
        pcm = np.pad(pcm, (lead, tail))
        pcm += noise.standard_normal(len(pcm)).astype(np.float32) * 10 ** rng.uniform(-4, -1.6)
        mels.append(mel_of(pcm).astype(np.float16))
        classes.append(labels(marks, lead, len(mels[-1]) // 4, index))
    return mels, classes


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="checkpoint folder to write")
    train.add_shape(parser)
    parser.add_argument("--clips", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=5.5)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--frames", type=int, default=5000, help="mel frames in a batch")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    phonemes = Phonemes(args.out / "phonemes.json")
    phonemes.learn({repertoire.request(rng).text for _ in range(3000)} | {repertoire.foreign(rng).text for _ in range(3000)})
    names = sorted({name for word in phonemes.words.values() for name in word})
    mels, classes = clips(args.clips, {name: number + 1 for number, name in enumerate(names)}, rng)
    tokenizer = train.make_tokenizer(args.vocab)
    model = train.make_model(tokenizer, args)
    head = nn.Linear(args.tower, len(names) + 1)
    fast = quick.Quick(model)
    weights = [w for part in (fast.audio, head) for w in part.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    order = sorted(range(len(mels)), key=lambda clip: len(mels[clip]))
    start, told, number, right = time.time(), 0.0, 0, []
    while (share := (time.time() - start) / (60 * args.minutes)) < 1:
        at = rng.randrange(max(1, len(order) - 40))
        batch = order[at : at + max(8, min(40, args.frames // len(mels[order[at]])))]
        values, _ = alter.collate([mels[clip] for clip in batch], max(len(mels[clip]) for clip in batch))
        values = alter.another_microphone(alter.another_throat(values, 1.0))  # at its own pace: the times are known
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, (number + 1) / 60, 1 - 2 * (share - 0.6))
        logits = head(fast.tower(alter.padded(values, 4 * quick.CHUNK)).float())
        wanted = torch.full(logits.shape[:2], IGNORE)
        for row, clip in enumerate(batch):
            wanted[row, : len(classes[clip])] = torch.from_numpy(classes[clip])
        F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORE).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        number += 1
        right.append((logits.argmax(-1) == wanted)[wanted > 0].float().mean().item())
        if time.time() - told > 20:
            told = time.time()
            print(number, round(told - start), "s, phonemes right", round(float(np.mean(right[-25:])), 3), flush=True)
    train.store(args.out, model, tokenizer, head, names)


if __name__ == "__main__":
    main()
