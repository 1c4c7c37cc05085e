import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import sound

from edge_assistant.gemma4.config import MelConfig
from edge_assistant.gemma4.mel import Mel, filter_bank

MEL = Mel(MelConfig())
PCM = np.concatenate([np.zeros(160, np.float32), sound(3, 16_000)])
WHOLE = MEL.frames(PCM)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8))
def test_any_splitting_gives_the_same_frames_to_the_bit(sizes: list[int]) -> None:
    pending, out, at, turn = np.zeros(0, np.float32), [], 0, 0
    while at < len(PCM):
        pending = np.concatenate([pending, PCM[at : at + sizes[turn % len(sizes)]]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
        frames = MEL.frames(pending)
        out.append(frames)
        pending = pending[len(frames) * MEL.config.hop :]
    assert np.array_equal(np.concatenate(out), WHOLE)


def test_a_frame_needs_one_sample_more_than_it_covers() -> None:
    assert [MEL.count(n) for n in (0, 320, 321, 480, 481)] == [0, 0, 1, 1, 2]
    assert all(MEL.count(MEL.span(n)) == n and MEL.count(MEL.span(n) - 1) == n - 1 for n in (1, 4, 48))


def test_a_tone_lights_its_own_filter() -> None:
    for hz in (300, 1000, 3000, 7000):
        tone = np.sin(2 * np.pi * hz * np.arange(2000) / 16_000).astype(np.float32)
        mel = 2595 * np.log10(1 + hz / 700)
        expected = mel / (2595 * np.log10(1 + 8000 / 700)) * 129 - 1
        assert MEL.frames(tone)[3].argmax() == pytest.approx(expected, abs=2)


def test_silence_is_the_floor() -> None:
    assert MEL.frames(np.zeros(1000, np.float32)) == pytest.approx(np.log(1e-3))


def test_filters_are_triangles_that_hand_over() -> None:
    bank = filter_bank(MelConfig(bins=40), 1024)
    inside = bank.sum(1)[10:450]
    assert bank.min() == 0
    assert inside == pytest.approx(1)


def test_bins_are_normalised_when_the_model_wants_it() -> None:
    shifted = Mel(MelConfig(mean=(1.0,) * 128, deviation=(2.0,) * 128)).frames(PCM)
    assert shifted == pytest.approx((WHOLE - 1) / 2, abs=1e-5)
