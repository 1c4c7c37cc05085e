import threading

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_assistant.errors import UsageError
from edge_assistant.frames import Sounding, Spoken
from edge_assistant.sinks import FileSink, NullSink, choose_sink
from edge_assistant.speaker import CAPACITY_S, Speaker

RATE_HZ = 1000


def speaker(**more):
    news = []
    return Speaker(RATE_HZ, news.append, **more), news


def ones(samples):
    return np.ones(samples, np.float32)


def test_a_sentence_is_spoken_when_its_last_sample_has_left():
    it, news = speaker()
    it.write(1, ones(250))
    it.mark(Spoken(1, "Hello."))
    assert it.pull(100).all()
    assert news == [Sounding(1)]
    assert it.pull(100).all()
    assert it.pull(100).tolist() == [1.0] * 50 + [0.0] * 50
    assert news == [Sounding(1), Spoken(1, "Hello.")]
    assert not it.pull(100).any()


def test_it_is_heard_later_than_it_left():
    it, news = speaker()
    it.delay(0.15)
    it.write(1, ones(100))
    it.mark(Spoken(1, "Hello."))
    it.pull(100)
    assert news == []
    it.pull(100)
    assert news == [Sounding(1)]
    it.pull(100)
    assert news == [Sounding(1), Spoken(1, "Hello.")]


def test_flush_silences_at_once_and_for_what_still_comes():
    it, news = speaker()
    it.write(1, ones(500))
    it.mark(Spoken(1, "never heard"))
    it.pull(100)
    it.flush(1)
    assert not it.pull(100).any()
    assert it.write(1, ones(100))  # the voice was still at it
    it.mark(Spoken(1, "too late"))
    assert not it.pull(100).any()
    it.write(2, ones(50))
    assert it.pull(50).all()
    assert news == [Sounding(1), Sounding(2)]


def test_it_is_bounded():
    it, _ = speaker()
    written = 0
    while it.write(1, ones(100)):
        written += 100
    assert written == CAPACITY_S * RATE_HZ
    it.pull(100)
    assert it.write(1, ones(100))


def test_a_piece_longer_than_the_queue_still_fits_an_empty_one():
    it, _ = speaker()
    assert it.write(1, ones(100_000))
    assert not it.write(1, ones(1))


def test_a_full_queue_is_left_when_flushed():
    it, _ = speaker(patience_s=30)
    it.write(1, ones(100_000))
    waiting = threading.Thread(target=it.write, args=(1, ones(100)))
    waiting.start()
    it.flush(1)
    waiting.join(timeout=5)
    assert not waiting.is_alive()
    assert not it.pull(100).any()


def test_a_full_queue_takes_more_as_soon_as_something_is_pulled():
    it, _ = speaker(patience_s=30)
    it.write(1, ones(round(CAPACITY_S * RATE_HZ)))
    waiting = threading.Thread(target=it.write, args=(1, ones(100)))
    waiting.start()
    it.pull(100)
    waiting.join(timeout=5)
    assert not waiting.is_alive()


@given(pieces=st.lists(st.integers(1, 300), max_size=20), pulls=st.lists(st.integers(1, 400), min_size=1, max_size=40))
@settings(deadline=None)
def test_for_any_split_the_sound_is_the_same(pieces, pulls):
    it, news = speaker()
    sound = np.arange(1, sum(pieces) + 1, dtype=np.float32)
    begin = 0
    for size in pieces:
        it.write(1, sound[begin : begin + size])
        begin += size
        it.mark(Spoken(1, str(begin)))
    heard = np.concatenate([it.pull(n) for n in pulls])
    expected = np.zeros(len(heard), np.float32)
    expected[: len(sound)] = sound[: len(heard)]
    assert (heard == expected).all()
    told = [int(e.text) for e in news if isinstance(e, Spoken)]
    assert told == [int(n) for n in np.cumsum(pieces) if n <= len(heard)]


def test_a_file_of_the_conversation(tmp_path):
    path = tmp_path / "out.wav"
    with FileSink(path) as sink:
        it = Speaker(sink.rate_hz, lambda event: None)
        sink.connect(it)
        for _ in range(10):
            sink.tick()
        it.write(1, 0.5 * ones(sink.rate_hz))
        for _ in range(90):
            sink.tick()
        assert not path.exists()  # not before it is whole
    sound, rate_hz = sf.read(path)
    assert len(sound) == 100 * 512 * rate_hz // 16_000
    assert sound.nonzero()[0][0] == 10 * 512 * rate_hz // 16_000
    assert np.count_nonzero(sound) == rate_hz
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_a_conversation_that_broke_is_removed(tmp_path):
    with pytest.raises(RuntimeError), FileSink(tmp_path / "out.wav"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "no/such/folder/out.wav"])
def test_where_no_file_can_be_written(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        FileSink(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_fast_without_a_file_is_not_played():
    assert type(choose_sink(None, aloud=False)) is NullSink


def test_a_signal_is_mixed_in_whatever_sounds_or_is_held_or_flushed():
    speaker = Speaker(16_000, lambda event: None)
    speaker.write(1, np.full(8, 0.5, np.float32))
    speaker.signal(np.full(6, 0.25, np.float32))
    assert list(speaker.pull(4)) == [0.75] * 4
    speaker.hold()
    assert speaker.waiting
    assert list(speaker.pull(4)) == [0.25, 0.25, 0, 0]
    assert not speaker.waiting
    speaker.resume()
    assert list(speaker.pull(4)) == [0.5] * 4
    speaker.signal(np.full(2, 0.25, np.float32))
    speaker.flush(1)
    assert list(speaker.pull(4)) == [0.25, 0.25, 0, 0]


def test_what_is_held_goes_on_where_it_was():
    speaker = Speaker(16_000, lambda event: None)
    speaker.write(1, np.arange(1, 9, dtype=np.float32))
    assert list(speaker.pull(3)) == [1, 2, 3]
    speaker.hold()
    assert not speaker.pull(100).any()
    speaker.resume()
    assert list(speaker.pull(5)) == [4, 5, 6, 7, 8]


def test_a_new_volume_begins_without_a_click_and_holds_for_what_comes_after():
    it, _ = speaker()
    it.write(1, ones(400))
    it.pull(100)
    it.gain = 0.5
    assert it.pull(100).tolist() == pytest.approx(np.linspace(1, 0.5, 100).tolist())
    assert it.pull(100).tolist() == [0.5] * 100
    it.gain = 1.0
    assert it.pull(100).tolist() == pytest.approx(np.linspace(0.5, 1, 100).tolist())
    it.gain = 0.25
    assert not it.pull(100).any()
    it.signal(ones(100))
    assert it.pull(100).tolist() == [0.25] * 100  # in silence nothing clicks
