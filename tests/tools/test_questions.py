"""A question about a thing never does the thing.

Two proofs, each of what it says: tools that answer questions cannot change anything; and pocket, hearing questions that it was
trained on in espeak's voice, calls nothing that changes anything. How it fares with questions that it was not trained on is
measured, and is not good: `make bench-questions`.
"""

import sys
from datetime import datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from questions import TELLING, heard

from edge_assistant.models import find_model
from edge_assistant.prompt import ToolCall
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.state import Forgetful
from edge_assistant.tools import Toolbox
from edge_assistant.tools.clock import clock_tools
from edge_assistant.tools.schedule import Timers
from edge_assistant.tools.timer import timer_tools
from edge_assistant.voice import EspeakVoice
from edge_assistant.wallclock import counted_clock

QUESTIONS = [
    "is a timer running", "how much time is left", "when does the timer end", "are there any timers", "is the light on",
    "how bright is the light", "how loud are you", "what is the volume",
]  # fmt: skip
COMMANDS = {"set a timer for ten minutes": "set_timer", "make it louder": "set_volume"}


class Kept(Forgetful):
    """Counts changes."""

    def __init__(self):
        self.changes = 0

    def keep(self, value):
        self.changes += 1


def test_tools_that_answer_cannot_change_anything():
    kept = Kept()
    clock = counted_clock(lambda: 5.0, lambda: datetime(2026, 11, 24, 12, 0))
    timers = Timers(clock, kept)
    box = Toolbox([*clock_tools(lambda: clock().local), *timer_tools(timers)])
    assert "error" not in box.use(ToolCall("set_timer", {"minutes": 10})).values
    assert "error" not in box.use(ToolCall("set_alarm", {"hour": 13})).values
    before, running = kept.changes, timers.running()
    for name, arguments in (("list_timers", {}), ("get_time", {}), ("get_date", {}), ("time_until", {"hour": 19})):
        for _ in range(3):
            assert "error" not in box.use(ToolCall(name, arguments)).values
    assert (kept.changes, timers.running()) == (before, running)
    assert box.use(ToolCall("cancel_timer", {})).values == {"cancelled": 2}
    assert kept.changes > before


@pytest.fixture(scope="module")
def pocket():
    voice = EspeakVoice()
    voice.open()
    yield lambda text: heard(OnnxModel.open(find_model("pocket")), voice, text)
    voice.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_pocket_changes_nothing_when_asked(pocket, question):
    assert pocket(question) in TELLING


@pytest.mark.parametrize("command", COMMANDS)
def test_pocket_does_what_it_is_told(pocket, command):
    assert pocket(command) == COMMANDS[command]
