import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_assistant.frames import FRAME_SAMPLES
from edge_assistant.microphone import Cutter
from edge_assistant.resample import Resampler
from edge_assistant.streams import LISTENING

RATES_HZ = [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000]


def tone(hz, rate_hz, seconds=0.5):
    return np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz).astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_tone_stays_where_it_was(rate_hz):
    out = Resampler(rate_hz)(tone(1000, rate_hz))
    expected = tone(1000, 16_000)[: len(out)]
    assert len(out) >= 0.49 * 16_000
    assert np.abs(out - expected)[300:-300].max() < 2e-3


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
def test_what_16_khz_cannot_hold_is_taken_away(rate_hz):
    assert np.abs(Resampler(rate_hz)(tone(8_300, rate_hz))[300:-300]).max() < 1e-3
    assert np.abs(Resampler(rate_hz)(tone(6_900, rate_hz))[300:-300]).max() > 0.98


@given(rate_hz=st.sampled_from(RATES_HZ), sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_streaming_equals_batch_for_every_split(rate_hz, sizes):
    sound = np.random.default_rng(0).standard_normal(sum(sizes)).astype(np.float32)
    whole = Resampler(rate_hz)(sound)
    streaming = Resampler(rate_hz)
    parts = [streaming(part) for part in np.split(sound, np.cumsum(sizes)[:-1])]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [16_000, *RATES_HZ])
def test_every_block_completes_a_frame(rate_hz):
    cutter = Cutter(rate_hz)
    block = np.zeros((LISTENING.samples(rate_hz), 2), np.float32)
    counts = [len(cutter.cut(block)) for _ in range(200)]
    assert min(counts) == 1
    assert sum(counts) in (200, 201)


def test_channels_are_averaged():
    block = np.stack([np.full(FRAME_SAMPLES, 0.5), np.full(FRAME_SAMPLES, -0.1)], axis=1).astype(np.float32)
    (frame,) = Cutter(16_000).cut(block)
    np.testing.assert_allclose(frame, 0.2, atol=1e-6)
