"""What was played, on the microphone's clock."""

import threading

import numpy as np
import pytest
from conversation import FRAME, Devices, follow, speak_over
from simroom import RATE_HZ, Room, level_db

from edge_assistant.echo.delay import find_lag
from edge_assistant.echo.reference import RING, Reference, Ring


def tone(samples, hz=440.0, rate_hz=RATE_HZ):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(samples) / rate_hz)).astype(np.float32)


def lateness(room, far, read, at_s):
    """How much later than `read` the echo comes, in samples, around this time."""
    begin, end = round((at_s - 0.7) * RATE_HZ), round((at_s + 0.7) * RATE_HZ)
    return find_lag(room.echo(far)[begin:end], read[begin:end], -2000, 8000).samples


def test_a_ring_gives_back_what_it_was_given():
    ring, sound = Ring(), tone(2000)
    ring.append(sound)
    np.testing.assert_array_equal(ring.read(100, 700), sound[100:800])


def test_a_ring_is_silent_before_and_after():
    ring = Ring()
    ring.append(np.ones(100, np.float32))
    read = ring.read(-600, 1300)
    assert not read[:590].any()
    assert read[650] == 1
    assert not read[710:].any()


def test_a_ring_reads_between_samples():
    ring = Ring()
    ring.append(tone(8000))
    read = ring.read(1000.37, 4000, 80e-6)
    at = 1000.37 + np.arange(4000) * (1 + 80e-6)
    assert np.abs(read - 0.3 * np.sin(2 * np.pi * 440 * at / RATE_HZ)).max() < 1e-3


def test_a_ring_holds_no_more_than_it_must():
    ring = Ring()
    for _ in range(100):
        ring.append(tone(1600))
    assert len(ring._kept) == RING
    assert ring.end == 160_000
    assert not ring.read(1000, 512).any()


def test_silence_where_nothing_was_played():
    reference = Reference()
    assert all(not reference.read(frame).any() for frame in range(10))


@pytest.mark.parametrize(("rate_hz", "block"), [(16_000, 256), (22_050, 353), (44_100, 1024), (48_000, 768)])
def test_what_was_played_comes_back_at_16_khz(rate_hz, block):
    reference = Reference(delay_ms=100)
    silence = np.zeros(3 * RATE_HZ, np.float32)
    read = follow(reference, tone(3 * RATE_HZ), silence, rate_hz=rate_hz, block=block)
    middle = read[RATE_HZ : 2 * RATE_HZ]
    assert level_db(middle) == pytest.approx(level_db(tone(RATE_HZ)), abs=0.1)
    assert np.abs(np.fft.rfft(middle)).argmax() == 440
    assert reference.drift == 0


@pytest.mark.parametrize("drift_ppm", [-100.0, 0.0, 20.0, 100.0])
def test_the_drift_is_found_and_does_not_accumulate(replies, drift_ppm):
    room, reference, sound = Room(delay_ms=120, drift_ppm=drift_ppm), Reference(), replies[: 40 * RATE_HZ]
    read = follow(reference, sound, room.hear(sound), rate_hz=22_050, block=353, drift_ppm=drift_ppm)
    assert -reference.drift * 1e6 == pytest.approx(drift_ppm, abs=2)
    late = [lateness(room, sound, read, at) for at in (15, 25, 31, 37)]
    assert max(late) - min(late) < 2.5  # 100 ppm would be 35
    assert all(at in reference.BEAR for at in map(round, late))


@pytest.mark.parametrize("delay_ms", [30, 150, 400])
def test_a_delay_that_nobody_told_is_found_in_seconds(replies, delay_ms):
    room, reference = Room(delay_ms=delay_ms), Reference()
    read = follow(reference, replies[: 8 * RATE_HZ], room.hear(replies[: 8 * RATE_HZ]))
    assert round(lateness(room, replies, read, 6)) in reference.BEAR


def test_a_delay_that_was_measured_stays(replies):
    sound = replies[: 10 * RATE_HZ]
    reference = Reference(delay_ms=90)
    follow(reference, sound, Room(delay_ms=90).hear(sound))
    assert reference.corrections == 0


def test_a_user_who_speaks_over_us_changes_nothing(replies):
    sound = replies[: 30 * RATE_HZ]
    user, _ = speak_over(len(sound), -14, first_s=6, every_s=3)
    room, reference = Room(echo_db=-12), Reference(delay_ms=90)
    follow(reference, sound, room.hear(sound, user))
    assert reference.corrections == 0
    assert abs(reference.drift) < 3e-6


def test_headphones_leave_it_where_it_was(replies):
    room, reference, sound = Room(echo_db=-200), Reference(), replies[: 20 * RATE_HZ]
    follow(reference, sound, room.hear(sound))
    assert reference.corrections == 0
    assert reference.drift == 0


def test_a_loudspeaker_that_stops_and_comes_back_is_found_again(replies):
    """Unplugged for 3 s: sound goes on where it was, 3 s later, and so does its echo."""
    reference = Reference(delay_ms=90)
    gap = (10.0, 13.0)
    heard = np.insert(replies, 10 * RATE_HZ, np.zeros(3 * RATE_HZ, np.float32))[: 30 * RATE_HZ]
    room = Room()
    read = follow(reference, replies, room.hear(heard), gaps=[gap])
    assert not read[round(11.5 * RATE_HZ) : 13 * RATE_HZ].any()
    assert lateness(room, heard, read, 20) == pytest.approx(reference.LEAD, abs=500)
    assert round(lateness(room, heard, read, 27)) in reference.BEAR


@pytest.mark.parametrize("rest_s", [0.15, 2.0, 40.0])
def test_a_loudspeaker_that_has_rested_is_followed_from_its_first_word(replies, rest_s):
    """In a silence it asks for nothing for a while: when it goes on, what is read belongs to the echo at once."""
    reference, room = Reference(delay_ms=90), Room()
    silence = np.zeros(2 * RATE_HZ, np.float32)
    sound = np.concatenate([replies[: 10 * RATE_HZ], silence, replies[10 * RATE_HZ : 14 * RATE_HZ]])
    heard = np.insert(sound, 12 * RATE_HZ - 400, np.zeros(round(rest_s * RATE_HZ), np.float32))
    near, loudspeaker, read = room.hear(heard), Devices(sound, gaps=[(11.975, 11.975 + rest_s)]), []
    last = [0]

    def played(pcm, rate_hz):
        if last[0] and len(read) - last[0] > 5:
            reference.played(pcm[:0], rate_hz)
        last[0] = len(read)
        reference.played(pcm, rate_hz)

    for frame in range(len(near) // FRAME):
        loudspeaker.until(frame, played)
        read.append(reference.read(frame))
        reference.listen(near[frame * FRAME : (frame + 1) * FRAME], read[-1])
    begin = round((12 + rest_s) * RATE_HZ)
    first = slice(begin, begin + RATE_HZ * 3 // 10)
    late = find_lag(room.echo(heard)[first], np.concatenate(read)[first], -2000, 8000).samples
    assert abs(late - reference.LEAD) < RATE_HZ * 8 // 1000
    assert reference.corrections == 0


def test_a_loop_that_sleeps_for_a_second_misplaces_nothing(replies):
    """The frames of that second are taken in a burst; their far end was handed over long ago."""
    room, reference = Room(), Reference(delay_ms=90)
    near, loudspeaker, read = room.hear(replies), Devices(replies), []
    for frame in range(20 * RATE_HZ // FRAME):
        loudspeaker.until(max(frame, 320) if 290 <= frame < 320 else frame, reference.played)
        read.append(reference.read(frame))
        reference.listen(near[frame * FRAME : (frame + 1) * FRAME], read[-1])
    assert lateness(room, replies, np.concatenate(read), 15) == pytest.approx(reference.LEAD, abs=5)


def test_lost_frames_misplace_nothing(replies):
    room, reference = Room(), Reference(delay_ms=90)
    near, loudspeaker = room.hear(replies), Devices(replies)
    read = np.zeros_like(replies)
    for frame in range(20 * RATE_HZ // FRAME):
        loudspeaker.until(frame, reference.played)
        if 200 <= frame < 240:
            continue
        window = slice(frame * FRAME, (frame + 1) * FRAME)
        read[window] = reference.read(frame)
        reference.listen(near[window], read[window])
    assert lateness(room, replies, read, 15) == pytest.approx(reference.LEAD, abs=5)


def test_another_thread_may_post_while_we_read():
    reference = Reference(delay_ms=100)

    def play():
        for _ in range(500):
            reference.played(tone(480, rate_hz=48_000), 48_000)

    thread = threading.Thread(target=play)
    thread.start()
    frame = 0
    while thread.is_alive() or frame < 200:
        assert np.isfinite(reference.read(frame)).all()
        frame += 1
    thread.join()


def test_nobody_who_never_reads_fills_the_memory():
    reference = Reference()
    for _ in range(5000):
        reference.played(np.zeros(16, np.float32), 48_000)
    assert len(reference._posted) <= 2048


def test_a_long_silence_is_not_resampled_block_by_block_and_changes_nothing(monkeypatch):
    talk = tone(RATE_HZ)
    far = np.concatenate([talk, np.zeros(9 * RATE_HZ + 77, np.float32), talk, np.zeros(4 * RATE_HZ, np.float32), talk])
    silence = np.zeros(len(far), np.float32)
    fills = []
    append = Ring.append
    monkeypatch.setattr(Ring, "append", lambda ring, pcm: (fills.append(len(pcm)), append(ring, pcm)))
    lazy = follow(Reference(delay_ms=100), far, silence)
    few = len(fills)
    monkeypatch.setattr(Reference, "FORGOTTEN_S", np.inf)
    eager = follow(Reference(delay_ms=100), far, silence)
    np.testing.assert_array_equal(lazy, eager)
    assert np.count_nonzero(lazy) > 2.5 * RATE_HZ
    rested = (9 - 3.1 + 4 - 3.1) / 0.032  # frames
    assert few < len(fills) - few - 0.9 * rested
