"""A conversation in a simulated room: our replies out of the loudspeaker, a user who speaks over them, and what is made of it.

The loudspeaker and the microphone call back on clocks of their own; everything runs as fast as can be.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from simroom import RATE_HZ, Room, level_db

from edge_assistant.echo import Echo
from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.frames import SpeechStarted
from edge_assistant.vad import SileroVad

FRAME = 512
FRAME_S = FRAME / RATE_HZ
ASSETS = Path(__file__).parents[2] / "assets"
QUESTIONS = sorted((ASSETS / "demo").glob("*.wav"))


def say_replies(seconds: float, gap_s: float = 0.6):
    """Our own voice, sentence after sentence, at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.npz"
        subprocess.run([sys.executable, Path(__file__).with_name("speak.py"), file], check=True)
        with np.load(file) as spoken:
            rate_hz = int(spoken["rate_hz"])
            said = [soxr.resample(spoken[name], rate_hz, RATE_HZ) for name in spoken if name != "rate_hz"]
    sound, length = [], 0
    while length < seconds * RATE_HZ:
        sound += [said[len(sound) // 2 % len(said)], np.zeros(round(gap_s * RATE_HZ), np.float32)]
        length += sum(map(len, sound[-2:]))
    return np.concatenate(sound)[: round(seconds * RATE_HZ)]


def speak_over(length: int, level: float, *, first_s=15.0, every_s=6.0, seed=0, clips=None):
    """A user at `level` dB of full scale; returns the sound and where it is, in frames."""
    rng = np.random.default_rng(seed)
    clips = clips or [sf.read(path, dtype="float32")[0] for path in QUESTIONS]
    near, spans, at = np.zeros(length, np.float32), [], first_s
    while (at + 4) * RATE_HZ < length:
        clip = clips[len(spans) % len(clips)]
        begin = round(at * RATE_HZ)
        near[begin : begin + len(clip)] = clip * 10 ** ((level - level_db(clip)) / 20)
        spans.append((begin // FRAME, (begin + len(clip)) // FRAME))
        at += every_s + rng.random()
    return near, spans


class Devices:
    """Calls `played` and gives frames as a loudspeaker and a microphone would."""

    def __init__(self, far, *, rate_hz=48_000, block=768, drift_ppm=0.0, jitter_ms=3.0, late_ms=5.0, gaps=(), seed=0):
        """`far` runs on the loudspeaker's own clock; the loop takes each frame up to `late_ms` late; no callbacks in `gaps`."""
        self._far = far if rate_hz == RATE_HZ else soxr.resample(far, RATE_HZ, rate_hz).astype(np.float32)
        self._rate_hz, self._block, self._jitter_ms, self._late_ms, self._gaps = rate_hz, block, jitter_ms, late_ms, gaps
        self._period_s = block / rate_hz * (1 + drift_ppm * 1e-6)
        self._rng = np.random.default_rng(seed)
        self._due = self._nominal = 0.0
        self._handed = 0

    def until(self, frame: int, played):
        """Hand over what is due by the time the loop takes this frame."""
        now = (frame + 1) * FRAME_S + self._rng.random() * self._late_ms / 1000
        while self._due <= now and self._handed < len(self._far):
            if not any(begin <= self._nominal < end for begin, end in self._gaps):
                played(self._far[self._handed : self._handed + self._block], self._rate_hz)
                self._handed += self._block
            self._nominal += self._period_s
            self._due = self._nominal + self._rng.random() * self._jitter_ms / 1000


def follow(reference, far, near, **devices):
    """What `reference.read` gives, shape as `near`."""
    loudspeaker, out = Devices(far, **devices), []
    for frame in range(len(near) // FRAME):
        loudspeaker.until(frame, reference.played)
        out.append(reference.read(frame))
        reference.listen(near[frame * FRAME : (frame + 1) * FRAME], out[-1])
    return np.concatenate(out)


@dataclass
class Talk:
    """What came of a conversation."""

    echo: Echo
    near: np.ndarray
    cleaned: np.ndarray
    speech: np.ndarray
    """The detector's word, by the frame, before the guard."""
    starts: list[int] = field(default_factory=list)
    """The first frames of turns that speech started."""
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Interruptions that started a turn."""
        return sum(any(first - 3 <= start <= last for start in self.starts) for first, last in self.spans)

    @property
    def own(self) -> list[int]:
        """Turns that nobody but ourselves started."""
        return [start for start in self.starts if not any(first - 3 <= start <= last + 20 for first, last in self.spans)]

    def reduction_db(self, begin_s=20.0):
        begin = round(begin_s * RATE_HZ)
        return level_db(self.near[begin : len(self.cleaned)]) - level_db(self.cleaned[begin:])


def talk(strategy: str, room: Room, far, user=None, *, then: Room | None = None, half=0.5, guarded=True, **devices) -> Talk:
    """Hold a conversation; `then` is the room after `half` of it. `user` is what `speak_over` gives."""
    sound, spans = user or (None, [])
    near = room.hear(far, sound)
    if then is not None:
        middle = round(half * len(far))
        near[middle:] = then.hear(far, sound)[middle:]
    echo, vad, endpointer = Echo(strategy), SileroVad(), Endpointer(EndpointConfig())
    loudspeaker = Devices(far, drift_ppm=room.drift_ppm, **devices)
    cleaned, speech, starts = [], [], []
    for frame in range(len(near) // FRAME):
        loudspeaker.until(frame, echo.played)
        cleaned.append(echo.clean(frame, near[frame * FRAME : (frame + 1) * FRAME]))
        speech.append(vad(cleaned[-1]))
        users = echo.guard(speech[-1])
        event = endpointer.step(frame, users if guarded else speech[-1])
        if isinstance(event, SpeechStarted):
            starts.append(event.frame)
    return Talk(echo, near, np.concatenate(cleaned), np.array(speech), starts, spans)
