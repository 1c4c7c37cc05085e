"""How late an echo comes."""

import numpy as np
import pytest
import soxr
from simroom import RATE_HZ, Room

from edge_assistant.echo.delay import find_lag
from edge_assistant.echo.take import sweep


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@pytest.mark.parametrize("early", [1, 300, 4000])
def test_what_comes_earlier_than_its_source_is_found_too(early):
    sound = noise(14_000)
    lag = find_lag(sound[early : early + 9000], sound[:9000], -4096, 0)
    assert lag.samples == pytest.approx(-early, abs=0.1)


@pytest.mark.parametrize("late", [0, 3, 250, 1900])
def test_an_echo_is_late_by_what_it_was_delayed(late):
    far = noise(10_000)
    near = np.concatenate([np.zeros(late, np.float32), far])[:10_000]
    lag = find_lag(near, far, 0, 2000)
    assert lag.samples == pytest.approx(late, abs=0.1)
    assert lag.peak > 30


def test_between_two_samples_a_parabola_decides():
    fine = soxr.resample(noise(8000).astype(np.float64), 1, 10)  # ten steps to the sample
    far, near = fine[40::10][:7000], fine[36::10][:7000]
    assert find_lag(near, far, -5, 5).samples == pytest.approx(0.4, abs=0.1)


def test_nothing_in_common_has_no_peak():
    assert find_lag(noise(8192, 1), noise(12_288, 2), -4096, 0).peak < 7


def test_silence_is_no_echo():
    assert find_lag(np.zeros(4096, np.float32), noise(8192), -4096, 0).peak < 7
    assert find_lag(noise(4096), np.zeros(8192, np.float32), -4096, 0).peak < 7


def test_a_sweep_tells_the_delay_in_a_room():
    far = np.concatenate([np.zeros(RATE_HZ), sweep(RATE_HZ), np.zeros(RATE_HZ)]).astype(np.float32)
    near = Room(delay_ms=93.25, t60_s=0.6, noise_db=-40).hear(far)
    assert find_lag(near, far, 0, RATE_HZ // 2).samples == pytest.approx(93.25 * 16, abs=0.5)
