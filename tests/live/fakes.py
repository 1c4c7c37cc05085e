"""A machine whose devices come and go at a test's word."""

import time

import numpy as np

from edge_assistant import line, pulse
from edge_assistant.devices import Device
from edge_assistant.errors import DeviceError


class Machine:
    """Stands in for the devices that `line` looks for; faster than life."""

    def __init__(self, monkeypatch):
        self.devices = {}
        self.streams = []
        self.fault = None
        self.dead = False
        for name, value in {"LOOK_S": 0.01, "STALL_S": 0.2, "START_S": 0.2, "RETRY_S": 0.1}.items():
            monkeypatch.setattr(line, name, value)
        monkeypatch.setattr(line, "choose_device", self.choose)
        monkeypatch.setattr(line, "find_devices", lambda kind: list(self.devices.values()))
        monkeypatch.setattr(line, "find_attached", lambda device: self.attached or device.name)
        monkeypatch.setattr(line, "read_cards", lambda: str(sorted(self.devices)))
        monkeypatch.setattr(pulse, "subscribe", lambda: None)
        self.attached = ""

    def plug(self, kind, name, rate_hz=16_000):
        self.devices[name] = Device(kind, name, rate_hz=rate_hz)

    def unplug(self, name):
        del self.devices[name]

    def choose(self, kind, name=None):
        for device in self.devices.values():
            if device.kind == kind and name in (None, device.name):
                return device
        raise DeviceError(f"no {kind} {name}", "plug one in")

    def open(self, device, callback):
        if self.fault:
            raise self.fault
        self.streams.append(Stream(device, callback))
        return self.streams[-1]

    def open_playback(self, device, rate_hz, callback):
        return self.open(device, callback)

    @property
    def stream(self):
        """The one that is open."""
        (stream,) = [stream for stream in self.streams if not stream.closed]
        return stream


class Stream:
    latency_s = 0.05
    channels = 1

    def __init__(self, device, callback):
        self.rate_hz, self.device, self.callback = device.rate_hz, device, callback
        self.ended = self.closed = self.paused = False
        self.rests = []
        self.before_rest = lambda: None

    def give(self, sound, overflowed=False):
        self.callback(np.asarray(sound, np.float32).reshape(-1, 1), self.rate_hz, overflowed)

    def rest(self, resting):
        self.before_rest()
        self.rests.append(resting)
        self.paused = resting and self.device.kind == "loudspeaker"

    def close(self):
        self.closed = True


def wait_for(condition, seconds=8.0):
    """True as soon as it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
