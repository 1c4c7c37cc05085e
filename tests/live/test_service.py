"""`edge-assistant serve` at a real sound server, with the shipped model, under a receiver of what it tells."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from manager import Manager
from room import RATE, Room, first_sound, last_sound

ASSETS = Path(__file__).parents[2] / "assets"
TIMER = ASSETS / "demo" / "timer.wav"
VOICE = 0.004


@pytest.fixture(scope="module")
def room():
    with Room() as room:
        room.furnish()
        yield room


def quiet(tape, for_s=0.6, within_s=20.0):
    """Wait until the loudspeaker has been silent for so long."""
    deadline = time.monotonic() + within_s
    while first_sound(tape.read(max(0.0, tape.seconds - for_s))[1], VOICE) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(room, tape, within_s=10.0):
    """Ask for a timer; when the answer began, in seconds after the question."""
    pcm, rate_hz = sf.read(TIMER, dtype="float32")
    room.say(pcm, rate_hz).wait()
    asked_s = tape.seconds
    deadline = time.monotonic() + within_s
    while (heard := first_sound(tape.read(asked_s)[1], VOICE)) is None:
        assert time.monotonic() < deadline, "no answer"
        time.sleep(0.05)
    return heard / RATE


def test_it_is_ready_answers_and_lets_the_sentence_end(room, tmp_path):
    with room.tape(tmp_path / "air.raw") as tape, Manager(abstract=True) as manager:
        manager.wait_for("READY=1")
        manager.wait_for("STATUS=listening (pulse:mic, pulse:speaker)")
        time.sleep(1.5)
        quiet(tape)  # it has said that it is ready
        assert first_sound(tape.read()[1], VOICE) is not None
        answers(room, tape)
        manager.process.terminate()  # in the first word of a sentence of two seconds
        ended = time.monotonic()
        assert manager.process.wait(60) == 0
        busy = max(1.0, os.getloadavg()[0] / os.cpu_count())  # on a machine with more to do than it has cores, all takes longer
        assert time.monotonic() - ended < 2.0 * busy
        assert manager.count("STOPPING=1") == 1
        silent_s = tape.seconds
        time.sleep(0.5)
        assert first_sound(tape.read(silent_s + 0.2)[1], VOICE) is None
        said = tape.read(silent_s - 4)[1]
        assert last_sound(said, VOICE) - first_sound(said, VOICE) > 0.8 * RATE  # it went on for a while
    assert manager.count("WATCHDOG=1") >= 4
    busy_machine = ("ran dry", "lost ")
    assert [line for line in manager.errors if not any(words in line for words in busy_machine)] == []  # nor what was said


def test_signs_of_life_stop_with_the_frames_and_not_with_the_plug(room):
    with Manager("--no-announce") as manager:
        manager.wait_for("READY=1")
        room.pactl("suspend-source", "mic", "1")  # it is there, it opens, and it gives nothing
        try:
            time.sleep(3.0)  # noticed after a second; later on a busy machine
            stalled = time.monotonic()
            time.sleep(3.0)
            assert manager.count("WATCHDOG=1", stalled) == 0
        finally:
            room.pactl("suspend-source", "mic", "0")
        time.sleep(3.0)
        assert manager.count("WATCHDOG=1", time.monotonic() - 1.5) >= 2
        room.unplug("mic")
        manager.wait_for("STATUS=microphone lost")
        unplugged = time.monotonic()
        time.sleep(2.5)
        assert manager.count("WATCHDOG=1", unplugged) >= 3
        room.plug("mic")
        room.pactl("set-default-source", "mic")
        manager.wait_for("STATUS=listening", 2)


def test_a_stuck_decider_gives_no_sign_of_life(room):
    with Manager("--no-announce") as manager:
        manager.wait_for("READY=1")
        manager.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        stopped = time.monotonic()
        time.sleep(1.5)
        assert manager.count("WATCHDOG=1", stopped) == 0
        manager.process.send_signal(signal.SIGCONT)
        time.sleep(2)
        assert manager.count("WATCHDOG=1", stopped) >= 1


def test_a_model_that_is_damaged_is_said_once_and_logged(room, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(ASSETS / "pocket" / "bundle", bundle)
    weights = bundle / "lower.bin"
    with weights.open("r+b") as file:
        file.seek(weights.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with room.tape(tmp_path / "air.raw") as tape, Manager("--model", str(bundle)) as manager:
        assert manager.process.wait(40) == 2
        said = tape.read()[1]
        assert last_sound(said, VOICE) - first_sound(said, VOICE) > RATE
        manager.wait_for_error("lower.bin was altered")
        assert manager.errors[0].startswith("<3>")
        assert manager.count(f"STATUS=cannot start: {weights}") == 1
        assert manager.count("READY=1") == 0
        again_s = tape.seconds
        manager.start()
        assert manager.process.wait(40) == 2
        assert first_sound(tape.read(again_s)[1], VOICE) is None  # once


def test_a_microphone_that_is_not_there_is_waited_for(room):
    with Manager("--microphone", "pulse:late") as manager:
        manager.wait_for("READY=1")
        manager.wait_for("STATUS=microphone lost")
        room.plug_microphone("late")
        manager.wait_for("STATUS=listening")
        room.unplug("late")


def is_said(tape, begin_s, within_s=20.0):
    """Wait until a sentence has been said since then."""
    deadline = time.monotonic() + within_s
    while (first := first_sound(tape.read(begin_s)[1], VOICE)) is None:
        assert time.monotonic() < deadline, "nothing is said"
        time.sleep(0.05)
    time.sleep(1)
    quiet(tape)
    assert last_sound(tape.read(begin_s)[1], VOICE) - first > RATE


def test_a_muted_microphone_is_said_once_and_so_is_its_sound(room, tmp_path):
    room.pactl("set-source-mute", "mic", "1")
    try:
        with room.tape(tmp_path / "air.raw") as tape, Manager("--no-announce") as manager:
            manager.wait_for("STATUS=microphone silent")
            is_said(tape, 0.0)
            since, silent_s = time.monotonic(), tape.seconds
            time.sleep(6)  # as long again as it was patient
            assert first_sound(tape.read(silent_s)[1], VOICE) is None
            assert manager.count("WATCHDOG=1", since) >= 4  # a restart would mend nothing
            begin_s = tape.seconds
            room.pactl("set-source-mute", "mic", "0")
            hiss = 0.0005 * np.random.default_rng(0).standard_normal(4 * RATE)
            speaking = room.say(hiss.astype(np.float32), RATE)
            manager.wait_for("STATUS=listening (pulse:mic, pulse:speaker)", 2)
            is_said(tape, begin_s)
            speaking.wait()
    finally:
        room.pactl("set-source-mute", "mic", "0")
    told = [line for line in manager.errors if "the microphone pulse:mic gives" in line]
    mend = "switch it on, or unmute it and turn it up (pactl set-source-mute mic 0)"
    assert told == [
        f"<4>the microphone pulse:mic gives nothing but zeros; {mend}",
        "<4>the microphone pulse:mic gives sound again",
    ]


def test_a_configuration_is_read_again_and_a_bad_one_is_refused(room, tmp_path):
    file = tmp_path / "config" / "edge-assistant" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[talk]\nmicrophone = "pulse:mic"\n[service]\nannounce = false\n')
    room.plug_microphone("other")
    with room.tape(tmp_path / "air.raw") as tape, Manager(XDG_CONFIG_HOME=str(tmp_path / "config")) as manager:
        manager.wait_for("READY=1")
        pid = manager.process.pid
        file.write_text('[talk]\nmicrofone = "pulse:mic"\n')
        manager.process.send_signal(signal.SIGHUP)
        line = manager.wait_for_error("refused")
        assert line.startswith("<3>")
        assert "did you mean microphone" in line
        assert len(manager.errors) == 1
        file.write_text('[talk]\nmode = "wake"\nwake_word = "no such word"\n')  # only the detector knows that it is bad
        manager.process.send_signal(signal.SIGHUP)
        manager.until(lambda: [0.0] if len(manager.errors) == 2 else [], 20, "a second refusal")
        file.write_text('[talk]\nmode = "button"\n[service]\nannounce = false\n')  # nobody has looked for a button yet
        manager.process.send_signal(signal.SIGHUP)
        assert "no button" in manager.wait_for_error("does not work")
        manager.wait_for("READY=1", 2)
        answers(room, tape)  # as before
        quiet(tape)
        file.write_text('[talk]\nmicrophone = "pulse:other"\nmodel = "e2b"\n[service]\nannounce = false\n')
        manager.process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1", 2)
        assert manager.count("MONOTONIC_USEC=") == 2
        manager.wait_for("READY=1", 3)
        manager.wait_for("STATUS=listening (pulse:other")
        assert "talk.model = e2b is taken up at the next start only" in "".join(manager.errors)
        assert manager.process.pid == pid
        assert manager.process.poll() is None
        time.sleep(2)
        manager.process.terminate()
        assert manager.process.wait(60) == 0
    room.unplug("other")
