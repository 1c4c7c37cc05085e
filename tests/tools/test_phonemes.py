"""Words that sound alike, found by their phonemes: what pocket learns to refuse beside its requests."""

import random
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "assets" / "pocket" / "recipe")]
import phonemes
import repertoire

SPOKEN = {  # espeak-ng -q -v en-us -x --sep=_
    "light": "l_'aI_t",
    "slights": "s_l_'aI_t_s",
    "life": "l_'aI_f",
    "lamp": "l_'a_m_p",
    "limits": "l_'I_m_I_t_s",
    "minutes": "m_'I_n_I_t_s",
    "minuets": "m_'I_n_j_uI_t_s",
    "dinners": "d_'I_n_3_z",
    "timer": "t_'aI_m_3",
    "timers": "t_'aI_m_3_z",
    "primer": "p_r_'aI_m_3",
    "twice": "t_w_'aI_s",
    "extraordinary": "E_k_s_t_r_'o@_d_I2_n_,e@_r_i",
}


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> phonemes.Alike:
    monkeypatch.setattr(phonemes.Phonemes, "speak", staticmethod(lambda text: "\n".join(SPOKEN[word] for word in text.split())))
    return phonemes.Alike(SPOKEN.keys() - {"minutes", "timer"})


def test_words_that_sound_like_another_are_found_and_neither_itself_nor_far_ones(alike: phonemes.Alike) -> None:
    assert sorted(alike("minutes")) == ["limits"]  # 2 of 6 phonemes; minuets has 2 of 7, dinners 4 of 6
    assert sorted(alike("timer")) == ["primer"]  # timers is too near: 1 of 5
    assert sorted(alike("light")) == ["life", "slights"]  # lamp has 3 others of 4
    assert alike("extraordinary") == []


def test_the_distance_is_levenshteins(alike: phonemes.Alike) -> None:
    def distance(one: list[int], other: list[int]) -> int:
        if not one or not other:
            return len(one) + len(other)
        return min(
            distance(one[1:], other[1:]) + (one[0] != other[0]), distance(one[1:], other) + 1, distance(one, other[1:]) + 1
        )

    rng = random.Random(1)
    for size in (1, 3, 5):
        names = rng.choices(range(1, 12), k=size)
        spelt = [list(row[:length]) for row, length in zip(alike.spelt, alike.sizes, strict=True)]
        near = [at for at, row in enumerate(spelt) if len(row) < 8]
        assert [alike.changes(names)[at] for at in near] == [distance(names, spelt[at]) for at in near]


def test_a_mistaken_request_has_another_word_where_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repertoire, "alike", lambda: lambda word: [f"<{word}>"] if word != "percent" else [])
    rng = random.Random(1)
    drawn = [repertoire.mistaken(rng) for _ in range(2000)]
    swapped = [[word.strip("<>") for word in text.split() if "<" in word] for text in drawn]
    assert all(swapped)
    assert "percent" not in {word for words in swapped for word in words}  # nothing sounds like it: such a draw is left
    long = [words for words, text in zip(swapped, drawn, strict=True) if len(text.split()) > 3]
    assert {len(words) for words in long} == {1, 2}
    assert {word for words in long for word in words} <= repertoire.TELLING
    assert any("<" in text and not set(words) & repertoire.TELLING for words, text in zip(swapped, drawn, strict=True))


def test_speech_that_sounds_like_a_request_is_refused_and_in_no_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repertoire, "alike", lambda: lambda word: [f"<{word}>"])
    rng = random.Random(1)
    drawn = [repertoire.foreign(rng, questions=0, near=0, sounding=1) for _ in range(3000)]
    assert {one.answer for one in drawn} == {repertoire.REJECT}
    assert not {one.text for one in drawn} & repertoire.wordings()
    assert 0.4 < sum("<" in one.text for one in drawn) / len(drawn) < 0.6
