"""The loudspeaker, with a device that does what a test says."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import Machine, wait_for

from edge_assistant import sinks
from edge_assistant.errors import DeviceError
from edge_assistant.frames import FRAME_SAMPLES, Spoken
from edge_assistant.sinks import Amplifier, DeviceSink, Stock
from edge_assistant.speaker import Speaker
from edge_assistant.streams import SPEAKING

NAME = "alsa:USB"
RATE_HZ = 8000


@pytest.fixture
def machine(monkeypatch):
    machine = Machine(monkeypatch)
    machine.plug("loudspeaker", NAME, RATE_HZ)
    monkeypatch.setattr("edge_assistant.sinks.choose_device", machine.choose)
    return machine


def connect(machine, **more):
    news, told = [], []
    sink = DeviceSink(
        NAME, changed=lambda kind, present, name: told.append((kind, present)), open_stream=machine.open_playback, **more
    )
    sink.open()
    speaker = Speaker(sink.rate_hz, news.append)
    sink.connect(speaker)
    return sink, speaker, news, told


def test_what_is_played_is_told(machine):
    blocks = []
    sink, speaker, _, _ = connect(machine, played=lambda pcm, rate_hz: blocks.append((pcm.copy(), rate_hz)))
    with sink:
        assert sink.rate_hz == RATE_HZ
        speaker.write(1, np.full(150, 2, np.float32))
        out = [machine.stream.callback(100) for _ in range(3)]
    np.testing.assert_array_equal(np.concatenate(out), np.repeat([1, 0], 150).astype(np.float32))  # kept within bounds
    np.testing.assert_array_equal(np.concatenate([pcm for pcm, _ in blocks]), np.concatenate(out))
    assert {rate for _, rate in blocks} == {RATE_HZ}


def test_unplugged_in_mid_sentence_replies_come_to_their_end(machine):
    sink, speaker, news, told = connect(machine)
    with sink:
        for turn in range(1, 11):
            speaker.write(turn, np.ones(RATE_HZ, np.float32))
            speaker.mark(Spoken(turn, "Long."))
            assert machine.stream.callback(160).all()
            assert wait_for(lambda: sink.used == NAME)
            machine.unplug(NAME)
            assert wait_for(lambda n=turn: len(told) == 2 * n)
            for _ in range(40):  # 1.28 s
                sink.tick()
            assert news[-1] == Spoken(turn, "Long.")
            machine.plug("loudspeaker", NAME, RATE_HZ)
            assert wait_for(lambda n=turn: len(machine.streams) == n + 1)
    assert told == 10 * [("loudspeaker", True), ("loudspeaker", False)]


def test_while_it_plays_ticks_take_nothing(machine):
    sink, speaker, _, _ = connect(machine)
    with sink:
        machine.stream.callback(10)
        assert wait_for(lambda: sink.used == NAME)
        speaker.write(1, np.ones(50, np.float32))
        sink.tick()
        assert machine.stream.callback(50).all()


def test_a_tick_takes_a_frame_on_the_mean(machine):
    machine.devices.clear()
    sink = DeviceSink(NAME, patient=True, open_stream=machine.open_playback)
    sink.open()
    sink.rate_hz = 22_050
    taken = []

    class Counting(Speaker):
        def pull(self, samples):
            taken.append(samples)
            return super().pull(samples)

    with sink:
        sink.connect(Counting(sink.rate_hz, lambda event: None))
        for _ in range(1000):
            sink.tick()
    assert abs(sum(taken) - 1000 * FRAME_SAMPLES * 22_050 / 16_000) <= 1


def test_a_device_that_stops_asking_is_opened_anew(machine):
    sink, _, _, _ = connect(machine)
    with sink:
        for _ in range(15):
            machine.stream.callback(100)
            time.sleep(0.02)
        assert wait_for(lambda: len(machine.streams) == 2)
        assert not machine.streams[0].callback(100).any()  # a stream that was given up takes no words
        machine.streams[-1].callback(100)
        assert wait_for(lambda: sink.used == NAME)


def play(machine, seconds):
    """What the device is given in that time, by blocks; it asks for nothing where it rests."""
    out = []
    while sum(map(len, out)) < seconds * RATE_HZ and not machine.stream.paused:
        out.append(machine.stream.callback(160))
    return np.concatenate([np.zeros(0), *out])


def test_given_nothing_but_silence_it_rests_until_there_is_a_word(machine):
    blocks = []
    sink, speaker, news, told = connect(machine, played=lambda pcm, rate_hz: blocks.append(pcm.copy()))
    with sink:
        assert len(play(machine, 9)) == 9 * RATE_HZ  # somebody may wait for it
        sink.unhurried = True
        speaker.write(1, np.ones(400, np.float32))
        silence = play(machine, 9)[400:]
        assert len(silence) == pytest.approx(sinks.REST_S * RATE_HZ, abs=160)
        time.sleep(0.5)  # longer than a device may be silent that does not rest
        assert sink.used == NAME
        before = len(blocks)
        for _ in range(9):
            sink.tick()
        speaker.write(2, np.ones(400, np.float32))
        assert not machine.stream.paused
        assert play(machine, 0.07)[160:560].all()  # at once, behind one block of silence, and whole
        assert len(blocks[before]) == 0
        assert all(map(len, blocks[:before] + blocks[before + 1 :]))
        play(machine, 9)
        assert machine.stream.paused
        speaker.mark(Spoken(2, "Hello."))  # nothing to hear, but something to tell
        play(machine, 0.1)
        assert news[-1] == Spoken(2, "Hello.")
        play(machine, 9)
        speaker.signal(np.ones(80, np.float32))
        assert play(machine, 0.04)[160:240].all()
        play(machine, 9)
        sink.unhurried = False
        assert len(play(machine, 9)) == 9 * RATE_HZ
    assert len(machine.streams) == 1
    assert told == [("loudspeaker", True)]


def test_a_word_that_comes_as_it_goes_to_rest_is_played(machine):
    sink, speaker, _, _ = connect(machine)
    with sink:
        sink.unhurried = True
        words = iter([np.ones(100, np.float32)])
        machine.stream.before_rest = lambda: [speaker.write(1, word) for word in words]
        assert play(machine, 3).sum() == 100


def test_it_does_not_rest_while_something_is_held_back_or_still_on_its_way(machine):
    sink, speaker, news, _ = connect(machine)
    with sink:
        sink.unhurried = True
        speaker.delay(5.0)
        speaker.write(1, np.ones(100, np.float32))
        speaker.mark(Spoken(1, "Hello."))
        play(machine, 6)
        assert news[-1] == Spoken(1, "Hello.")
        speaker.write(2, np.ones(100, np.float32))
        speaker.hold()
        assert len(play(machine, 6)) == 6 * RATE_HZ


def test_waked_from_its_rest_it_has_to_give_signs_of_life(machine):
    sink, speaker, _, _ = connect(machine)
    with sink:
        sink.unhurried = True
        play(machine, 9)
        assert wait_for(lambda: sink.used == NAME)
        time.sleep(0.5)
        speaker.write(1, np.ones(100, np.float32))
        time.sleep(0.1)
        assert len(machine.streams) == 1
        assert wait_for(lambda: len(machine.streams) == 2)
        assert wait_for(lambda: not machine.streams[-1].closed)
        assert machine.stream.callback(160)[:100].all()


def test_after_a_rest_the_first_word_has_not_run_dry_and_a_hum_goes_before_it_if_it_was_long(machine, monkeypatch, caplog):
    sink, speaker, _, _ = connect(machine, lead_in_ms=50)
    now = [1000.0]
    monkeypatch.setattr("edge_assistant.sinks.time", SimpleNamespace(monotonic=lambda: now[0]))

    def play(seconds):
        out = []
        for _ in range(round(seconds / 0.02)):
            if not machine.stream.paused:
                out.append(machine.stream.callback(160))
                now[0] += 0.02
        return np.concatenate(out)

    with sink:
        sink.unhurried = True
        for rest_s, hums in ((0.5, False), (9, True), (5.5, False), (600, True)):
            speaker.write(1, np.ones(100, np.float32))
            play(9)
            now[0] += rest_s
            speaker.write(2, np.ones(RATE_HZ, np.float32))
            assert not play(0.02).any()
            first = play(0.02)
            assert bool(0 < first.max() < 1e-3) is hums
            assert np.count_nonzero(play(2) == 1) + np.count_nonzero(first == 1) == RATE_HZ
    assert "dry" not in caplog.text


def test_an_absent_one(machine):
    machine.unplug(NAME)
    with pytest.raises(DeviceError, match="no loudspeaker alsa:USB"):
        DeviceSink(NAME).open()


def blocks(amplifier, speaking, count):
    return [amplifier.hum(100, 1000, speaking=speaking) for _ in range(count)]


def test_a_hum_goes_before_the_first_word_after_a_long_silence():
    amplifier = Amplifier(250)
    first = blocks(amplifier, True, 4)
    assert [block is not None for block in first] == [True, True, True, False]
    assert 0 < np.abs(first[0]).max() <= 1e-3
    assert not any(block is not None for block in blocks(amplifier, False, 70) + blocks(amplifier, True, 5))  # 7 s: still awake
    assert not any(block is not None for block in blocks(amplifier, False, 80))
    assert [block is not None for block in blocks(amplifier, True, 4)] == [True, True, True, False]


def test_woken_in_time_no_word_waits():
    amplifier = Amplifier(250)
    amplifier.wake()
    assert [block is not None for block in blocks(amplifier, False, 4)] == [True, True, True, False]
    assert blocks(amplifier, True, 1) == [None]


def test_without_a_lead_in_nothing_waits():
    assert blocks(Amplifier(0), True, 1) == [None]


def test_the_word_is_whole_behind_the_hum(machine):
    sink, speaker, _, _ = connect(machine, lead_in_ms=50)
    with sink:
        speaker.write(1, np.ones(1000, np.float32))
        out = np.concatenate([machine.stream.callback(160) for _ in range(12)])
    assert np.count_nonzero(out == 1) == 1000
    assert 0 < np.flatnonzero(out == 1)[0] <= 0.07 * RATE_HZ


def ask(stock, times_ms, speaking=True):
    return [stock.ask(at / 1000, SPEAKING.block_ms / 1000, speaking=speaking) for at in times_ms]


def test_a_device_that_asks_in_time_has_not_run_dry():
    stock = Stock()
    ask(stock, [0, 0, 0])  # it fills up
    late = SPEAKING.held_ms - SPEAKING.block_ms  # and then asks when a block has been played
    assert not any(ask(stock, [at * SPEAKING.block_ms + (late - 1 if at % 3 == 0 else 0) for at in range(1, 4)]))
    day = range(64, 1_000_000, SPEAKING.block_ms)
    assert not any(ask(stock, [at * (1 + 2e-4) for at in day]))  # a slow quartz makes nobody dry
    assert stock.dry == 0


def test_a_device_that_was_left_waiting_ran_dry_once():
    stock = Stock()
    ask(stock, [0, 0, 0, 16, 32])
    assert ask(stock, [32 + 49, 32 + 49, 32 + 49]) == [True, False, False]
    assert stock.dry == 1


def test_silence_may_run_dry():
    stock = Stock()
    ask(stock, [0, 0, 0], speaking=False)
    assert ask(stock, [100]) == [False]  # the first word comes after it
    assert ask(stock, [300], speaking=False) == [False]  # and the last before
    assert stock.dry == 0


def test_a_device_that_holds_more_may_wait_longer():
    stock = Stock()
    stock.held_s = 0.1
    assert not any(ask(stock, [0, 0, 0, 0, 0, 0, 96]))


def test_running_dry_in_mid_sentence_is_told(machine, caplog):
    sink, speaker, _, _ = connect(machine)
    with sink:
        speaker.write(1, np.ones(RATE_HZ, np.float32))
        for pause_s in (0, 0, 0.1, 0):
            time.sleep(pause_s)
            machine.stream.callback(128)
    assert [record.message for record in caplog.records] == ["the loudspeaker ran dry in mid-sentence (1 times in all)"]
