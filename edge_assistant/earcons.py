"""Short sounds in the place of words, made when they are wanted, at the loudspeaker's rate (16 kHz or more).

The assistant must never take its own signal for somebody speaking. The signals therefore are small, glassy strokes of pure tone
above 5 kHz: a voice's vowels lie lower, so that Silero's detector hears no voice in them, and WebRTC's, which takes any sudden
tone for speech, looks at nothing above 4 kHz. They are told apart by rhythm and direction, not by pitch alone.
"""

import numpy as np

from edge_assistant.runtime import Pcm

PEAK = 0.1
"""−20 dBFS: beside a spoken reply, not above it."""
LOW_HZ, HIGH_HZ = 5274.0, 6271.9
"""E8 and G8, a minor third: the two notes of the signals."""
RISE_S, DECAY_S, STROKE_S = 0.010, 0.030, 0.110
"""A soft attack: a click would reach down to where the detectors look."""


def listening(rate_hz: int) -> Pcm:
    """Two quick notes upwards: speak."""
    return _strokes([(0.0, LOW_HZ, 1.0), (0.11, HIGH_HZ, 1.0)], rate_hz)


def thinking(rate_hz: int) -> Pcm:
    """One soft note: it goes on."""
    return _strokes([(0.0, LOW_HZ, 0.4)], rate_hz)


def understood(rate_hz: int) -> Pcm:
    """One clear note: a command is being done."""
    return _strokes([(0.0, HIGH_HZ, 1.0)], rate_hz)


def muted(rate_hz: int) -> Pcm:
    """Two slow notes downwards: it hears nothing now."""
    return _strokes([(0.0, HIGH_HZ, 1.0), (0.22, LOW_HZ, 1.0)], rate_hz)


def error(rate_hz: int) -> Pcm:
    """Four low notes in haste: something went wrong."""
    return _strokes([(0.09 * stroke, LOW_HZ, 1.0) for stroke in range(4)], rate_hz)


def bell(rate_hz: int) -> Pcm:
    """A timer's two strokes of a bell, one second: this one is to be heard from the next room."""
    t = np.arange(rate_hz) / rate_hz
    strokes = [np.where(t >= start, np.exp(-9 * (t - start).clip(0)), 0) for start in (0.0, 0.35)]
    tones = [np.sin(2 * np.pi * hz * t) + 0.4 * np.sin(2 * np.pi * 2.76 * hz * t) for hz in (880.0, 1174.7)]
    return (0.3 * (strokes[0] * tones[0] + strokes[1] * tones[1])).astype(np.float32)


def _strokes(score: list[tuple[float, float, float]], rate_hz: int) -> Pcm:
    """Sound the score: (begin in s, hz, loudness 0 to 1) for each stroke."""
    now = np.arange(round((score[-1][0] + STROKE_S) * rate_hz)) / rate_hz
    sound = np.zeros(len(now))
    for begin_s, hz, loudness in score:
        t = np.clip(now - begin_s, 0, STROKE_S)
        # Raised cosines at both ends keep the spectrum of a stroke within a few hundred Hz of its note.
        edge = np.sin(np.pi / 2 * np.clip(np.minimum(t, STROKE_S - t) / RISE_S, 0, 1)) ** 2
        sound += loudness * edge * np.exp((RISE_S - t) / DECAY_S) * np.sin(2 * np.pi * hz * t)
    return (PEAK * sound).astype(np.float32)
