import sys
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_assistant import end_of_turn
from edge_assistant.end_of_turn import HEARD_S, EndOfTurn, end_wait_ms
from edge_assistant.errors import EdgeAssistantError
from edge_assistant.recording import Recording

DEMO = Path(__file__).parents[2] / "assets" / "demo"
PAUSE = np.zeros(3200, np.float32)


@pytest.fixture(scope="module")
def model():
    return EndOfTurn()


@pytest.fixture(scope="module")
def question():
    return np.concatenate(list(Recording(DEMO / "timer.wav").frames()))


def test_the_features_are_those_of_the_published_code(model, question):
    """The one file of pipecat that computes them, which imports numpy alone."""
    folder = Path(find_spec("pipecat").submodule_search_locations[0])
    loader = SourceFileLoader("whisper_features", str(folder / "audio" / "turn" / "smart_turn" / "_whisper_features.py"))
    published = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(published)
    noise = np.random.default_rng(3).normal(0, 0.1, 10 * 16_000).astype(np.float32)
    for sound in (question, np.tile(question, 6), noise, np.zeros(100, np.float32), np.zeros(0, np.float32)):
        heard = sound[-HEARD_S * 16_000 :]
        heard = np.pad(heard, (HEARD_S * 16_000 - len(heard), 0))
        ours = model.features(sound)
        assert ours.shape == (80, 800)
        assert np.abs(ours - published.compute_whisper_log_mel_features(heard)).max() < 1e-5
    assert "pipecat" not in sys.modules


def test_a_finished_sentence_and_an_unfinished_one(model, question):
    finished = model.probability(np.concatenate([question, PAUSE]))
    voiced = np.flatnonzero(np.abs(question) > 0.02)
    begin, end = voiced[0], voiced[-1]
    cuts = [
        model.probability(np.concatenate([question[: begin + round(share * (end - begin))], PAUSE])) for share in (0.4, 0.5, 0.6)
    ]
    assert 0 <= min(cuts) <= 1
    assert finished > 0.5 > min(cuts)


def test_only_the_last_seconds_count(model, question):
    before = np.random.default_rng(1).normal(0, 0.1, 3 * 16_000).astype(np.float32)
    turn = np.concatenate([np.zeros(HEARD_S * 16_000, np.float32), question])[-HEARD_S * 16_000 :]
    assert model.probability(np.concatenate([before, turn])) == model.probability(turn)


@given(a=st.floats(0, 1), b=st.floats(0, 1), usual=st.integers(0, 3000))
def test_the_wait_stays_in_its_bounds_and_falls(a, b, usual):
    low, high = sorted((a, b))
    short, long = (end_wait_ms(p, usual, min_ms=300, max_ms=1200) for p in (high, low))
    assert 300 <= short <= long <= 1200


def test_even_odds_change_nothing():
    assert end_wait_ms(0.5, 608, min_ms=320, max_ms=1200) == 608
    assert end_wait_ms(1.0, 608, min_ms=320, max_ms=1200) == 320
    assert end_wait_ms(0.0, 608, min_ms=320, max_ms=1200) == 1200
    assert end_wait_ms(0.75, 608, min_ms=320, max_ms=1200) == 464


def test_without_the_package_the_mend_is_named(monkeypatch):
    monkeypatch.setattr(end_of_turn, "find_spec", lambda name: None)
    with pytest.raises(EdgeAssistantError, match="pip install --no-deps pipecat-ai"):
        EndOfTurn()
