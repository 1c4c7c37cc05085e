"""The shipped model on the whole way: what it hears in recordings of any kind, and what it does."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from edge_assistant.ask import PACES, Parts
from edge_assistant.models import find_model
from edge_assistant.recording import Recording
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.sinks import NullSink
from edge_assistant.vad import SileroVad
from edge_assistant.voice import EspeakVoice

DEMO = Path(__file__).parents[2] / "assets" / "demo"


@pytest.fixture(scope="module")
def pocket():
    return OnnxModel.open(find_model("pocket"))


def ask(pocket, *files, pace="fast"):
    moments = []
    clock = lambda: datetime(2026, 11, 24, 14, 5)  # noqa: E731
    parts = Parts(pocket.session(), SileroVad(), EspeakVoice(), NullSink(), moments.append, clock)
    PACES[pace]([Recording(f) for f in files], parts)
    return moments


def calls(moments):
    return [(m.more["name"], m.more["arguments"]) for m in moments if m.event == "tool_call"]


def said(moments):
    return [m.more["text"] for m in moments if m.event == "say"]


@pytest.mark.parametrize("pace", PACES)
def test_the_time_is_told(pocket, pace):
    moments = ask(pocket, DEMO / "time.wav", pace=pace)
    assert calls(moments) == [("get_time", {})]
    assert said(moments) == ["It is 14:05."]


@pytest.mark.parametrize("pace", PACES)
def test_a_timer_is_set(pocket, pace):
    moments = ask(pocket, DEMO / "timer.wav", pace=pace)
    assert calls(moments) == [("set_timer", {"minutes": 59})]
    assert said(moments) == ["Timer set for 59 minutes."]


KINDS = [
    ("a.flac", "PCM_24", 48_000, 2),
    ("a.wav", "PCM_U8", 22_050, 1),
    ("a.wav", "FLOAT", 192_000, 1),
    ("a.wav", "PCM_16", 44_100, 12),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_of_any_kind_is_understood(pocket, tmp_path, kind):
    name, subtype, rate_hz, channels = kind
    sound, own_hz = sf.read(DEMO / "time.wav")
    sound = soxr.resample(sound, own_hz, rate_hz)
    sf.write(tmp_path / name, np.tile(sound[:, None], channels), rate_hz, subtype)
    assert calls(ask(pocket, tmp_path / name)) == [("get_time", {})]


def test_noise_does_nothing(pocket, tmp_path):
    noise = np.random.default_rng(1).normal(0, 0.05, 20 * 16_000)
    sf.write(tmp_path / "noise.wav", noise, 16_000)
    assert calls(ask(pocket, tmp_path / "noise.wav")) == []


def test_the_bundle_is_small():
    assert sum(path.stat().st_size for path in find_model("pocket").iterdir()) <= 10e6
