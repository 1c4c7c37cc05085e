"""The service's own judgement: whether all of it is alive, and what it shows."""

import logging
import queue
import socket
import threading
import time

import numpy as np
import pytest

from edge_assistant.assistant import once
from edge_assistant.daemon import STUCK_FRAMES, Daemon, Vitals, say_fault, warm_up
from edge_assistant.errors import BundleError
from edge_assistant.frames import Due, Strained
from edge_assistant.health import LOW_VOLTAGE, SAID, TOO_HOT, Board, HealthWatch
from edge_assistant.led import Led
from edge_assistant.models import find_model
from edge_assistant.notify import Notifier
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.verbs.serve import JournalFormatter
from edge_assistant.voice import EspeakVoice
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


def drained(inbox):
    found = []
    while True:
        try:
            found.append(inbox.get_nowait())
        except queue.Empty:
            return found


def test_what_the_boards_files_say_is_shown_said_once_and_changes_what_it_does(tmp_path):
    heat = tmp_path / "sys/class/thermal/thermal_zone0/temp"
    bits = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    for file, text in ((heat, "60000"), (bits, "0")):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        daemon = Daemon(lambda: None, lambda: None, Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}), Led(None))
        with HealthWatch(daemon._board_changed, Board(tmp_path).read, every_s=0.02):
            heat.write_text("83000")
            assert manager.recv(100) == b"STATUS=too hot"
            bits.write_text("50001")
            assert manager.recv(100) == b"STATUS=low voltage; too hot"
            time.sleep(0.1)  # more looks at the same
            heat.write_text("60000")
            assert manager.recv(100) == b"STATUS=low voltage"
            bits.write_text("50000")
            assert manager.recv(100) == b"STATUS=starting"
    spared, cool = Strained(spare=True, shed=False), Strained(spare=False, shed=False)
    hot, weak = (Due(SAID[what], "error") for what in (TOO_HOT, LOW_VOLTAGE))
    assert drained(daemon._inbox) == [spared, hot, spared, weak, spared, cool]


def test_a_fault_is_said_once_and_again_where_nothing_can_be_kept(tmp_path, caplog):
    error = BundleError("a file was altered", "fetch it again")
    for folder, tries in ((tmp_path, 1), (tmp_path / "nowhere", 2)):
        caplog.clear()
        for _ in range(2):
            say_fault(error, EspeakVoice(), "no such device", folder / "fault")
        assert caplog.text.count("it cannot be said aloud either") == tries
    assert "may be said again" in caplog.text
