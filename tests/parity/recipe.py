"""What pocket is trained on is what its recipe says: noise as loud as asked for, clips as often, phonemes where they are.

It needs torch, which the suite does without: `make parity` runs it.
"""

import itertools
import math
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "assets" / "pocket" / "recipe"))
import alter
import train
from train import Clip

BINS = 128
DB = 20 / math.log(10)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(1)
    random.seed(1)


@pytest.fixture(scope="module")
def noises() -> alter.Noises:
    return alter.Noises(3, random.Random(0))


def spoken(clips: int, frames: int) -> torch.Tensor:
    """Pictures that look like speech as far as loudness goes: float32 [clips, frames, bins]."""
    return alter.uniform(-5, 0, clips, frames, BINS)


def power(picture: torch.Tensor) -> torch.Tensor:
    return torch.exp(2 * picture)


# ---- alterations ----


@pytest.mark.parametrize("babble", [0.0, 1.0])
def test_noise_is_as_loud_as_asked_for(noises: alter.Noises, babble: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alter, "BABBLE", babble)
    clean, frames = spoken(6, 80), torch.tensor([80, 80, 60, 40, 80, 20])
    mixed = noises.mix(clean, frames, torch.zeros(6), share=1.0, least_db=20)
    for row, length in enumerate(frames):
        said, added = power(clean[row, :length]), power(mixed[row, :length]) - power(clean[row, :length])
        assert DB / 2 * math.log(said.sum() / added.sum()) == pytest.approx(20, abs=0.05)


def test_noise_is_never_louder_than_the_loudest(noises: alter.Noises) -> None:
    clean, frames = spoken(300, 20), torch.full((300,), 20)
    mixed = noises.mix(clean, frames, torch.zeros(300), share=1.0, least_db=4)
    added = (power(mixed) - power(clean)).sum((1, 2))
    ratios = DB / 2 * torch.log(power(clean).sum((1, 2)) / added)
    assert 3.9 < ratios.min() < 6
    assert 18 < ratios.max() < 20.1


def test_noise_is_in_a_share_of_the_clips_and_the_rest_are_left_alone(noises: alter.Noises) -> None:
    clean = spoken(400, 8)
    mixed = noises.mix(clean, torch.full((400,), 8), torch.zeros(400), share=0.3, least_db=3)
    altered = (mixed != clean).flatten(1).any(1)
    assert 80 < altered.sum() < 160
    assert torch.equal(mixed[~altered], clean[~altered])


def test_half_of_the_babble_is_of_the_speakers_own_engine(noises: alter.Noises, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alter, "BABBLE", 1.0)
    engines = torch.arange(200) % 2
    clean = torch.full((200, 8, BINS), -7.0)
    clean[engines == 0, :, :64] = 0
    clean[engines == 1, :, 64:] = 0
    mixed = noises.mix(clean, torch.full((200,), 8), engines, share=1.0, least_db=3)
    added = power(mixed) - power(clean)
    low, high = added[..., :64].sum((1, 2)), added[..., 64:].sum((1, 2))
    alone = (torch.where(engines == 0, high, low) < 0.001 * (low + high)).float().mean()
    assert 0.45 < alone < 0.75  # half, and a few more that two to eight others fell to by chance


def test_without_noise_and_reach_only_the_microphone_is_another(noises: alter.Noises, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alter, "another_microphone", lambda values: values)
    rng = np.random.default_rng(0)
    mels = [rng.uniform(-5, 0, (frames, BINS)).astype(np.float32) for frames in (40, 64, 80)]
    values, clean, lengths = alter.alter(mels, ["a", "b", "a"], noises, 0.0, 3.0, 640, 0.0)
    assert lengths.tolist() == [40, 64, 80]
    for row, mel in enumerate(mels):
        np.testing.assert_allclose(values[row, : len(mel)], mel, atol=1e-4)
    assert torch.equal(values, clean)


def test_altered_clips_stay_within_the_longest_and_whole_soft_tokens(noises: alter.Noises) -> None:
    mels = [np.zeros((frames, BINS), np.float32) for frames in range(36, 136, 4)]
    for _ in range(5):
        values, _, lengths = alter.alter(mels, ["a"] * len(mels), noises, 0.5, 3.0, 120, 1.0)
        assert lengths.max() <= 120
        assert not (lengths % 4).any()
        assert values.shape[1] >= lengths.max()
        assert torch.isfinite(values).all()


def test_the_noise_is_told_whose_engine_is_whose(noises: alter.Noises, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(noises, "mix", lambda clean, _lengths, engines, *_: told.extend(engines.tolist()) or clean)
    alter.alter([np.zeros((40, BINS), np.float32)] * 4, ["b", "a", "b", "c"], noises, 0.5, 3.0, 640, 0.0)
    assert told[0] == told[2]
    assert len(set(told)) == 3


def test_another_pace_keeps_what_is_said_in_order() -> None:
    ramp = torch.linspace(-5, 0, 60)[None, :, None].expand(8, 60, BINS).contiguous()
    values, lengths = alter.another_pace(ramp, torch.full((8,), 60), most=640, reach=1.0, share=1.0)
    assert len(set(lengths.tolist())) > 1
    for row, length in enumerate(lengths):
        said = values[row, :length, 0]
        assert (said.diff() >= 0).all()
        assert said[0] == pytest.approx(-5, abs=0.2)
        assert said[-1] == pytest.approx(0, abs=0.3)


def test_another_throat_moves_formants_and_keeps_what_has_none() -> None:
    flat = torch.full((50, 4, BINS), -2.0)
    torch.testing.assert_close(alter.another_throat(flat, 1.0), flat)
    formant = flat.clone()
    formant[:, :, 60] = 3
    moved = alter.another_throat(formant, 1.0)[:, 0].argmax(1)
    assert len(set(moved.tolist())) > 5
    assert (moved - 60).abs().max() <= 14


# ---- how often a clip is drawn ----


def clip(intent: str, unsure: float = train.NOT_YET_HEARD, text: str = "") -> Clip:
    return Clip(np.zeros((4, BINS), np.float16), {"intent": intent, "text": text}, unsure)


def test_clips_are_drawn_by_kind_then_intent_then_how_unsure_the_model_was() -> None:
    sure, unsure = clip("timer", 0.0), clip("timer", 0.9)
    pools = {"kokoro": [clip("date"), *([sure] * 3), unsure], "espeak": [clip("help")] * 50, "unknown": [clip("help")]}
    drawn = train.draw(pools, lambda one: one, 6000, random.Random(1))
    kinds = Counter("espeak" if one.meta["intent"] == "help" else "kokoro" for one in drawn)
    share = train.SHARES["kokoro"] / (train.SHARES["kokoro"] + train.SHARES["espeak"])
    assert kinds["kokoro"] / 6000 == pytest.approx(share, abs=0.03)
    rest = 1 - sum(train.INTENT_SHARES.values())
    timers, wanted = sum(one.meta["intent"] == "timer" for one in drawn), train.INTENT_SHARES["timer"]
    assert timers / kinds["kokoro"] == pytest.approx(wanted / (wanted + rest), abs=0.03)
    often = sum(one is unsure for one in drawn) / timers
    assert often == pytest.approx((train.LEAST_DRAWN + 0.9) / (4 * train.LEAST_DRAWN + 0.9), abs=0.04)


def test_a_clip_is_drawn_less_the_surer_the_model_gets() -> None:
    one = clip("timer")
    weights = [one.weight]
    for _ in range(3):
        one.heard(1.0)
        weights.append(one.weight)
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == pytest.approx(train.LEAST_DRAWN, abs=0.01)
    one.heard(0.0)
    assert one.weight > weights[1]


def test_questions_about_its_own_things_have_a_shelf_of_their_own() -> None:
    assert clip("foreign", text="did you set it for twelve minutes").shelf == "question"
    assert clip("foreign", text="the moon was red").shelf == "foreign"
    assert clip("help", text="did you set the timer").shelf == "help"


def test_of_several_peers_each_has_its_part(tmp_path: Path) -> None:
    meta = [{"intent": "help", "text": str(number)} for number in range(7)]
    mel = np.zeros((28, BINS), np.float16)
    np.savez(tmp_path / "train-flite-1-000-00.npz", mel=mel, offsets=np.arange(0, 29, 4), meta=np.array(train.json.dumps(meta)))
    parts = [train.Pool(tmp_path, "train-*.npz", rank, 2) for rank in range(2)]
    assert [part.refresh() for part in parts] == [4, 3]
    assert [part.refresh() for part in parts] == [4, 3]  # nothing is read twice
    texts = [one.meta["text"] for part in parts for one in part.clips["flite"]]
    assert sorted(texts) == [str(number) for number in range(7)]


def test_batches_are_of_like_lengths_and_no_larger_than_asked_for() -> None:
    rng = random.Random(3)
    pool = train.Pool(Path(), "")
    mels = [np.zeros((rng.randrange(40, 400, 4), BINS), np.float16) for _ in range(60)]
    pool.clips["flite"] = [Clip(mel, {"intent": "help", "text": ""}) for mel in mels]
    for batch in itertools.islice(pool.batches(2000, rng), 100):
        longest = max(len(one.mel) for one in batch)
        assert longest * len(batch) <= 2000
        assert longest - min(len(one.mel) for one in batch) <= 80


# ---- what is learned from it ----


def test_the_alignment_is_the_best_of_all() -> None:
    scores = torch.randn(2, 7, 4)
    lengths, states = [7, 5], [[0, 2, 1, 2], [3, 0, 3]]
    for row, path in enumerate(train.viterbi(scores, lengths, states)):
        tokens, names = lengths[row], states[row]
        cuts = itertools.combinations(range(1, tokens), len(names) - 1)
        ways = [[names[sum(cut <= token for cut in way)] for token in range(tokens)] for way in cuts]
        best = max(ways, key=lambda way: sum(scores[row, token, name].item() for token, name in enumerate(way)))
        assert path.tolist() == best


class Letters:
    """A tokenizer of one token a letter."""

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [ord(letter) for letter in text]

    def convert_tokens_to_ids(self, token: str) -> int:
        return -1


def learned(row: train.Row, weight: float) -> str:
    return "".join(chr(number) for number, part in zip(row.ids, row.weights, strict=True) if part == weight)


def test_a_conversation_learns_calls_and_sentences_and_nothing_that_is_given() -> None:
    call = "<|tool_call>call:set_timer{minutes:12}<tool_call|>"
    writer = train.Writer(Letters(), random.Random(1))
    rows = [writer.conversation([(3, call), (2, "Hello.")]) for _ in range(20)]
    for row in rows:
        assert len(row.ids) == len(row.weights)
        assert row.ids.count(-1) == 5
        assert learned(row, train.ARGUMENT_WEIGHT) == "{minutes:12}<tool_call|>"
        assert learned(row, 1.0) == "<|tool_call>call:set_timer" + train.RESPONSE + "Hello." + train.END
    said = [learned(row, train.SENTENCE_WEIGHT).removesuffix(train.END) for row in rows]
    assert sum("12" in sentence for sentence in said) > 10  # the others tell of what went wrong


def test_a_call_without_sound_is_given_and_only_its_sentence_is_learned() -> None:
    row = train.Writer(Letters(), random.Random(1)).conversation([(0, "<|tool_call>call:get_time{}<tool_call|>")])
    assert set(row.weights) == {0.0, train.SENTENCE_WEIGHT}
    assert learned(row, train.SENTENCE_WEIGHT).endswith(train.END)


def test_repeat_that_learns_what_was_said_last() -> None:
    writer = train.Writer(Letters(), random.Random(1))
    row = writer.conversation([(1, "Hello."), (1, train.repertoire.REPEAT)])
    assert learned(row, 1.0) == "Hello." + train.END + "Hello." + train.END
    alone = writer.conversation([(1, train.repertoire.REPEAT)])
    assert learned(alone, 1.0) == train.repertoire.NOTHING_SAID + train.END
