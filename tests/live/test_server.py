"""The microphone and the loudspeaker on a real sound server with virtual devices."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from fakes import wait_for
from server import INSTALLED, Server

from edge_assistant import devices, pulse
from edge_assistant import sinks as sinks_module
from edge_assistant import zeros as zeros_module
from edge_assistant.errors import DeviceError
from edge_assistant.frames import FRAME_MS, SAMPLE_RATE_HZ, Spoken
from edge_assistant.microphone import Microphone
from edge_assistant.sinks import DeviceSink
from edge_assistant.speaker import Speaker
from edge_assistant.streams import PortAudioStream

FORMATS = [(16_000, 1), (16_000, 2), (44_100, 1), (44_100, 2), (48_000, 1), (48_000, 2)]
NOTICED_S = 2.0
"""What was plugged in or pulled out is noticed within this, by the median: the tests may run beside other work."""


@pytest.fixture(scope="module")
def server():
    assert INSTALLED, "the tests need a sound server: make system-dev"
    with Server() as server:
        for rate_hz, channels in FORMATS:
            server.plug_microphone(f"mic{rate_hz}x{channels}", rate_hz, channels)
        server.plug_microphone()
        server.plug_speaker()
        server.pactl("set-default-source", "mic")
        server.pactl("set-default-sink", "speaker")
        time.sleep(2)  # a null sink hears nothing in its first two seconds
        yield server


class Ear:
    """A microphone, and what it posts and tells."""

    def __init__(self, name, **more):
        self.frames, self.news = [], []
        self.microphone = Microphone(name, self.frames.append, changed=self._changed, **more)

    def _changed(self, kind, present, name):
        self.news.append((present, name))

    @property
    def pcm(self):
        return np.concatenate([frame.pcm for frame in self.frames if frame is not None])

    def hears(self):
        """Does sound come, from now on?"""
        start = len(self.frames)
        return wait_for(lambda: any(frame.pcm.any() for frame in self.frames[start:] if frame is not None))

    def told(self, present, name="pulse:mic"):
        return wait_for(lambda: self.news and self.news[-1] == (present, name))


def speechlike(seconds, seed=0):
    """Noise between 200 Hz and 5 kHz, 16 kHz."""
    filter_ = scipy.signal.butter(6, [200, 5000], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    sound = scipy.signal.sosfiltfilt(filter_, np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ)))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def tone(seconds, rate_hz, hz=440.0):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def likeness(heard, original, fine=8):
    """The best correlation of `original` with any piece of `heard`, to an eighth of a sample."""
    heard, original = (scipy.signal.resample(sound, fine * len(sound)) for sound in (heard, original))
    at = int(np.argmax(scipy.signal.correlate(heard, original, "valid", "fft")))
    return float(np.corrcoef(heard[at : at + len(original)], original)[0, 1])


@pytest.mark.parametrize(("rate_hz", "channels"), FORMATS)
def test_any_format_becomes_16_khz_mono(server, rate_hz, channels):
    name = f"mic{rate_hz}x{channels}"
    sound = speechlike(1.0)
    played = scipy.signal.resample(sound, rate_hz)
    if channels == 2:
        aside = scipy.signal.resample(speechlike(1.0, seed=1), rate_hz)
        played = np.stack([played + aside, played - aside], axis=1)
    ear = Ear(f"pulse:{name}")
    with ear.microphone, server.playing(played, rate_hz, f"{name}_pipe") as player:
        assert player.wait(10) == 0
        assert wait_for(lambda: ear.pcm.any() and not ear.pcm[-8000:].any(), 5)
    heard = ear.pcm
    assert ear.microphone.lost == 0
    assert [frame.number for frame in ear.frames[:-1]] == list(range(len(ear.frames) - 1))
    if (rate_hz, channels) == (16_000, 1):
        ints = np.round(played * 32767)
        at = int(np.argmax(scipy.signal.correlate(heard, sound, "valid", "fft")))
        np.testing.assert_array_equal(heard[at : at + len(sound)] * 32768, ints)
    else:
        assert likeness(heard, sound) > 0.999


class Watch:
    """How long things took."""

    def __init__(self):
        self.took_s = []

    def until(self, condition):
        start = time.monotonic()
        came = wait_for(condition)
        self.took_s.append(time.monotonic() - start)
        return came

    @property
    def quick(self):
        return float(np.median(self.took_s)) < NOTICED_S


def test_a_microphone_unplugged_ten_times_in_mid_sentence(server):
    ear, watch = Ear("pulse:mic"), Watch()
    start = time.monotonic()
    with server.playing(tone(120, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, "mic_pipe"), ear.microphone:
        for _ in range(10):
            assert watch.until(ear.hears)
            assert ear.told(True)
            server.unplug("mic")
            assert watch.until(lambda: ear.told(False))
            before = len(ear.frames)
            assert wait_for(lambda n=before: len(ear.frames) >= n + 3)
            assert not any(frame.pcm.any() for frame in ear.frames[before + 1 :])
            server.plug_microphone()
        assert watch.until(ear.hears)
        assert ear.told(True)
        took_s = time.monotonic() - start
        last = ear.frames[-1].number
    assert abs(last * FRAME_MS / 1000 - took_s) < 0.1 * took_s  # the clock went on
    assert [present for present, _ in ear.news] == 10 * [True, False] + [True]
    numbers = [frame.number for frame in ear.frames[:-1]]
    assert numbers == sorted(set(numbers))
    assert watch.quick


def connect(changed=lambda kind, present, name: None, **more):
    """A sink with its speaker, and the speaker's news."""
    news = []
    sink = DeviceSink("pulse:speaker", changed=changed, **more)
    sink.open()
    speaker = Speaker(sink.rate_hz, news.append, patience_s=0.1)
    sink.connect(speaker)
    return sink, speaker, news


def test_a_loudspeaker_unplugged_ten_times_in_mid_sentence(server):
    told, watch = [], Watch()
    sink, speaker, news = connect(changed=lambda kind, present, name: told.append(present))
    with sink, server.recording("speaker_room.monitor", 48_000) as heard:
        for turn in range(1, 11):
            speaker.write(turn, tone(1.0, 48_000))
            speaker.mark(Spoken(turn, "Long."))
            before = len(heard.pcm)
            assert wait_for(lambda n=before: heard.pcm[n:].any())
            assert wait_for(lambda n=turn: len(told) == 2 * n - 1)
            server.unplug("speaker")
            assert watch.until(lambda n=turn: len(told) == 2 * n)
            for _ in range(35):
                sink.tick()
            assert news[-1] == Spoken(turn, "Long.")
            server.plug_speaker()
            assert watch.until(lambda: sink.used == "pulse:speaker")
    assert told == 10 * [True, False] + [True]
    assert watch.quick


def test_the_first_word_is_whole_behind_a_hum(server):
    handed = []
    sound = scipy.signal.resample(speechlike(1.0), 48_000).astype(np.float32)
    sink, speaker, news = connect(played=lambda pcm, rate_hz: handed.append(pcm.copy()), lead_in_ms=100)
    with sink, server.recording("speaker_room.monitor", 48_000) as heard:
        assert wait_for(lambda: sink.used == "pulse:speaker")
        time.sleep(0.2)
        speaker.write(1, sound)
        speaker.mark(Spoken(1, "Hello."))
        assert wait_for(lambda: Spoken(1, "Hello.") in news)
        time.sleep(0.3)
        pcm = heard.pcm
    assert likeness(pcm, sound, fine=1) > 0.999
    assert likeness(np.concatenate(handed), sound, fine=1) > 0.99999  # what was handed over is what was heard
    first = int(np.argmax(np.abs(pcm) > 1e-3))
    hum = pcm[first - 4800 : first]
    assert np.count_nonzero(hum) > 4000
    assert np.abs(hum).max() < 1e-3


def test_flushed_it_is_silent_at_once(server):
    sink, speaker, _ = connect()
    with sink, server.recording("speaker_room.monitor", 48_000) as heard:
        for turn in range(1, 4):
            speaker.write(turn, tone(5, 48_000))
            before = len(heard.pcm)
            assert wait_for(lambda n=before: np.count_nonzero(heard.pcm[n:]) > 10_000)
            before = len(heard.pcm)
            speaker.flush(turn)
            time.sleep(0.4)
            after = np.flatnonzero(heard.pcm[before:])
            assert (after[-1] if len(after) else 0) / 48_000 < 0.15


def wakings(pid):
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[1]) for status in statuses)


def test_while_nothing_is_said_the_server_rests(server):
    blocks = []
    sink, _, _ = connect(played=lambda pcm, rate_hz: blocks.append(len(pcm)))
    with sink:
        assert wait_for(lambda: len(blocks) > 100)  # a null sink takes two seconds to find its pace
        begin, woken = len(blocks), wakings(server.pid)
        time.sleep(1)
        taken, woken = len(blocks) - begin, wakings(server.pid) - woken
        assert taken > 40
        assert woken < 12 * taken  # with nothing left to the device it is 30
        sink.unhurried = True
        assert wait_for(lambda: sink._line._paused)
        begin, woken = len(blocks), wakings(os.getpid())
        time.sleep(2)
        assert len(blocks) == begin
        assert sink.used == "pulse:speaker"
        assert wakings(os.getpid()) - woken < 60  # 16 of them look whether the device is still there


def test_after_a_rest_the_first_word_is_whole_and_as_soon_as_ever(server, monkeypatch):
    monkeypatch.setattr(sinks_module, "REST_S", 0.4)
    blocks = []
    sink, speaker, news = connect(played=lambda pcm, rate_hz: blocks.append(pcm.copy()))
    sound = scipy.signal.resample(speechlike(0.5), 48_000 // 2).astype(np.float32)
    took_s = {False: [], True: []}
    with sink, server.recording("speaker_room.monitor", 48_000) as heard:
        assert wait_for(lambda: len(blocks) > 100)
        for turn in range(1, 11):
            sink.unhurried = rested = turn % 2 == 0
            assert wait_for(lambda: sink._line._paused is rested)  # noqa: B023
            time.sleep(0.1)
            before, begin = len(heard.pcm), time.monotonic()
            speaker.write(turn, sound)
            speaker.mark(Spoken(turn, "Hello."))
            assert wait_for(lambda: np.abs(heard.pcm[before:]).max(initial=0) > 0.01)  # noqa: B023
            took_s[rested].append(time.monotonic() - begin)
            assert wait_for(lambda: Spoken(turn, "Hello.") in news)  # noqa: B023
            time.sleep(0.2)
            assert likeness(heard.pcm[before:], sound, fine=1) > 0.999
    assert np.median(took_s[True]) < np.median(took_s[False]) + 0.02
    assert sum(len(block) == 0 for block in blocks) >= 5


def test_nothing_is_lost_between_haste_and_rest(server):
    sound = speechlike(4.0)
    ear = Ear("pulse:mic")
    with ear.microphone, server.playing(sound, SAMPLE_RATE_HZ, "mic_pipe") as player:
        while player.poll() is None:
            ear.microphone.unhurried = not ear.microphone.unhurried
            time.sleep(0.3)
        assert wait_for(lambda: ear.pcm.any() and not ear.pcm[-8000:].any(), 5)
    assert ear.microphone.lost == 0
    assert [frame.number for frame in ear.frames[:-1]] == list(range(len(ear.frames) - 1))
    at = int(np.argmax(scipy.signal.correlate(ear.pcm, sound, "valid", "fft")))
    np.testing.assert_array_equal(ear.pcm[at : at + len(sound)] * 32768, np.round(sound * 32767))


def test_at_rest_a_microphone_wakes_nobody_in_vain(server):
    ear = Ear("pulse:mic")
    with ear.microphone, server.recording("mic", SAMPLE_RATE_HZ):  # for whom the server sends pieces of 10 ms
        assert wait_for(lambda: len(ear.frames) > 30)
        ear.microphone.unhurried = True
        time.sleep(0.3)
        begin, woken = len(ear.frames), wakings(os.getpid())
        time.sleep(2)
        assert 56 <= len(ear.frames) - begin <= 72
        assert wakings(os.getpid()) - woken < 80  # for every piece it is 400


def ours(server):
    return [entry for entry in server.pactl("list", "source-outputs").split("\n\n") if '"edge-assistant"' in entry]


def test_muted_nothing_listens(server):
    ear = Ear("pulse:mic")
    with server.playing(tone(30, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, "mic_pipe"), ear.microphone:
        assert ear.hears()
        ear.microphone.mute()
        assert wait_for(lambda: not ours(server))
        before = len(ear.frames)
        assert wait_for(lambda: len(ear.frames) > before + 10)
        assert not any(frame.pcm.any() for frame in ear.frames[before:])
        ear.microphone.unmute()
        assert ear.hears()
    assert ear.microphone.lost == 0


def test_a_source_that_stops_delivering(server, caplog):
    ear = Ear("pulse:mic")
    with server.playing(tone(30, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, "mic_pipe"), ear.microphone:
        assert ear.told(True)
        time.sleep(2.6)
        server.pactl("suspend-source", "mic", "1")
        assert ear.told(False)
        assert "no sign of life" in caplog.text
        before = len(ear.frames)
        assert wait_for(lambda: len(ear.frames) > before + 5)
        server.pactl("suspend-source", "mic", "0")
        assert ear.hears()


def test_the_server_moves_us_with_the_default(server):
    server.plug_microphone("second")
    ear = Ear(None)
    with ear.microphone:
        assert ear.told(True)
        server.pactl("set-default-source", "second")
        assert ear.told(True, "pulse:second")
        server.unplug("second")
        assert wait_for(lambda: ear.news[-1][0] and ear.news[-1][1] != "pulse:second")
        assert (False, "pulse:second") in ear.news
    server.pactl("set-default-source", "mic")


def test_moved_by_hand_it_says_what_is_used(server):
    ear = Ear("pulse:mic")
    with ear.microphone:
        assert ear.told(True)
        index = ours(server)[0].split("#")[1].split()[0]
        server.pactl("move-source-output", index, "mic48000x2")
        assert ear.told(True, "pulse:mic48000x2")
        assert ear.microphone.used == "pulse:mic48000x2"


@pytest.mark.parametrize("mute", [("set-source-mute", "mic", "1"), ("set-source-volume", "mic", "0%")])
def test_a_source_that_is_muted_is_told_and_so_is_its_sound(server, monkeypatch, caplog, mute):
    monkeypatch.setattr(zeros_module, "ZEROS_S", 0.5)
    told = []
    ear = Ear("pulse:mic", zeros=told.append)
    with ear.microphone:
        assert wait_for(lambda: "nothing but zeros; switch it on, or unmute it" in caplog.text)
        time.sleep(0.5)
        assert told == []  # nobody plays into it: a program's silence
        with server.playing(tone(30, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, "mic_pipe"):
            assert ear.hears()
            assert wait_for(lambda: not ear.microphone.gives_zeros)
            server.pactl(*mute)
            assert wait_for(lambda: [change.zeros for change in told] == [True])
            server.pactl("set-source-mute", "mic", "0")
            server.pactl("set-source-volume", "mic", "100%")
            assert wait_for(lambda: [change.zeros for change in told] == [True, False])
    assert caplog.text.count("nothing but zeros; ") == 1


def test_a_mute_behind_a_canceller_is_found(server):
    canceller = server.pactl("load-module", "module-remap-source", "source_name=clean", "master=mic")
    assert not devices.must_sound("pulse:clean")
    server.pactl("set-source-mute", "mic", "1")
    assert devices.must_sound("pulse:clean")
    server.pactl("set-source-mute", "mic", "0")
    assert not devices.must_sound("pulse:absent")
    server.pactl("unload-module", canceller)


def test_alsa_under_portaudio(server, capfd):
    blocks = []
    sound = speechlike(1.0)
    stream = PortAudioStream.capture("pulse:mic", "alsa:Test", lambda block, rate_hz, lost: blocks.append(block))
    assert wait_for(lambda: blocks)
    with server.playing(scipy.signal.resample(sound, 48_000), 48_000, "mic_pipe") as player:
        player.wait(10)
        time.sleep(0.5)
    stream.close()
    assert (stream.rate_hz, stream.channels) == (48_000, 1)
    heard = scipy.signal.resample_poly(np.concatenate(blocks)[:, 0], 1, 3)
    assert likeness(heard, sound) > 0.999
    count = len(blocks)
    time.sleep(0.1)
    assert len(blocks) == count
    with pytest.raises(DeviceError, match="alsa:Test does not open"):
        PortAudioStream.capture("pulse:nowhere", "alsa:Test", lambda block, rate_hz, lost: None)
    assert capfd.readouterr().err == ""


def test_a_loudspeaker_of_alsa_under_portaudio(server):
    left = [np.pad(tone(1.0, 48_000), (9600, 0))]  # a stream's first milliseconds are not to be heard here

    def play(samples):
        block, left[0] = left[0][:samples], left[0][samples:]
        return np.pad(block, (0, samples - len(block)))

    with server.recording("speaker_room.monitor", 48_000) as heard:
        stream = PortAudioStream.playback("pulse:speaker", "alsa:Test", 48_000, play)
        assert wait_for(lambda: len(left[0]) == 0)
        time.sleep(0.3)
        stream.close()
        assert likeness(heard.pcm, tone(1.0, 48_000), fine=1) > 0.999


def test_a_server_without_devices_that_dies_and_comes_back(server):
    with Server() as bare:
        with pytest.raises(DeviceError, match="no microphone found"), Ear(None).microphone:
            pass
        with pytest.raises(DeviceError, match="no loudspeaker found"):
            DeviceSink().open()
        ear = Ear(None, patient=True)
        with ear.microphone:
            bare.plug_microphone()
            assert wait_for(lambda: (True, "pulse:mic") in ear.news)
            bare.stop()
            assert ear.told(False)
            before = len(ear.frames)
            assert wait_for(lambda: len(ear.frames) > before + 10)
            bare.start()
            bare.plug_microphone()
            assert wait_for(lambda: ear.news[-1] == (True, "pulse:mic"))


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edge_assistant.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_verbs(server):
    listed = json.loads(command("devices", "--json").stdout)
    assert listed["used"] == {"microphone": "pulse:mic", "loudspeaker": "pulse:speaker"}
    assert {device["name"] for device in listed["microphones"]} >= {"pulse:mic", "pulse:mic48000x2"}
    assert "* pulse:mic " in command("devices").stdout
    with server.playing(tone(60, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, "mic_pipe"):
        result = command("mic-test", "--seconds", "4", "--json")
    readings = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(readings) in (124, 125)
    assert np.median([reading["level_db"] for reading in readings[-20:]]) == pytest.approx(
        20 * np.log10(0.3 / np.sqrt(2)), abs=0.5
    )
    result = command("mic-test", "--microphone", "pulse:nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("edge-assistant: no microphone pulse:nowhere; found: ")
    assert result.stderr.count("\n") == 1


def test_nothing_of_ours_is_left_at_the_server(server):
    assert wait_for(lambda: not ours(server), 5)
    names = {"pulse", "pactl", "frames", "microphone", "loudspeaker"}
    assert wait_for(lambda: not names & {thread.name for thread in threading.enumerate()}, 5)
    assert pulse.find_attached(pulse.PLAYBACK, os.getpid()) == ""
    assert devices.choose_device("microphone").name == "pulse:mic"
