"""The microphone, with a device that does what a test says."""

import itertools
import time

import numpy as np
import pytest
from fakes import Machine, wait_for

from edge_assistant import line, zeros
from edge_assistant import microphone as module
from edge_assistant.errors import DeviceError
from edge_assistant.frames import FRAME_SAMPLES
from edge_assistant.microphone import FRAME_S, Microphone
from edge_assistant.zeros import Change

NAME = "alsa:USB"


@pytest.fixture
def machine(monkeypatch):
    machine = Machine(monkeypatch)
    machine.plug("microphone", NAME)
    return machine


class Ear:
    """What a microphone posts."""

    def __init__(self, machine, name=NAME, **more):
        self.frames, self.news = [], []
        self.microphone = Microphone(
            name,
            self.frames.append,
            changed=lambda kind, present, name: self.news.append((present, name)),
            open_stream=machine.open,
            **more,
        )

    def numbers(self):
        return [frame.number for frame in self.frames if frame is not None]

    def heard(self):
        """The first samples of the frames that are not silent."""
        return [frame.pcm[0] for frame in self.frames if frame is not None and frame.pcm.any()]


def ramp(first, frames):
    """Sound in which every frame tells which it is."""
    return np.repeat(np.arange(first, first + frames) / 1000, FRAME_SAMPLES)


def near(values):
    return [round(float(value) * 1000) for value in values]


def test_sound_becomes_numbered_frames_and_then_none(machine):
    ear = Ear(machine)
    with ear.microphone:
        for block in np.split(ramp(1, 10), 40):
            machine.stream.give(block)
        assert wait_for(lambda: len(ear.heard()) == 10)
        assert wait_for(lambda: ear.microphone.used == NAME)
    assert near(ear.heard()) == list(range(1, 11))
    assert ear.numbers() == list(range(len(ear.numbers())))
    assert ear.frames[-1] is None
    assert ear.news == [(True, NAME)]
    assert machine.streams[0].closed


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 5])
def test_unhurried_they_come_in_fours_and_none_is_lost(machine, at_a_time):
    ear = Ear(machine)
    ear.microphone.unhurried = True
    with ear.microphone:
        given = come = 0
        while given < 14:
            machine.stream.give(ramp(given + 1, at_a_time))
            given += at_a_time
            come = given if given - come >= 4 else come
            assert wait_for(lambda n=come: len(ear.heard()) == n)
            time.sleep(0.05)
            assert len(ear.heard()) == come
        ear.microphone.unhurried = False
        for _ in range(2):
            machine.stream.give(ramp(given + 1, 1))
            given += 1
            assert wait_for(lambda n=given: len(ear.heard()) == n)  # what waited, at once
    assert near(ear.heard()) == list(range(1, given + 1))
    heard = [frame.number for frame in ear.frames if frame is not None and frame.pcm.any()]
    assert heard == list(range(heard[0], heard[0] + given))


def test_a_device_is_told_whether_somebody_waits(machine):
    ear = Ear(machine)
    with ear.microphone:
        for unhurried in (True, True, False, False, True):
            ear.microphone.unhurried = unhurried
        assert machine.stream.rests == [False, True, False, True]
        machine.stream.give(ramp(1, 4))
        assert wait_for(lambda: ear.microphone.used == NAME)
        machine.stream.ended = True
        assert wait_for(lambda: len(machine.streams) == 2)
        assert wait_for(lambda: machine.stream.rests == [True])  # the next one too


def test_a_microphone_that_falls_silent_while_nobody_waits_is_opened_anew(machine):
    ear = Ear(machine)
    ear.microphone.unhurried = True
    with ear.microphone:
        machine.stream.give(ramp(1, 4))
        assert wait_for(lambda: len(machine.streams) == 2)


def test_a_full_queue_shows_as_skipped_numbers(machine, monkeypatch):
    monkeypatch.setattr(module, "QUEUE_S", 10 * FRAME_S)
    monkeypatch.setattr(line, "START_S", 9.0)
    ear = Ear(machine)
    slow = itertools.chain([0.3], itertools.repeat(0))
    post = ear.frames.append
    ear.microphone._post = lambda frame: (post(frame), time.sleep(next(slow)))
    with ear.microphone:
        stream = machine.stream
        stream.give(ramp(1, 1))
        assert wait_for(lambda: len(ear.frames) > 0)  # and now it is busy for 0.3 s
        for number in range(2, 22):
            stream.give(ramp(number, 1))
        assert wait_for(lambda: len(ear.heard()) >= 11)
        stream.give(ramp(22, 1))
        assert wait_for(lambda: near(ear.heard())[-1:] == [22])
        lost = ear.microphone.lost
    heard = near(ear.heard())
    assert heard == [*range(1, len(heard)), 22]
    assert lost == 22 - len(heard) > 0
    numbers = [frame.number for frame in ear.frames if frame is not None and frame.pcm.any()]
    assert numbers[-1] - numbers[-2] == lost + 1


def test_what_the_device_lost_shows_as_skipped_numbers(machine):
    ear = Ear(machine)
    with ear.microphone:
        stream = machine.stream
        stream.give(ramp(1, 2))
        time.sleep(5 * FRAME_S)
        stream.give(ramp(8, 1), overflowed=True)
        assert wait_for(lambda: len(ear.heard()) == 3)
        assert 4 <= ear.microphone.lost <= 6
    numbers = [frame.number for frame in ear.frames if frame is not None and frame.pcm.any()]
    assert numbers[2] - numbers[1] == ear.microphone.lost + 1


def test_a_part_of_a_frame_that_was_cut_off_is_lost_too(machine):
    ear = Ear(machine)
    with ear.microphone:
        stream = machine.stream
        stream.give(ramp(1, 1))
        stream.give(ramp(2, 1)[:-1])
        stream.give(ramp(4, 1), overflowed=True)
        assert wait_for(lambda: len(ear.heard()) == 2)
    assert near(ear.heard()) == [1, 4]
    assert ear.microphone.lost in (1, 2)


def silent_pace(ear, seconds):
    """Frames a second while nothing is heard, as share of real time; all must be silent."""
    before, start = len(ear.frames), time.monotonic()
    time.sleep(seconds)
    came, took = ear.frames[before:], time.monotonic() - start
    assert not any(frame.pcm.any() for frame in came)
    return len(came) * FRAME_S / took


def test_muted_the_device_is_let_go_and_the_clock_goes_on(machine):
    ear = Ear(machine)
    with ear.microphone:
        machine.stream.give(ramp(1, 3))
        assert wait_for(lambda: len(ear.heard()) == 3)
        stale = machine.stream
        ear.microphone.mute()
        assert wait_for(lambda: stale.closed)
        stale.give(ramp(99, 3))
        assert 0.9 < silent_pace(ear, 0.6) < 1.1
        assert ear.microphone.lost == 0
        ear.microphone.unmute()
        assert wait_for(lambda: not machine.streams[-1].closed)
        machine.stream.give(ramp(4, 2))
        assert wait_for(lambda: len(ear.heard()) == 5)
        time.sleep(0.05)
    assert near(ear.heard()) == [1, 2, 3, 4, 5]
    assert ear.numbers() == list(range(len(ear.numbers())))
    assert ear.news == [(True, NAME)]  # it was there all the time


@pytest.mark.parametrize("broken", [False, True])
def test_unplugged_and_plugged_in_again(machine, broken):
    ear = Ear(machine)
    with ear.microphone:
        for time_number in range(1, 11):
            machine.stream.give(ramp(time_number, 1))
            assert wait_for(lambda n=time_number: len(ear.heard()) == n)
            assert wait_for(lambda n=time_number: len(ear.news) == 2 * n - 1)
            machine.unplug(NAME)
            machine.streams[-1].ended = broken
            assert wait_for(lambda n=time_number: len(ear.news) == 2 * n)
            assert ear.microphone.used == ""
            assert silent_pace(ear, 0.1) > 0
            machine.plug("microphone", NAME)
            assert wait_for(lambda: not machine.streams[-1].closed)
    assert ear.news == 10 * [(True, NAME), (False, NAME)]
    assert len(machine.streams) == 11
    assert all(stream.closed for stream in machine.streams)


def test_a_device_that_stops_delivering_is_opened_anew(machine, caplog):
    ear = Ear(machine)
    with ear.microphone:
        first = machine.stream
        for _ in range(15):
            first.give(ramp(1, 1))
            time.sleep(FRAME_S / 2)
        assert wait_for(lambda: first.closed)
        assert wait_for(lambda: len(machine.streams) == 2)
        assert "no sign of life" in caplog.text
        assert wait_for(lambda: ear.microphone.lost >= 5)  # the time that it took to notice shows as skipped numbers
        assert 0.8 < silent_pace(ear, 0.5) < 1.2
        assert wait_for(lambda: not machine.streams[-1].closed)
        machine.streams[-1].give(ramp(2, 1))
        assert wait_for(lambda: near(ear.heard())[-1:] == [2])
        assert wait_for(lambda: ear.news == [(True, NAME), (False, NAME), (True, NAME)])
    assert caplog.text.count("no sign of life") == 1


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(zeros, "ZEROS_S", 10 * FRAME_S)
    monkeypatch.setattr(zeros, "SOUND_S", 3 * FRAME_S)


def give(machine, ear, frames, value):
    """So many frames of one value, and wait until they are taken."""
    posted = len(ear.frames)
    machine.stream.give(np.full(FRAME_SAMPLES, value))
    assert wait_for(lambda: ear.microphone.used)
    for _ in range(frames - 1):
        machine.stream.give(np.full(FRAME_SAMPLES, value))
    assert wait_for(lambda: len(ear.frames) >= posted + frames)


def test_zeros_are_told_once_and_so_is_the_sound_after_them(machine, impatient, caplog):
    told = []
    ear = Ear(machine, zeros=told.append)
    with ear.microphone:
        give(machine, ear, 30, 0.0)
        assert wait_for(lambda: told == [Change(zeros=True, news=True)])
        assert ear.microphone.gives_zeros
        give(machine, ear, 2, 0.1)  # the click of a switch
        give(machine, ear, 30, 0.0)
        assert len(told) == 1
        give(machine, ear, 4, 0.1)
        assert wait_for(lambda: told[1:] == [Change(zeros=False, news=True)])
        give(machine, ear, 30, 0.0)
        give(machine, ear, 4, 0.1)
        assert wait_for(lambda: told[2:] == [Change(zeros=True, news=False), Change(zeros=False, news=False)])
    mend = "switch it on, or unmute it and turn it up (alsamixer -c USB)"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"the microphone alsa:USB gives nothing but zeros; {mend}",
        "the microphone alsa:USB gives sound again",
    ]


def test_our_own_mute_is_not_taken_for_zeros(machine, impatient, caplog):
    told = []
    ear = Ear(machine, zeros=told.append)
    with ear.microphone:
        for _ in range(4):
            give(machine, ear, 4, 0.1)
            give(machine, ear, 8, 0.0)  # shorter than it is patient
        ear.microphone.mute()
        assert wait_for(lambda: machine.streams[-1].closed)
        time.sleep(15 * FRAME_S)
        ear.microphone.unmute()
        assert wait_for(lambda: not machine.streams[-1].closed)
        give(machine, ear, 4, 0.1)
    assert told == []
    assert "zeros" not in caplog.text


def test_zeros_after_the_plug_was_pulled_are_told_anew(machine, impatient):
    told = []
    ear = Ear(machine, zeros=told.append)
    with ear.microphone:
        for time_number in (1, 2):
            give(machine, ear, 30, 0.0)
            assert wait_for(lambda n=time_number: told == n * [Change(zeros=True, news=True)])
            machine.unplug(NAME)
            assert wait_for(lambda: ear.news[-1] == (False, NAME))
            machine.plug("microphone", NAME)
            assert wait_for(lambda: not machine.streams[-1].closed)


def test_silence_that_a_program_sends_is_logged_and_not_told(machine, impatient, monkeypatch, caplog):
    monkeypatch.setattr(module, "must_sound", lambda name: False)
    told = []
    ear = Ear(machine, zeros=told.append)
    with ear.microphone:
        give(machine, ear, 30, 0.0)
        assert wait_for(lambda: "nothing but zeros" in caplog.text)
        give(machine, ear, 4, 0.1)
        assert wait_for(lambda: "gives sound again" in caplog.text)
    assert told == []


def test_a_device_that_is_not_there(machine):
    with pytest.raises(DeviceError, match="no microphone alsa:Yeti"), Ear(machine, "alsa:Yeti").microphone:
        pass


def test_a_device_that_is_waited_for(machine, caplog):
    ear = Ear(machine, "alsa:Yeti", patient=True)
    with ear.microphone:
        assert 0.8 < silent_pace(ear, 0.5) < 1.2
        assert caplog.text.count("no microphone alsa:Yeti") == 1
        machine.plug("microphone", "alsa:Yeti")
        assert wait_for(lambda: machine.streams)
        machine.stream.give(ramp(7, 1))
        assert wait_for(lambda: near(ear.heard()) == [7])
        assert wait_for(lambda: ear.news == [(True, "alsa:Yeti")])


def test_a_busy_device_is_tried_again(machine, caplog):
    machine.fault = DeviceError("alsa:USB is busy", "end the other program")
    with pytest.raises(DeviceError, match="busy"), Ear(machine).microphone:
        pass
    ear = Ear(machine, patient=True)
    with ear.microphone:
        time.sleep(0.3)
        assert caplog.text.count("alsa:USB is busy") == 1
        machine.fault = None
        assert wait_for(lambda: machine.streams)


def test_the_default_moves_on_to_what_is_left(machine):
    ear = Ear(machine, None)
    with ear.microphone:
        machine.stream.give(ramp(1, 1))
        assert wait_for(lambda: ear.microphone.used == NAME)
        machine.plug("microphone", "alsa:Webcam")
        machine.unplug(NAME)
        assert wait_for(lambda: len(machine.streams) == 2)
        machine.streams[-1].give(ramp(2, 1))
        assert wait_for(lambda: ear.microphone.used == "alsa:Webcam")
    assert ear.news[-1] == (True, "alsa:Webcam")


def test_where_a_server_moved_us_is_told(machine):
    ear = Ear(machine)
    with ear.microphone:
        machine.stream.give(ramp(1, 1))
        assert wait_for(lambda: ear.news == [(True, NAME)])
        machine.attached = "alsa:Webcam"
        machine.plug("microphone", "alsa:Webcam")
        assert wait_for(lambda: ear.news[-1] == (True, "alsa:Webcam"))
        assert ear.microphone.used == "alsa:Webcam"
        machine.stream.give(ramp(2, 1))  # the stream goes on
        assert wait_for(lambda: near(ear.heard()) == [1, 2])
    assert len(machine.streams) == 1
