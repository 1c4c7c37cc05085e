import os
import tracemalloc

import numpy as np
import pytest
import soundfile as sf
import soxr

from edge_assistant.errors import AudioFileError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.recording import Recording


def tone(seconds, rate_hz, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def read(path):
    frames = list(Recording(path).frames())
    assert all(f.shape == (FRAME_SAMPLES,) and f.dtype == np.float32 for f in frames)
    return np.concatenate(frames)


GOOD = [
    ("WAV", "PCM_16", 16_000, 1),
    ("WAV", "PCM_U8", 16_000, 1),
    ("WAV", "PCM_24", 48_000, 2),
    ("WAV", "PCM_32", 192_000, 1),
    ("WAV", "FLOAT", 44_100, 12),
    ("WAV", "DOUBLE", 11_025, 1),
    ("WAV", "ULAW", 8_000, 1),
    ("FLAC", "PCM_16", 96_000, 2),
    ("FLAC", "PCM_24", 22_050, 1),
    ("OGG", "VORBIS", 48_000, 1),
    ("AIFF", "PCM_16", 32_000, 3),
]


@pytest.mark.parametrize(("form", "subtype", "rate_hz", "channels"), GOOD)
def test_any_rate_width_and_number_of_channels(tmp_path, form, subtype, rate_hz, channels):
    path = tmp_path / f"tone.{form.lower()}"
    sf.write(path, np.tile(tone(1.5, rate_hz)[:, None], channels), rate_hz, subtype, format=form)
    sound = read(path)
    assert abs(len(sound) - 1.5 * SAMPLE_RATE_HZ) <= FRAME_SAMPLES
    middle = sound[4000:20_000]
    assert abs(np.abs(np.fft.rfft(middle)).argmax() * SAMPLE_RATE_HZ / len(middle) - 440) < 2
    assert abs(np.sqrt((middle**2).mean()) - 0.5 / np.sqrt(2)) < 0.02


def test_by_the_block_is_as_in_one_piece(tmp_path):
    rate_hz = 44_100
    noise = np.random.default_rng(1).normal(0, 0.1, 5 * rate_hz).astype(np.float32)
    sf.write(tmp_path / "noise.wav", noise, rate_hz, "FLOAT")
    whole = soxr.resample(noise, rate_hz, SAMPLE_RATE_HZ)
    sound = read(tmp_path / "noise.wav")
    assert np.abs(sound[: len(whole)] - whole).max() < 1e-5
    assert not sound[len(whole) :].any()


def test_at_16_khz_nothing_is_changed(tmp_path):
    noise = np.random.default_rng(1).integers(-(2**15), 2**15, 40_000).astype(np.int16)
    sf.write(tmp_path / "noise.wav", noise, SAMPLE_RATE_HZ)
    assert (read(tmp_path / "noise.wav")[:40_000] == noise / np.float32(2**15)).all()


def test_too_loud_is_clipped(tmp_path):
    sf.write(tmp_path / "loud.wav", 5 * tone(1, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, "FLOAT")
    assert np.abs(read(tmp_path / "loud.wav")).max() == 1


def test_one_sample_is_a_recording(tmp_path):
    sf.write(tmp_path / "one.wav", np.array([0.5]), SAMPLE_RATE_HZ)
    assert len(read(tmp_path / "one.wav")) == FRAME_SAMPLES


def test_an_hour_needs_no_more_memory_than_a_minute(tmp_path):
    def peak(seconds):
        path = tmp_path / f"{seconds}.flac"
        with sf.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
            for _ in range(seconds // 60):
                file.write(np.zeros(60 * 8000, np.int16))
        tracemalloc.start()
        for _ in Recording(path).frames():
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(3600) < peak(60) + 8_000_000  # the hour itself has 230 MB; other tests leave threads that allocate too


def unknown_codec(path):
    sf.write(path, tone(0.1, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    data = bytearray(path.read_bytes())
    data[20:22] = b"\x34\x12"  # the format tag
    path.write_bytes(data)


def write(samples, subtype="FLOAT", rate_hz=SAMPLE_RATE_HZ):
    return lambda path: sf.write(path, np.array(samples, np.float32), rate_hz, subtype)


BAD = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "dangling": (lambda path: os.symlink("nowhere", path), "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("hello " * 100), "cannot be read as sound"),
    "headless": (lambda path: path.write_bytes(b"RIFF\x00\x00\x00\x00WAVE"), "cannot be read as sound"),
    "no samples": (write([]), "0 samples"),
    "nan": (write([0.1, np.nan, 0.1]), "NaN"),
    "late nan": (write([0.1] * 50_000 + [np.nan]), "NaN"),
    "infinite": (write([0.1, np.inf]), "NaN"),
    "codec": (unknown_codec, "cannot be read as sound"),
    "slow": (write([0.1] * 100, rate_hz=100), "too slow"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_clear_line(tmp_path, kind):
    make, words = BAD[kind]
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(AudioFileError, match=words) as caught:
        Recording(path)
    assert "bad.wav" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_raw_file_does_not_say_what_it_is(tmp_path):
    (tmp_path / "sound.raw").write_bytes(b"\0\1" * 100)
    with pytest.raises(AudioFileError, match="does not say"):
        Recording(tmp_path / "sound.raw")


@pytest.fixture
def broken_off(tmp_path):
    """The first half of a file of ten seconds, in a form of one's choice."""

    def make(name):
        path = tmp_path / name
        sf.write(path, np.random.default_rng(1).normal(0, 0.1, 160_000), SAMPLE_RATE_HZ)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        return path

    return make


def test_a_compressed_file_that_breaks_off_is_told(broken_off):
    recording = Recording(broken_off("half.flac"))
    with pytest.raises(AudioFileError, match="damaged at"):
        list(recording.frames())


def test_a_plain_file_that_breaks_off_is_played_to_there(broken_off):
    assert abs(len(read(broken_off("half.wav"))) - 80_000) <= FRAME_SAMPLES
