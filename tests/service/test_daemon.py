"""The service's own judgement: whether all of it is alive, and what it shows."""

import logging
import threading

import numpy as np
import pytest

from edge_assistant.assistant import once
from edge_assistant.daemon import STUCK_FRAMES, Vitals, warm_up
from edge_assistant.models import find_model
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.verbs.serve import JournalFormatter
from edge_assistant.worker import KEEP, ThreadWorker


class Loop:
    """Of an assistant, what is asked: its workers, and how many frames it has taken."""

    def __init__(self, *workers):
        self.workers, self.taken = list(workers), 0


class Capture:
    explained = True


def finish(loop):
    """Have every worker do what it was given so far."""
    for worker in loop.workers:
        done = threading.Event()
        worker.do(KEEP, once(done.set))
        assert done.wait(5)


def test_a_worker_that_never_comes_back_is_noticed():
    let_go, busy = threading.Event(), threading.Event()

    def stuck():
        busy.set()
        let_go.wait(30)
        return
        yield

    with ThreadWorker("brain", lambda event: None) as brain, ThreadWorker("mouth", lambda event: None) as mouth:
        loop, vitals = Loop(brain, mouth), Vitals()
        assert vitals.look(loop, Capture)
        finish(loop)
        brain.do(KEEP, stuck())
        assert busy.wait(5)
        loop.taken = 100
        assert vitals.look(loop, Capture)
        loop.taken = 99 + STUCK_FRAMES
        assert vitals.look(loop, Capture)
        loop.taken = 101 + STUCK_FRAMES
        assert not vitals.look(loop, Capture)
        let_go.set()
        finish(loop)
        assert vitals.look(loop, Capture)


def test_a_stalled_microphone_is_no_life():
    class Stalled:
        explained = False

    loop, vitals = Loop(), Vitals()
    assert vitals.look(loop, Capture)
    assert not vitals.look(loop, Stalled)


def test_warming_up_leaves_no_trace():
    model = OnnxModel.open(find_model("pocket"))
    warm, cold = model.session(capacity=128), model.session(capacity=128)
    warm_up(warm)
    assert warm.position == 0
    for session in (warm, cold):
        session.feed_text("<bos>hello")
    assert np.array_equal(warm.logits(), cold.logits())


@pytest.mark.parametrize(("level", "text"), [(logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>")])
def test_the_journal_knows_how_serious_a_line_is(level, text):
    record = logging.LogRecord("x", level, "", 0, "one\ntwo", (), None)
    assert JournalFormatter("%(message)s").format(record) == f"{text}one\n{text}two"
