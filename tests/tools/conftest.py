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


@pytest.fixture
def board(tmp_path):
    """The root of a board: 62 degrees, 37 percent of the battery, too little voltage, on for two hours."""
    for name, text in {
        "sys/class/thermal/thermal_zone0/temp": "61870",
        "sys/class/power_supply/ups/type": "UPS",
        "sys/class/power_supply/ups/capacity": "37",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
        "proc/uptime": "7200.11 180000.00",
    }.items():
        path = tmp_path / "board" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "board"
