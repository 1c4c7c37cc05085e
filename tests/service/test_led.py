"""The light, on gpiozero's own pins for tests."""

import importlib
import sys
import time

import pytest

from edge_assistant.errors import DeviceError, EdgeAssistantError
from edge_assistant.led import Led


@pytest.fixture
def pins():
    gpiozero = importlib.import_module("gpiozero")
    gpiozero.Device.pin_factory = importlib.import_module("gpiozero.pins.mock").MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = None


def changes(pin, seconds):
    """How often the pin changes in this time."""
    count, before, until = 0, pin.state, time.monotonic() + seconds
    while time.monotonic() < until:
        count, before = count + (pin.state is not before), pin.state
        time.sleep(0.01)
    return count


def test_each_state_looks_different(pins):
    pin = pins.pin(22)
    with Led(22) as led:
        led.show("ready")
        assert pin.state
        assert changes(pin, 0.7) == 0
        led.show("fault")
        assert changes(pin, 1.2) >= 2
        led.show("starting")
        time.sleep(0.3)
        assert not pin.state  # mostly off
        led.show("ready")
        assert pin.state
    assert not pin.state


def test_without_a_pin_it_shows_nothing():
    with Led(None) as led:
        led.show("fault")


def test_a_pin_that_cannot_be_had_names_the_mend(monkeypatch, pins):
    with Led(22), pytest.raises(DeviceError, match="GPIO22"):
        Led(22)
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    monkeypatch.setattr("edge_assistant.led.find_spec", lambda name: None)
    with pytest.raises(EdgeAssistantError, match=r"edge-assistant\[gpio\]"):
        Led(22)
