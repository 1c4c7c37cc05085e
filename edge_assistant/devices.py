"""The sound devices there are, by names that stay: a card's id, a sound server's name, never a place in a list.

default                        what the sound server, or ALSA, would take
pulse:alsa_input.usb-0d8c_…    a source or sink of PulseAudio or PipeWire (pactl list sources)
alsa:USB                       a card by the id in /proc/asound/cards; alsa:USB,1 its device 1
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_assistant import pulse
from edge_assistant.errors import DeviceError
from edge_assistant.pulse import CAPTURE, PLAYBACK, Port
from edge_assistant.pulse_stream import PulseStream
from edge_assistant.streams import DEV_SND, MAY, Heard, Play, PortAudioStream, Stream, forbidden

Kind = Literal["microphone", "loudspeaker"]

WAYS = {"microphone": CAPTURE, "loudspeaker": PLAYBACK}
ALSA_WORDS = {"microphone": "capture", "loudspeaker": "playback"}
DEFAULT_RATE_HZ = 48_000

ASOUND = Path("/proc/asound")
ASOUND_CONFIGS = (Path("/etc/asound.conf"), Path("~/.asoundrc"))
"""Where a person says what ALSA's default is."""


@dataclass(frozen=True, slots=True)
class Device:
    """A microphone or a loudspeaker."""

    kind: Kind
    name: str
    """Stable: `pulse:NAME`, `alsa:CARD` or `default`."""
    description: str = ""
    rate_hz: int = DEFAULT_RATE_HZ
    """Its own rate, where that is known."""
    channels: int = 1
    """What is asked of it."""
    real: bool = True
    """False for the monitor of a sink, and for the sink that stands in where there is none: used only if it is named."""


def find_devices(kind: Kind) -> list[Device]:
    """Everything that is there, the sound server's first."""
    ports = [_pulse_device(kind, port) for port in pulse.find_ports(WAYS[kind])]
    return [*ports, *_alsa_devices(kind)]


def choose_device(kind: Kind, name: str | None = None) -> Device:
    """The device of that name, or the default.

    Raises:
        DeviceError: there is no such thing now.
    """
    if name in (None, "default"):
        return _choose_default(kind)
    devices = find_devices(kind)
    for device in devices:
        if device.name == name:
            return device
    found = ", ".join(device.name for device in devices if device.real)
    raise DeviceError(f"no {kind} {name}", f"found: {found or 'none'}{_forbidden()}")


def open_capture(device: Device, heard: Heard) -> Stream:
    """Have every block of a microphone given to `heard`. Raises DeviceError."""
    server, _, name = device.name.partition(":")
    if server == "pulse":
        return PulseStream.capture(name, device.rate_hz, device.channels, heard)
    return PortAudioStream.capture(_pcm(device), device.name, heard)


def open_playback(device: Device, rate_hz: int, play: Play) -> Stream:
    """Have every block for a loudspeaker taken from `play`. Raises DeviceError."""
    server, _, name = device.name.partition(":")
    if server == "pulse":
        return PulseStream.playback(name, rate_hz, play)
    return PortAudioStream.playback(_pcm(device), device.name, rate_hz, play)


def find_attached(device: Device) -> str:
    """Where our stream to this device really leads now: a sound server may have moved it."""
    if not device.name.startswith("pulse:"):
        return device.name
    name = pulse.find_attached(WAYS[device.kind], os.getpid())
    return f"pulse:{name}" if name else ""


def must_sound(name: str) -> bool:
    """Do zeros from the microphone of this name mean that it is off? See `pulse.must_sound`."""
    server, _, source = name.partition(":")
    return server != "pulse" or pulse.must_sound(source)


def only_zeros(name: str) -> DeviceError:
    """The fault of a microphone that is there, and gives nothing."""
    server, _, place = name.partition(":")
    card = place.partition(",")[0]
    mixer = f"pactl set-source-mute {place} 0" if server == "pulse" else "alsamixer" + (f" -c {card}" if card else "")
    return DeviceError(f"{name} gives nothing but zeros", f"switch it on, or unmute it and turn it up ({mixer})")


def read_cards() -> str:
    """ALSA's cards as the kernel lists them: changes when one comes or goes."""
    try:
        return (ASOUND / "pcm").read_text()
    except OSError:
        return ""


def _choose_default(kind: Kind) -> Device:
    served = {port.name: port for port in pulse.find_ports(WAYS[kind])}
    default = served.get(pulse.find_default(WAYS[kind]))
    real = [port for port in served.values() if port.real]
    if default is not None and (default.real or real):
        return _pulse_device(kind, default if default.real else real[0])
    if any(path.expanduser().exists() for path in ASOUND_CONFIGS):
        return Device(kind, "default", "what ALSA's configuration says")
    cards = list(_alsa_devices(kind))
    if cards:
        # A Raspberry Pi's first cards are its HDMI plugs: what somebody plugged in is what is meant.
        return min(cards, key=lambda device: "usb" not in device.description.lower())
    raise DeviceError(f"no {kind} found", f"plug one in{_forbidden()}")


def _pulse_device(kind: Kind, port: Port) -> Device:
    channels = port.channels if port.channels <= 2 else 1
    return Device(kind, f"pulse:{port.name}", port.description, port.rate_hz, channels, port.real)


def _alsa_devices(kind: Kind) -> Iterator[Device]:
    """From lines such as `01-00: USB Audio : USB Audio : playback 1 : capture 1`."""
    ids = dict(re.findall(r"^ *(\d+) \[(\S+) *\]", _read(ASOUND / "cards"), re.MULTILINE))
    for card, number, title, rest in re.findall(r"^(\d+)-(\d+): ([^:\n]*)(.*)$", read_cards(), re.MULTILINE):
        name = ids.get(str(int(card)))
        if name and ALSA_WORDS[kind] in rest:
            place = "" if int(number) == 0 else f",{int(number)}"
            yield Device(kind, f"alsa:{name}{place}", title.strip())


def _pcm(device: Device) -> str:
    """What ALSA calls it: a card's own default mixes and converts, so that others may use it too."""
    card, _, number = device.name.removeprefix("alsa:").partition(",")
    if not device.name.startswith("alsa:"):
        return "default"
    return f"plughw:CARD={card},DEV={number}" if number else f"sysdefault:CARD={card}"


def _forbidden() -> str:
    """A hint, where this user may not use what is there."""
    return f"; this user may not use /dev/snd: {MAY}" if forbidden(DEV_SND) else ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
