"""Both workers keep one contract; the threaded one also under real threads."""

import queue
import threading
import time

import pytest

from edge_assistant.frames import DecodeEnded, Failed, Token
from edge_assistant.worker import KEEP, CrankWorker, ThreadWorker


class Threaded:
    """A worker with its inbox."""

    def __init__(self):
        self.inbox = queue.SimpleQueue()
        self.worker = ThreadWorker("brain", self.inbox.put)

    def news(self, count):
        return [self.inbox.get(timeout=5) for _ in range(count)]


class Cranked:
    """The same without a thread."""

    def __init__(self):
        self.inbox = queue.SimpleQueue()
        self.worker = CrankWorker("brain", self.inbox.put)

    def news(self, count):
        while self.inbox.qsize() < count:
            assert self.worker.step()
        return [self.inbox.get() for _ in range(count)]


@pytest.fixture(params=[Threaded, Cranked])
def it(request):
    made = request.param()
    with made.worker:
        yield made


def tokens(reply, count, closed=None):
    try:
        for n in range(count):
            yield Token(reply, str(n))
    finally:
        if closed is not None:
            closed.append(reply)


def test_jobs_are_done_in_order(it):
    it.worker.do(1, tokens(1, 2))
    it.worker.do(2, tokens(2, 1))
    assert it.news(3) == [Token(1, "0"), Token(1, "1"), Token(2, "0")]


def test_a_dropped_job_is_closed_at_its_next_yield(it):
    closed = []
    it.worker.do(1, tokens(1, 10**9, closed))
    it.news(3)
    it.worker.drop(1)
    it.worker.do(2, tokens(2, 1))
    while it.news(1) != [Token(2, "0")]:
        pass
    assert closed == [1]


def test_a_job_dropped_before_it_began_never_begins(it):
    it.worker.drop(1)
    it.worker.do(1, tokens(1, 1))
    it.worker.do(2, tokens(2, 1))
    assert it.news(1) == [Token(2, "0")]


def test_what_must_be_kept_is_never_dropped(it):
    it.worker.drop(10**6)
    it.worker.do(KEEP, tokens(7, 1))
    assert it.news(1) == [Token(7, "0")]


def test_a_fault_is_news_and_not_the_end(it):
    def breaks():
        yield Token(1, "a")
        raise ValueError("boom")

    it.worker.do(1, breaks())
    it.worker.do(2, tokens(2, 1))
    first, fault, after = it.news(3)
    assert (first, after) == (Token(1, "a"), Token(2, "0"))
    assert isinstance(fault, Failed)
    assert (fault.reply, fault.worker, str(fault.error)) == (1, "brain", "boom")


def test_a_job_that_waits_is_called_again(it):
    room = []

    def waits():
        while not room:
            yield None
        yield DecodeEnded(1)

    it.worker.do(1, waits())
    if isinstance(it, Cranked):
        assert not it.worker.step()
    room.append(True)
    assert it.news(1) == [DecodeEnded(1)]


def test_leaving_stops_a_job_that_never_ends():
    closed = []
    made = Threaded()
    before = threading.active_count()
    with made.worker:
        made.worker.do(KEEP, tokens(1, 10**12, closed))
        made.worker.do(KEEP, tokens(2, 10**12, closed))
        made.news(1)
        start = time.monotonic()
    assert time.monotonic() - start < 2
    assert threading.active_count() == before
    assert closed == [1]
