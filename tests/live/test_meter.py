import numpy as np
import pytest

from edge_assistant.frames import FRAME_SAMPLES
from edge_assistant.meter import SILENT_DB, Meter, advice

RNG = np.random.default_rng(0)


def noise(level_db):
    return (RNG.standard_normal(FRAME_SAMPLES) * 10 ** (level_db / 20)).astype(np.float32)


def test_levels():
    reading = Meter().read(0, (0.5 * np.sin(np.arange(FRAME_SAMPLES) * np.pi / 8)).astype(np.float32), 0.7)
    assert reading.level_db == pytest.approx(-9.03, abs=0.05)
    assert reading.peak_db == pytest.approx(-6.02, abs=0.05)
    assert reading.speech == 0.7


def test_the_floor_is_what_is_there_between_the_words():
    meter = Meter()
    for number in range(90):
        reading = meter.read(number, noise(-20 if number % 3 else -60), 0)
    assert reading.floor_db == pytest.approx(-60, abs=1)
    assert reading.at_ms == 89 * 32


def test_clipping_and_lost_frames_are_counted():
    meter = Meter()
    loud = np.clip(3 * noise(-3), -1, 1)
    meter.read(0, loud, 0)
    reading = meter.read(5, loud, 0)
    assert reading.clipped == 2 * np.count_nonzero(np.abs(loud) == 1)
    assert reading.lost == 4


@pytest.mark.parametrize(
    ("sound", "word"),
    [
        (np.clip(9 * noise(0), -1, 1), "clips"),
        (noise(-30), "loud"),
        (noise(-60), "quiet"),
    ],
)
def test_advice(sound, word):
    meter = Meter()
    reading = meter.read(0, sound, 0)
    assert word in advice(reading, max(SILENT_DB, reading.level_db))


def test_no_advice_where_all_is_well():
    meter = Meter()
    meter.read(0, noise(-65), 0)
    assert advice(meter.read(1, noise(-65), 0), -20) == ""
