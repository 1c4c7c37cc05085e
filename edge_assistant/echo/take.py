"""A take: what `echo-test` plays, and the recording of it through the devices as the loop uses them."""

import queue
from collections.abc import Callable

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.echo.measure import Take
from edge_assistant.echo.reference import Reference
from edge_assistant.frames import SAMPLE_RATE_HZ, Frame, frames
from edge_assistant.microphone import Microphone
from edge_assistant.runtime import Pcm
from edge_assistant.sinks import DeviceSink
from edge_assistant.speaker import Speaker
from edge_assistant.voice import Voice

SENTENCES = (
    "The timer is set for twelve minutes.",
    "It is twenty five past nine.",
    "The light in the kitchen is on now, and the heating is off.",
    "There are seven minutes left on your first timer, and twenty on the second.",
    "The volume is at forty percent.",
    "Today is Tuesday, the twenty fourth of November.",
    "I did not understand that, please say it again.",
    "The processor is at fifty degrees, and the disk is half empty.",
    "The second timer rings at a quarter to ten.",
    "All is well.",
)
INTERRUPTIONS = ("Stop, that is enough.", "What time is it now?", "Wait, set a timer.")
FIRST_S, EVERY_S = 17.0, 3.7
"""When the stand-in for the user speaks first, and then how often."""
USER_DB, USER_PITCH = -28.0, 1.25
"""Its level in dB of full scale (a talker at arm's length, at a usual gain), and its pitch against our own voice."""
SWEEP_HZ, SWEEP_S, SWEEP_LEVEL = (150.0, 7000.0), 1.0, 0.25
SHIFT_S = 0.3
"""The far end is read so much late, so that what is not handed over yet is not taken for silence."""
AFTER_S = 1.5


def make_script(voice: Voice, rate_hz: int) -> Pcm:
    """A second of the room, a sweep, speech, a sweep; shape [samples]."""
    sounds = [silence(1.5, rate_hz), sweep(rate_hz), silence(0.7, rate_hz)]
    for sentence in SENTENCES:
        sounds += [_say(voice, sentence, rate_hz), silence(0.25, rate_hz)]
    return np.concatenate([*sounds, silence(0.5, rate_hz), sweep(rate_hz), silence(0.5, rate_hz)])


def make_interruptions(voice: Voice, length: int) -> list[tuple[int, Pcm]]:
    """A stand-in for the user over a take of `length` samples: where it begins, and its sound (16 kHz, shape [samples])."""
    said = [_to_level(_say(voice, text, round(SAMPLE_RATE_HZ / USER_PITCH)), USER_DB) for text in INTERRUPTIONS]
    starts = np.arange(FIRST_S * SAMPLE_RATE_HZ, length - 4 * SAMPLE_RATE_HZ, EVERY_S * SAMPLE_RATE_HZ).astype(int)
    return [(int(at), said[number % len(said)]) for number, at in enumerate(starts)]


def record(make: Callable[[int], Pcm], microphone: str | None, loudspeaker: str | None, tell: Callable[[float], None]) -> Take:
    """Play the sound that `make` gives for the loudspeaker's rate, and record it; `tell` hears once a second how much is done.

    Raises:
        DeviceError: a device is not there, or does not open.
    """
    reference = Reference(1000 * (SHIFT_S + Reference.LEAD / SAMPLE_RATE_HZ))
    heard: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
    near: list[Pcm] = []
    far: list[Pcm] = []
    with DeviceSink(loudspeaker, played=reference.played) as sink, Microphone(microphone, heard.put):
        sink.open()
        speaker = Speaker(sink.rate_hz, lambda event: None)
        script = make(sink.rate_hz)
        pieces = np.array_split(script, max(1, len(script) * 5 // sink.rate_hz))
        sink.connect(speaker)
        for _ in range(frames(round(1000 * (len(script) / sink.rate_hz + AFTER_S + SHIFT_S)))):
            while pieces and speaker.write(1, pieces[0]):
                pieces.pop(0)
            frame = heard.get()
            assert frame is not None, "the microphone runs until we leave"
            near.append(frame.pcm)
            far.append(reference.read(frame.number))
            if frame.number % 31 == 0:
                tell(len(near) * 0.032 * sink.rate_hz / len(script))
    shift = round(SHIFT_S * SAMPLE_RATE_HZ)
    return Take(np.concatenate(far)[shift:], np.concatenate(near)[:-shift])


def sweep(rate_hz: int) -> Pcm:
    """A tone that rises by octaves (Farina, 2000), faded in and out; shape [samples]."""
    low, high = SWEEP_HZ
    t = np.arange(round(SWEEP_S * rate_hz)) / rate_hz
    octaves = np.log(high / low)
    phase = 2 * np.pi * low * SWEEP_S / octaves * np.expm1(t / SWEEP_S * octaves)
    fade = np.minimum(1, np.minimum(t, SWEEP_S - t) / 0.02)
    return (SWEEP_LEVEL * fade * np.sin(phase)).astype(np.float32)


def silence(seconds: float, rate_hz: int) -> Pcm:
    """Shape [samples]."""
    return np.zeros(round(seconds * rate_hz), np.float32)


def _say(voice: Voice, text: str, rate_hz: int) -> Pcm:
    pcm, own_hz = voice.say(text)
    return soxr.resample(pcm, own_hz, rate_hz).astype(np.float32)


def _to_level(pcm: Pcm, level_db: float) -> Pcm:
    power = float(np.mean(np.square(pcm))) + 1e-12
    return (pcm * np.sqrt(10 ** (level_db / 10) / power)).astype(np.float32)
