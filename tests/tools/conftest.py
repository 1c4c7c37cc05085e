from functools import partial

import pytest


@pytest.fixture
def talk(tmp_path, monkeypatch):
    """A conversation: one call of the model's for every turn."""
    from parrot import Talk

    return partial(Talk, tmp_path, monkeypatch)


@pytest.fixture
def pins():
    """A Raspberry Pi's pins, of software; what is on them can be read."""
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    before = Device.pin_factory
    Device.pin_factory = MockFactory(pin_class=MockPWMPin)
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = before
