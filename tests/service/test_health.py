"""How the board is: what is read, when a condition begins and ends, and what follows."""

import queue
import threading
import time

import numpy as np
import pytest

from edge_assistant.brain import BRIEF_TOKENS, Brain
from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.frames import SpeechEnded, SpeechPaused, Token
from edge_assistant.health import CALM_LOOKS, LOW_VOLTAGE, SHORT_OF_MEMORY, TOO_HOT, Board, Health, HealthWatch, Reading
from edge_assistant.models import find_model
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.runtimes.scripted import ScriptedSession


def test_hot_is_told_once_and_ends_after_a_calm_minute():
    health = Health()
    assert health.step(Reading(temperature_c=81.9)) == frozenset()
    assert health.step(Reading(temperature_c=82.0)) == {TOO_HOT}
    for temperature in (90.0, 78.0, 76.0, 82.0):  # between the limits nothing ends
        assert health.step(Reading(temperature_c=temperature)) == frozenset()
    for _ in range(CALM_LOOKS - 1):
        health.step(Reading(temperature_c=74.0))
    health.step(Reading(temperature_c=76.0))  # the minute begins anew
    for _ in range(CALM_LOOKS - 1):
        health.step(Reading(temperature_c=74.0))
    assert health.conditions == {TOO_HOT}
    health.step(Reading(temperature_c=74.0))
    assert health.conditions == frozenset()
    assert health.step(Reading(temperature_c=85.0)) == {TOO_HOT}


@pytest.mark.parametrize(
    ("reading", "condition"),
    [
        (Reading(throttled=True), TOO_HOT),
        (Reading(low_voltage=True), LOW_VOLTAGE),
        (Reading(pressure=20.0), SHORT_OF_MEMORY),
        (Reading(memory_used=0.95), SHORT_OF_MEMORY),
    ],
)
def test_each_condition(reading, condition):
    health = Health()
    assert health.step(reading) == {condition}
    for _ in range(CALM_LOOKS):
        assert health.step(Reading()) == frozenset()  # what can no longer be read is no reason
    assert health.conditions == frozenset()


def test_a_voltage_that_flaps_is_told_once():
    health = Health()
    begun = [health.step(Reading(low_voltage=look % 3 == 0)) for look in range(60)]
    assert [each for each in begun if each] == [{LOW_VOLTAGE}]


def test_two_reasons_for_one_condition_are_told_once():
    health = Health()
    assert health.step(Reading(temperature_c=83.0)) == {TOO_HOT}
    assert health.step(Reading(temperature_c=83.0, throttled=True)) == frozenset()
    for _ in range(CALM_LOOKS):
        health.step(Reading(temperature_c=60.0, throttled=True))
    assert health.conditions == {TOO_HOT}


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


PI = {
    "sys/class/thermal/thermal_zone0/temp": "64200\n",
    "sys/class/thermal/thermal_zone1/temp": "71500\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
    "proc/pressure/memory": "some avg10=3.25 avg60=1.00 avg300=0.00 total=1\nfull avg10=9.00 avg60=0 avg300=0 total=0\n",
    "proc/self/cgroup": "0::/system.slice/edge-assistant.service\n",
    "sys/fs/cgroup/system.slice/edge-assistant.service/memory.pressure": "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\n",
    "proc/meminfo": "MemTotal:        4000000 kB\nMemFree:          100000 kB\nMemAvailable:    1000000 kB\n",
}


def test_a_raspberry_pi_is_read(tmp_path):
    write(tmp_path, PI)
    board = Board(tmp_path)
    # 0x50000: it happened since the boot, and is over.
    assert board.read() == Reading(71.5, throttled=False, low_voltage=False, pressure=12.5, memory_used=0.75)
    write(tmp_path, {"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"})
    assert board.read().low_voltage
    write(
        tmp_path, {"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n", "sys/devices/platform/soc/soc:firmware/get_throttled": "8\n"}
    )
    assert board.read().throttled


@pytest.mark.parametrize(
    ("bits", "throttled", "low"),
    [("0x0", False, False), ("0x50005", False, True), ("0x4", True, False), ("0xe0008", True, False)],
)
def test_the_firmwares_tool_is_asked_where_no_file_tells(tmp_path, bits, throttled, low):
    tool = tmp_path / "vcgencmd"
    tool.write_text(f"#!/bin/sh\n[ $1 = get_throttled ] && echo throttled={bits}\n")
    tool.chmod(0o755)
    reading = Board(tmp_path, str(tool)).read()
    assert (reading.throttled, reading.low_voltage) == (throttled, low)


def test_a_tool_that_may_not_ask_is_asked_once(tmp_path):
    tool = tmp_path / "vcgencmd"
    tool.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\nexit 255\n")
    tool.chmod(0o755)
    board = Board(tmp_path, str(tool))
    assert [board.read().low_voltage for _ in range(3)] == [None] * 3
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_a_tool_that_was_slow_once_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_assistant.health._VCGENCMD_S", 0.2)
    tool = tmp_path / "vcgencmd"
    tool.write_text(f"#!/bin/sh\n[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exec sleep 5; }}\necho throttled=0x1\n")
    tool.chmod(0o755)
    board = Board(tmp_path, str(tool))
    assert board.read().low_voltage is None
    monkeypatch.setattr("edge_assistant.health._VCGENCMD_S", 5)
    assert board.read().low_voltage


def test_a_board_that_tells_nothing_has_no_trouble(tmp_path):
    assert Board(tmp_path).read() == Reading()
    assert Health().step(Board(tmp_path).read()) == frozenset()


def test_this_machine_is_read_cheaply():
    board = Board()
    board.read()
    begin = time.thread_time()
    for _ in range(20):
        reading = board.read()
    assert (time.thread_time() - begin) / 20 < 0.01  # 0.1 % of the ten seconds between two looks
    assert reading.memory_used is not None
    assert 0 < reading.memory_used < 1


def test_the_watch_tells_changes_from_its_own_thread():
    readings = iter([Reading(), Reading(temperature_c=90.0), Reading(temperature_c=91.0)])
    told: queue.SimpleQueue = queue.SimpleQueue()
    done = threading.Event()

    def read():
        reading = next(readings, None)
        if reading is None:
            done.set()
            return Reading(temperature_c=80.0)
        return reading

    with HealthWatch(lambda *change: told.put(change), read, every_s=0.01):
        assert done.wait(5)
    assert told.get_nowait() == ({TOO_HOT}, {TOO_HOT})
    assert told.empty()


# What follows from it.

LONG = "One two three four five six seven. Eight nine ten. " * 20 + "<turn|>"


def words(brief):
    session = ScriptedSession([LONG])
    brain = Brain(session)
    brain.open()
    brain.brief = brief
    brain.begin()
    brain.hear(np.zeros(6400, np.float32))
    return "".join(event.text for event in brain.reply(1) if isinstance(event, Token)), session


def test_a_brief_reply_ends_with_its_sentence_and_leaves_the_cache_whole():
    text, session = words(brief=True)
    assert BRIEF_TOKENS <= len(text.split()) < BRIEF_TOKENS + 10
    assert text.endswith(".")
    assert session.text.endswith(f"{text}<turn|>")
    assert len(words(brief=False)[0].split()) == 200


def test_late_guesses_begin_when_the_turn_may_be_over():
    config = EndpointConfig()

    def paused_after(late):
        endpointer = Endpointer(config)
        endpointer.guess_late(late)
        events = [endpointer.step(number, 1.0 if number < 20 else 0.0) for number in range(60)]
        kinds = [type(event) for event in events]
        assert kinds.count(SpeechEnded) == 1
        return kinds.index(SpeechPaused) - 20

    assert paused_after(False) < 7
    assert 13 <= paused_after(True) < 15


def test_memory_is_given_back_and_the_conversation_goes_on():
    model = OnnxModel.open(find_model("pocket"))

    def talk(shed):
        session = model.session(capacity=1024)
        brain = Brain(session)
        brain.open()
        texts = []
        for turn in range(3):
            brain.begin()
            brain.hear(np.random.default_rng(turn).standard_normal(16_000).astype(np.float32) * 0.05)
            for _ in brain.reply(turn):
                pass
            texts.append(session.position)
            if shed and turn == 1:
                for _ in brain.shed():
                    pass
                assert session.position < texts[-1]
        return session

    session = talk(shed=True)
    assert session.position > 0
    shed, fresh = model.session(capacity=64), model.session(capacity=64)
    for each in (shed, fresh):
        each.feed_text("<bos>hello")
        if each is shed:
            each.shed()
        each.feed_text(" there")
    assert np.array_equal(shed.logits(), fresh.logits())
