"""Phonemes of words, by espeak-ng: the tower's side loss learns them, and words that sound alike are found by them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np

PART = 200
"""Words given to espeak-ng at once."""


def plain(phoneme: str) -> str:
    """Return an espeak-ng phoneme without its marks of stress and length."""
    return phoneme.strip("',%=|:#2-") or phoneme


class Phonemes:
    """Phoneme names of words, kept in a file where one is given."""

    def __init__(self, store: Path | None = None) -> None:
        self.store = store
        self.words: dict[str, list[str]] = json.loads(store.read_text()) if store and store.exists() else {}

    def learn(self, texts: Iterable[str]) -> None:
        """Look up every word of the texts that is not known yet."""
        new = sorted({word for text in texts for word in text.split()} - self.words.keys())
        for start in range(0, len(new), PART):
            part = new[start : start + PART]
            lines = self.speak("\n".join(part)).strip("\n").split("\n")
            if len(lines) != len(part):  # a word that espeak-ng reads in two breaths: one at a time
                lines = [self.speak(word).replace("\n", " ") for word in part]
            for word, line in zip(part, lines, strict=True):
                names = line.strip().replace(" ", "_").split("_")
                self.words[word] = [plain(name) for name in names if name.strip("',%=|")]
        if new and self.store:
            self.store.write_text(json.dumps(self.words))

    @staticmethod
    def speak(text: str) -> str:
        command = ["espeak-ng", "-q", "-v", "en-us", "-x", "--sep=_"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


class Alike:
    """Finds the words of a list that sound like another word but are not taken for it."""

    NEAREST, FARTHEST = 0.3, 0.55
    """Which share of the longer word's phonemes changes: limits for minutes. With fewer, noise makes one of the other."""

    def __init__(self, words: Iterable[str]) -> None:
        self.phonemes = Phonemes()
        self.phonemes.learn(words)
        self.words = [word for word, names in self.phonemes.words.items() if names]
        names = sorted({name for word in self.words for name in self.phonemes.words[word]})
        self.index = {name: number for number, name in enumerate(names, 1)}
        spelt = [[self.index[name] for name in self.phonemes.words[word]] for word in self.words]
        self.sizes = np.array([len(numbers) for numbers in spelt])
        self.spelt = np.array([numbers + [0] * (self.sizes.max() - len(numbers)) for numbers in spelt])
        self.known: dict[str, list[str]] = {}

    def __call__(self, word: str) -> list[str]:
        """Return the words whose phonemes are a few changes from the word's; none where none is."""
        if word not in self.known:
            self.phonemes.learn([word])
            names = self.phonemes.words[word]
            share = self.changes([self.index.get(name, -1) for name in names]) / np.maximum(self.sizes, len(names))
            self.known[word] = [self.words[at] for at in np.flatnonzero((share >= self.NEAREST) & (share <= self.FARTHEST))]
        return self.known[word]

    def changes(self, names: list[int]) -> np.ndarray:
        """Return the edit distance (Levenshtein, 1966) from phoneme numbers to every word, int [words]: all words at once."""
        row = np.tile(np.arange(len(names) + 1), (len(self.words), 1))
        found = row[:, -1].copy()
        for at in range(self.spelt.shape[1]):
            above, row = row, np.empty_like(row)
            row[:, 0] = at + 1
            for place, name in enumerate(names):
                swapped = above[:, place] + (self.spelt[:, at] != name)
                row[:, place + 1] = np.minimum(swapped, np.minimum(above[:, place + 1], row[:, place]) + 1)
            found = np.where(self.sizes == at + 1, row[:, -1], found)
        return found
