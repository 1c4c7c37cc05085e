"""The assistant's own signals, as a microphone hears them, put to the detectors: nobody speaks."""

import numpy as np
import pytest
import soxr

from edge_assistant import earcons
from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ, SpeechStarted
from edge_assistant.vad import VADS

SIGNALS = [earcons.listening, earcons.thinking, earcons.muted, earcons.error, earcons.understood]
RATE_HZ = 48_000
LEAD_S = 2.5
"""For the detectors to get used to the noise: WebRTC's takes its beginning for speech."""


def pink(samples, rng):
    spectrum = np.fft.rfft(rng.normal(size=samples)) / np.sqrt(np.arange(1, samples // 2 + 2))
    noise = np.fft.irfft(spectrum, samples)
    return noise / np.sqrt((noise**2).mean())


def room(sound, rng):
    """Direct sound, and 0.4 s of echo."""
    t = np.arange(int(0.4 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    response = rng.normal(size=len(t)) * np.exp(-6.9 * t / 0.4) / 8
    response[0] = 1
    return np.convolve(sound, response)


def turns_started(sound, vad):
    """The frames at which somebody is believed to begin, after the lead."""
    endpointer = Endpointer(EndpointConfig())
    whole = np.clip(sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES], -1, 1).astype(np.float32)
    lead = LEAD_S * SAMPLE_RATE_HZ / FRAME_SAMPLES - 3
    events = [endpointer.step(number, vad(frame)) for number, frame in enumerate(whole.reshape(-1, FRAME_SAMPLES))]
    return [event.frame for event in events if isinstance(event, SpeechStarted) and event.frame >= lead]


@pytest.mark.parametrize("name", VADS)
@pytest.mark.parametrize("signal", SIGNALS)
def test_no_signal_is_ever_heard_as_speech(signal, name):
    rng = np.random.default_rng(5)
    sound = soxr.resample(signal(RATE_HZ), RATE_HZ, SAMPLE_RATE_HZ)
    for gain_db in (0, -12, -30):
        for noise_db in (-100, -60, -50):
            for offset, heard in ((0, sound), (190, room(sound, rng)), (380, sound)):
                lead = np.zeros(int(LEAD_S * SAMPLE_RATE_HZ) + offset)
                scene = np.concatenate([lead, heard * 10 ** (gain_db / 20), np.zeros(SAMPLE_RATE_HZ)])
                scene += pink(len(scene) // 2 * 2 + 2, rng)[: len(scene)] * 10 ** (noise_db / 20)
                assert turns_started(scene, VADS[name]()) == [], (gain_db, noise_db, offset)


@pytest.mark.parametrize("name", VADS)
def test_the_same_scene_with_a_low_tone_or_a_voice_is_heard(name):
    """So that the test above can fail: a beep of 880 Hz starts a turn with WebRTC's detector, a voice with both."""
    from pathlib import Path

    import soundfile

    lead, tail = np.zeros(int(LEAD_S * SAMPLE_RATE_HZ)), np.zeros(SAMPLE_RATE_HZ)
    beep = 0.1 * np.sin(2 * np.pi * 880 * np.arange(3500) / SAMPLE_RATE_HZ)
    voice, _ = soundfile.read(Path(__file__).parents[2] / "assets" / "demo" / "timer.wav")
    assert turns_started(np.concatenate([lead, voice, tail]), VADS[name]())
    assert bool(turns_started(np.concatenate([lead, beep, tail]), VADS[name]())) is (name == "webrtc")


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_is_short_and_quiet_and_the_same_at_any_rate(signal, rate_hz):
    sound = signal(rate_hz)
    assert sound.dtype == np.float32
    assert len(sound) / rate_hz < 0.5
    assert 0.3 * earcons.PEAK < np.abs(sound).max() < 1.05 * earcons.PEAK
    assert abs(sound[0]) < 1e-3  # no click
    assert abs(sound[-1]) < 1e-3
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / rate_hz)
    assert spectrum[hz < 4000].sum() < 1e-4 * spectrum.sum()
    at_16k = signal(16_000)
    assert soxr.resample(sound, rate_hz, 16_000)[: len(at_16k)] == pytest.approx(at_16k, abs=0.02)


def test_they_are_distinct():
    """Their loudness over time, or their notes, differ."""
    sounds = [signal(16_000) for signal in SIGNALS]
    longest = max(map(len, sounds))
    spectra = [
        np.abs(np.fft.rfft(np.pad(s, (0, longest - len(s))).reshape(1, -1)[:, : longest // 8 * 8].reshape(8, -1))) for s in sounds
    ]
    for one in range(len(sounds)):
        for other in range(one):
            a, b = spectra[one].ravel(), spectra[other].ravel()
            assert a @ b < 0.8 * np.linalg.norm(a) * np.linalg.norm(b)


def test_the_bell_is_no_voice():
    bell = soxr.resample(earcons.bell(RATE_HZ), RATE_HZ, SAMPLE_RATE_HZ)
    lead = np.zeros(int(LEAD_S * SAMPLE_RATE_HZ))
    for gain_db in (0, -10, -20, -30):
        scene = np.concatenate([lead, bell * 10 ** (gain_db / 20), lead])
        assert turns_started(scene, VADS["silero"]()) == []
