"""The bundle, its sums and its speed; voice and extras."""

import json
import shutil

import numpy as np
import pytest

from edge_assistant.config import Config, Switch, Talk
from edge_assistant.doctor import model
from edge_assistant.doctor.finding import Patient, Verdict
from edge_assistant.doctor.model import _pace, check_extras, check_model, check_speed, check_voice, measure, model_bytes
from edge_assistant.errors import VoiceError
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.models import find_model
from edge_assistant.runtimes.opening import open_model
from edge_assistant.runtimes.settings import Settings, Tuned, keep_tuned
from edge_assistant.voice import VOICES


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return tmp_path / "state"


def patient(quick=False, **talk):
    return Patient(Config(talk=Talk(**talk)), quick=quick)


def by_check(findings):
    return {finding.check: finding for finding in findings}


def test_pocket_is_whole():
    found = by_check(check_model(patient()))
    assert found["model"].verdict is Verdict.WELL
    assert "SHA-256" in found["model"].looked_at
    assert "not measured" in found["tuning"].found
    assert 1e6 < model_bytes(patient()) < 100e6


def test_a_model_that_is_not_there():
    (finding,) = check_model(patient(model="nowhere"))
    assert finding.verdict is Verdict.FAULT
    assert "pocket" in finding.mend
    assert model_bytes(patient(model="nowhere")) == 0
    assert list(check_speed(patient(model="nowhere"))) == []


def test_a_byte_that_is_altered(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_assistant.gemma4.bundle._SMALL_BYTES", 0)  # a large bundle is not summed at every opening
    folder = tmp_path / "bundle"
    shutil.copytree(find_model("pocket"), folder)
    data = bytearray((folder / "upper.bin").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "upper.bin").write_bytes(data)
    (finding,) = check_model(patient(model=str(folder)))
    assert finding.verdict is Verdict.FAULT
    assert "upper.bin" in finding.found
    assert by_check(check_model(patient(quick=True, model=str(folder))))["model"].verdict is Verdict.WELL


def test_a_file_that_is_cut_short_is_seen_even_in_a_hurry(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(find_model("pocket"), folder)
    (folder / "upper.bin").write_bytes(b"")
    (finding,) = check_model(patient(quick=True, model=str(folder)))
    assert finding.verdict is Verdict.FAULT


def test_tuning(state):
    identity = Bundle.open(find_model("pocket")).identity
    path = keep_tuned(identity, Tuned(Settings(chunk=16), 1.0, 1.5))
    finding = by_check(check_model(patient()))["tuning"]
    assert finding.verdict is Verdict.WELL
    assert "1.50 times as fast" in finding.found
    path.write_text(json.dumps({**json.loads(path.read_text()), "processor": "another"}))
    finding = by_check(check_model(patient()))["tuning"]
    assert finding.verdict is Verdict.WARNING
    assert "edge-assistant tune pocket" in finding.mend


def test_speed_is_measured():
    found = by_check(check_speed(patient()))
    assert found.keys() == {"hearing", "writing"}
    assert all(finding.verdict is not Verdict.ABSENT for finding in found.values())
    assert "ms of work for each second of sound" in found["hearing"].found
    assert list(check_speed(patient(quick=True))) == []


def test_measuring_leaves_nothing_in_the_cache():
    session = open_model(find_model("pocket")).session()
    load, tokens_per_s = measure(session)
    assert session.position == 0
    assert 0 < load < 10
    assert 1 < tokens_per_s < 1e5


def test_nothing_is_measured_where_the_model_would_not_fit(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 500000 kB\nMemAvailable: 1000 kB\n")
    (finding,) = check_speed(Patient(Config(), tmp_path))
    assert finding.verdict is Verdict.ABSENT


@pytest.mark.parametrize(
    ("part", "verdict"), [(0.1, Verdict.WELL), (0.7, Verdict.WARNING), (1.0, Verdict.FAULT), (3.0, Verdict.FAULT)]
)
def test_the_margin(part, verdict):
    finding = _pace("hearing", "", part, "x")
    assert finding.verdict is verdict
    assert bool(finding.mend) == (verdict is not Verdict.WELL)


def test_voice():
    (finding,) = check_voice(patient())
    assert finding.verdict is Verdict.WELL
    assert "times as fast as needed" in finding.found
    (finding,) = check_voice(patient(voice="nightingale"))
    assert finding.verdict is Verdict.FAULT
    assert "espeak" in finding.mend


class Hoarse:
    """Opens, and gives what it was made with."""

    def __init__(self, sound):
        self.sound = sound

    def open(self):
        if self.sound is None:
            raise VoiceError("it does not start", "apt install it")

    def say(self, text):
        return self.sound, 16_000

    def close(self): ...


@pytest.mark.parametrize(
    ("sound", "found"), [(None, "does not start"), (np.zeros(0, np.float32), "no sound"), (np.zeros(999, np.float32), "no sound")]
)
def test_a_voice_that_fails(monkeypatch, sound, found):
    monkeypatch.setitem(VOICES, "hoarse", lambda: Hoarse(sound))
    (finding,) = check_voice(patient(voice="hoarse"))
    assert finding.verdict is Verdict.FAULT
    assert found in finding.found
    assert finding.mend


def test_extras_that_are_here():
    found = by_check(check_extras(patient(mode="wake", echo="aec3", end_of_turn=True)))
    assert {finding.verdict for finding in found.values()} == {Verdict.WELL}
    assert "wake" in found["extras"].found
    assert found.keys() == {"extras", "echo = aec3", "wake_word = hey jarvis", "end_of_turn"}


def test_extras_that_are_wanted_and_not_here(monkeypatch):
    import importlib

    def find(name, *_):
        return None

    def absent(name, *rest):
        if name.split(".")[0] in model.EXTRAS.values():
            raise ModuleNotFoundError(name)
        return load(name, *rest)

    load = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", absent)
    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr(model, "find_spec", find)
    wanted = Config(talk=Talk(mode="wake", wake_word="hello world"), switches={"pump": Switch(17)})
    found = by_check(check_extras(Patient(wanted)))
    assert found["wake_word = hello world"].verdict is Verdict.FAULT
    assert found["pins"].verdict is Verdict.FAULT
    assert "edge-assistant[gpio]" in found["pins"].mend
    assert found["extras"].found == "installed: none"
