"""The sound server's own canceller: module-echo-cancel of PulseAudio or PipeWire makes a microphone and a loudspeaker."""

import re
from dataclasses import dataclass

from edge_assistant import pulse
from edge_assistant.errors import EchoError
from edge_assistant.pulse import CAPTURE, PLAYBACK

NAME = re.compile(r"echo.?cancel", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The pair of devices between which the server cancels: both must be used."""

    microphone: str
    loudspeaker: str
    """Stable names, as `edge-assistant devices` lists them."""


def find_cancelled() -> Cancelled:
    """Find them.

    Raises:
        EchoError: no server runs, or its module is not loaded.
    """
    microphones, loudspeakers = (pulse.find_ports(way) for way in (CAPTURE, PLAYBACK))
    if not microphones and not loudspeakers:
        raise EchoError("no sound server runs that could cancel", "use the strategy speexdsp or aec3")
    pairs = [[port.name for port in ports if port.real and NAME.search(port.name)] for ports in (microphones, loudspeakers)]
    if not all(pairs):
        raise EchoError("the sound server's canceller is not loaded", "pactl load-module module-echo-cancel aec_method=webrtc")
    (microphone, *_), (loudspeaker, *_) = pairs
    return Cancelled(f"pulse:{microphone}", f"pulse:{loudspeaker}")
