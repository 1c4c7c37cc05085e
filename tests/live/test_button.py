import contextlib
import importlib
import os
import pty
import queue
import termios
import time

import pytest

from edge_assistant import button
from edge_assistant.button import Button, GpioButtons, KeyButtons
from edge_assistant.errors import DeviceError, EdgeAssistantError

PATIENCE_S = 5


@pytest.fixture
def terminal():
    """Both ends: what a person types on, and what the program reads."""
    person, program = pty.openpty()
    yield person, program
    for end in (person, program):
        with contextlib.suppress(OSError):
            os.close(end)


def pressing():
    events = queue.SimpleQueue()
    return events, lambda which, down: events.put((which, down))


def test_a_tap_goes_down_and_comes_up(terminal):
    person, program = terminal
    events, pressed = pressing()
    with KeyButtons(pressed, descriptor=program) as keys:
        assert keys.present
        began = time.monotonic()
        os.write(person, b" ")
        assert events.get(timeout=PATIENCE_S) == (Button.TALK, True)
        assert time.monotonic() - began < 0.3
        assert events.get(timeout=PATIENCE_S) == (Button.TALK, False)
    assert events.empty()


def test_a_held_key_is_one_press_however_often_it_repeats(terminal):
    person, program = terminal
    events, pressed = pressing()
    with KeyButtons(pressed, descriptor=program):
        os.write(person, b" ")
        time.sleep(0.5)
        for _ in range(20):
            os.write(person, b" ")
            time.sleep(0.03)
        assert events.get(timeout=PATIENCE_S) == (Button.TALK, True)
        assert events.empty()
        let_go = time.monotonic()
        assert events.get(timeout=PATIENCE_S) == (Button.TALK, False)
        assert time.monotonic() - let_go < button.FIRST_S
    assert events.empty()


def test_two_buttons_and_keys_that_are_none(terminal):
    person, program = terminal
    events, pressed = pressing()
    with KeyButtons(pressed, descriptor=program):
        os.write(person, b"x\x1b[M m q")
        os.write(person, b"m")
        os.write(person, b" ")
        seen = {events.get(timeout=PATIENCE_S), events.get(timeout=PATIENCE_S)}
        assert seen == {(Button.MUTE, True), (Button.TALK, True)}


def test_the_terminal_is_put_back_and_what_is_held_let_go(terminal):
    person, program = terminal
    before = termios.tcgetattr(program)
    events, pressed = pressing()
    with KeyButtons(pressed, descriptor=program):
        now = termios.tcgetattr(program)
        assert not now[3] & (termios.ICANON | termios.ECHO)
        assert now[3] & termios.ISIG  # Ctrl-C still works
        os.write(person, b"m")
        assert events.get(timeout=PATIENCE_S) == (Button.MUTE, True)
    assert events.get(timeout=PATIENCE_S) == (Button.MUTE, False)
    assert termios.tcgetattr(program) == before


def test_a_terminal_that_is_closed_lets_go_and_stops(terminal):
    person, program = terminal
    events, pressed = pressing()
    keys = KeyButtons(pressed, descriptor=program)
    keys.__enter__()
    os.write(person, b" ")
    assert events.get(timeout=PATIENCE_S) == (Button.TALK, True)
    began = time.monotonic()
    os.close(person)
    assert events.get(timeout=PATIENCE_S) == (Button.TALK, False)
    assert time.monotonic() - began < button.FIRST_S / 2
    keys.__exit__(None, None, None)


def test_without_a_terminal_there_are_no_keys(monkeypatch, tmp_path):
    events, pressed = pressing()
    with (tmp_path / "input").open("w+") as file:
        monkeypatch.setattr("sys.stdin", file)
        with KeyButtons(pressed) as keys:
            assert not keys.present
    monkeypatch.setattr("sys.stdin", None)
    with KeyButtons(pressed) as keys:
        assert not keys.present
    assert events.empty()


def test_in_the_background_there_are_no_keys(monkeypatch, terminal):
    """Reading, or setting the terminal, would stop the program."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: os.getpgrp() + 1)
    before = termios.tcgetattr(terminal[1])
    with KeyButtons(lambda which, down: None, descriptor=terminal[1]) as keys:
        assert not keys.present
        assert termios.tcgetattr(terminal[1]) == before


@pytest.fixture
def pins():
    """A Raspberry Pi's pins, without one."""
    gpiozero = importlib.import_module("gpiozero")
    factory = importlib.import_module("gpiozero.pins.mock").MockFactory()
    gpiozero.Device.pin_factory = factory
    yield factory
    factory.reset()
    gpiozero.Device.pin_factory = None


def test_switches_on_pins(pins):
    events, pressed = pressing()
    with GpioButtons(pressed, {Button.TALK: 17, Button.MUTE: 27}):
        for pin, which in ((17, Button.TALK), (27, Button.MUTE)):
            pins.pin(pin).drive_low()
            assert events.get(timeout=PATIENCE_S) == (which, True)
            pins.pin(pin).drive_high()
            assert events.get(timeout=PATIENCE_S) == (which, False)
    with GpioButtons(pressed, {Button.TALK: 17}):  # the pin was let go
        assert events.empty()


def test_a_pin_that_is_none_or_taken_is_one_clear_line(pins):
    for taken in ({Button.TALK: 99}, {Button.TALK: 4, Button.MUTE: 4}):
        with pytest.raises(DeviceError, match=r"button on GPIO\d+ cannot be used .*; check its number") as caught:
            GpioButtons(lambda which, down: None, taken)
        assert "\n" not in str(caught.value)
    with GpioButtons(lambda which, down: None, {Button.TALK: 4}):  # what was had before the fault is free again
        pass


def test_without_gpiozero_the_mend_is_named(monkeypatch):
    monkeypatch.setattr(button, "find_spec", lambda name: None)
    with pytest.raises(EdgeAssistantError, match=r"pip install 'edge-assistant\[gpio\]'"):
        GpioButtons(lambda which, down: None, {Button.TALK: 17})
