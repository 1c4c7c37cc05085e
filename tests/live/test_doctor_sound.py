"""What the doctor says of devices, on a sound server of our own."""

import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext

import pytest
from room import Room, first_sound
from server import INSTALLED

from edge_assistant.config import Config, Talk
from edge_assistant.doctor.finding import Patient, Verdict
from edge_assistant.doctor.model import check_extras
from edge_assistant.doctor.sound import check_loudspeaker, check_microphone

pytestmark = pytest.mark.skipif(not INSTALLED, reason="no PulseAudio")


def by_check(findings):
    return {finding.check: finding for finding in findings}


@pytest.fixture(scope="module")
def room():
    with Room() as room:
        room.furnish()
        yield room


@contextmanager
def sounding(room, path, what):
    """Meanwhile the microphone hears this."""
    sound = "import sys, numpy as n; r = n.random.default_rng(1)\nwhile 1: sys.stdout.buffer.write(({}).astype('<f4').tobytes())"
    made = subprocess.Popen([sys.executable, "-c", sound.format(what)], stdout=subprocess.PIPE)
    pacat = [
        "pacat",
        "--playback",
        "--raw",
        "--device=user",
        "--format=float32le",
        "--rate=48000",
        "--channels=1",
        "--latency-msec=50",
    ]
    player = subprocess.Popen(pacat, stdin=made.stdout)
    made.stdout.close()
    try:
        with room.tape(path) as tape:
            while first_sound(tape.read()[0], 1e-4) is None:
                time.sleep(0.05)
        yield
    finally:
        for process in (made, player):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("what", "verdict", "found"),
    [
        ("", Verdict.FAULT, "pactl set-source-mute mic 0"),
        ("0.001 * r.standard_normal(4800)", Verdict.WELL, ""),
        ("3 * r.standard_normal(4800)", Verdict.WARNING, "it clips"),
    ],
)
def test_level(room, tmp_path, what, verdict, found):
    with sounding(room, tmp_path / "tape", what) if what else nullcontext():
        told = by_check(check_microphone(Patient(Config())))
    assert told["microphone"].verdict is Verdict.WELL
    assert told["microphone"].found.startswith("pulse:mic, the default")
    assert told["microphone level"].verdict is verdict, told
    assert found in told["microphone level"].mend
    assert ("gives nothing but zeros" in told["microphone level"].found) is (what == "")


def test_the_loudspeaker_plays(room):
    told = by_check(check_loudspeaker(Patient(Config())))
    assert told["loudspeaker"].verdict is Verdict.WELL
    assert told["loudspeaker sound"].verdict is Verdict.WELL
    assert "pulse:speaker" in told["loudspeaker sound"].looked_at


def test_in_a_hurry_nothing_is_heard_or_said(room):
    assert by_check(check_microphone(Patient(Config(), quick=True))).keys() == {"microphone"}
    assert by_check(check_loudspeaker(Patient(Config(), quick=True))).keys() == {"loudspeaker"}


def test_a_device_that_is_not_there(room):
    absent = Patient(Config(talk=Talk(microphone="pulse:absent", loudspeaker="pulse:absent")))
    for check, name in ((check_microphone, "pulse:mic"), (check_loudspeaker, "pulse:speaker")):
        (finding,) = check(absent)
        assert finding.verdict is Verdict.FAULT
        assert name in finding.mend


def test_a_voice_that_is_not_there_is_told_once(room):
    assert by_check(check_loudspeaker(Patient(Config(talk=Talk(voice="nightingale"))))).keys() == {"loudspeaker"}


def test_a_canceller_that_the_server_has_not_loaded(room):
    told = by_check(check_extras(Patient(Config(talk=Talk(echo="system")))))
    assert told["echo = system"].verdict is Verdict.FAULT
    assert "pactl load-module module-echo-cancel" in told["echo = system"].mend
