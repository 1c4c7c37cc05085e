"""`edge-assistant echo-test`, on recordings: every kind of room gets its own verdict."""

import json
from dataclasses import fields

import numpy as np
import pytest
import soundfile as sf
from simroom import RATE_HZ, Room

from edge_assistant.cli import main
from edge_assistant.echo import system, take
from edge_assistant.echo.canceller import CANCELLERS
from edge_assistant.echo.measure import Advice, Path, Problem, Result, Take, advise, measure_path
from edge_assistant.errors import EchoError
from edge_assistant.pulse import CAPTURE, Port
from edge_assistant.voice import EspeakVoice


@pytest.fixture(scope="module")
def script():
    """What echo-test plays, a second of silence after it."""
    voice = EspeakVoice()
    voice.open()
    try:
        return np.concatenate([take.make_script(voice, RATE_HZ), np.zeros(RATE_HZ, np.float32)])
    finally:
        voice.close()


@pytest.fixture
def judge(script, tmp_path, capsys):
    def judge(near, far=script, *options):
        paths = [str(tmp_path / name) for name in ("played.wav", "heard.wav")]
        for path, pcm in zip(paths, (far, near), strict=True):
            sf.write(path, pcm, RATE_HZ)
        assert main(["echo-test", "--wav", *paths, *options]) == 0
        return capsys.readouterr().out

    return judge


@pytest.fixture
def without_aec3(monkeypatch):
    """Faster, where it is not what matters."""

    def missing():
        raise EchoError("aec3 is not installed", "pip install it")

    monkeypatch.setitem(CANCELLERS, "aec3", missing)


def test_a_usable_room(judge, script):
    found = json.loads(judge(Room(delay_ms=93, drift_ppm=37).hear(script), script, "--json"))
    path, results = found["path"], {result["strategy"]: result for result in found["results"]}
    assert path["problem"] is None
    assert path["delay_ms"] == pytest.approx(93, abs=0.2)
    assert path["drift_ppm"] == pytest.approx(-37, abs=2)
    assert path["coupling_db"] == pytest.approx(-7, abs=1.5)  # -6, and what the loudspeaker clips
    assert path["noise_db"] == pytest.approx(-60, abs=1)
    assert results.keys() == {"speexdsp", "aec3"}
    assert results["speexdsp"]["reduction_db"] > 17
    assert results["aec3"]["reduction_db"] > 26
    assert all(result["self_triggers"] == 0 for result in results.values())
    assert found["advice"]["barge_in"] == "speech"
    assert "dB off the echo" in found["advice"]["reason"]


def test_the_table_can_be_read(judge, script, without_aec3):
    shown = judge(Room().hear(script))
    assert "delay        90.0 ms" in shown
    assert "(one clock for both)" in shown
    assert "system      not tried" in shown
    assert "use        echo strategy" in shown


def test_headphones(judge, script, without_aec3):
    shown = judge(Room(echo_db=-200).hear(script))
    assert "headphones, or a loudspeaker that is off or turned down" in shown
    assert "barge-in by speech" in shown


def test_a_silent_microphone(judge, script):
    shown = judge(np.zeros_like(script))
    assert "the microphone gives nothing but zeros" in shown
    assert "half-duplex, barge-in by wake-word" in shown


def test_a_silent_loudspeaker(judge, script):
    shown = judge(Room().hear(script), np.zeros_like(script))
    assert "nothing was played" in shown


def test_a_microphone_that_clips(judge, script, without_aec3):
    shown = judge(Room(echo_db=14).hear(script))
    assert "clipping" in shown
    assert "turn the microphone's gain down" in shown


def test_a_hopeless_room_ends_in_half_duplex_with_its_reason(judge, script, without_aec3):
    """A loudspeaker that only rattles: what it plays is no echo of what it was given."""
    rattle = np.sign(script) * np.abs(script) ** 0.2 * (np.abs(script) > 0.003)
    shown = judge(Room(echo_db=-3, clip=9).hear(rattle.astype(np.float32)))
    assert "half-duplex, barge-in by wake-word" in shown
    assert "interruptions were found" in shown


def test_what_is_too_short_or_both_ways_is_refused(tmp_path, capsys):
    sf.write(tmp_path / "short.wav", np.zeros(RATE_HZ), RATE_HZ)
    short = str(tmp_path / "short.wav")
    assert main(["echo-test", "--wav", short, short]) == 2
    assert "too short" in capsys.readouterr().err
    assert main(["echo-test", "--wav", short, short, "--keep", "a", "b"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert main(["echo-test", "--wav", short, str(tmp_path / "none.wav")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_canceller_that_is_missing_is_told_and_the_other_is_tried(judge, script, without_aec3):
    found = json.loads(judge(Room().hear(script), script, "--json"))
    assert found["not_tried"]["aec3"] == "aec3 is not installed; pip install it"
    assert [result["strategy"] for result in found["results"]] == ["speexdsp"]


def result(strategy="speexdsp", **changes):
    return Result(**{
        "strategy": strategy, "reduction_db": 20.0, "leaked": 0.0, "self_triggers": 0, "found": 5, "asked": 5, "user_db": -40.0
    } | changes)  # fmt: skip


@pytest.mark.parametrize(("results", "strategy", "barge_in"), [
    ([result()], "speexdsp", "speech"),
    ([result(), result("aec3", reduction_db=30.0)], "aec3", "speech"),
    ([result(), result("aec3", reduction_db=30.0, found=4)], "speexdsp", "speech"),
    ([result(self_triggers=1), result("aec3", found=4)], "aec3", "speech"),
    ([result(self_triggers=1), result("aec3", found=2)], "half-duplex", "wake-word"),
    ([], "half-duplex", "wake-word"),
])  # fmt: skip
def test_whoever_answers_himself_or_hides_the_user_is_not_recommended(results, strategy, barge_in):
    advice = advise(Path(), results)
    assert (advice.strategy, advice.barge_in) == (strategy, barge_in)


def test_without_any_canceller_the_mend_is_named():
    assert advise(Path(), []) == Advice("half-duplex", "wake-word", "no canceller is installed: apt install libspeexdsp1")


def test_an_echo_of_half_a_second_is_no_silence(script):
    """A loudspeaker by radio."""
    path = measure_path(Take(script, Room(delay_ms=520).hear(script)))
    assert path.problem is not Problem.NO_ECHO
    assert path.delay_ms == pytest.approx(520, abs=0.5)


def port(name):
    return Port(name=name, **{field.name: 1 for field in fields(Port) if field.name != "name"})


def test_the_servers_canceller_is_found_or_its_loading_explained(monkeypatch):
    ports = {}
    monkeypatch.setattr(system.pulse, "find_ports", lambda way: ports.get(way is CAPTURE, []))
    with pytest.raises(EchoError, match="no sound server runs"):
        system.find_cancelled()
    ports |= {True: [port("mic")], False: [port("speaker")]}
    with pytest.raises(EchoError, match="pactl load-module module-echo-cancel"):
        system.find_cancelled()
    ports[True] += [port("speaker.echo-cancel.monitor"), port("mic.echo-cancel")]
    ports[False] += [port("speaker.echo-cancel")]
    assert system.find_cancelled() == system.Cancelled("pulse:mic.echo-cancel", "pulse:speaker.echo-cancel")
