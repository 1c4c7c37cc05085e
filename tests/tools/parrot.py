"""Conversations through the whole of `ask`, with a model that calls what a test says, and then says what the tool gave it."""

import re
from datetime import datetime
from functools import partial

import numpy as np
import soundfile as sf

import edge_assistant.ask as ask_module
from edge_assistant.ask import Parts, ask_fast
from edge_assistant.config import Config
from edge_assistant.equipment import open_equipment
from edge_assistant.recording import Recording
from edge_assistant.runtime import Token
from edge_assistant.runtimes.scripted import ScriptedSession
from edge_assistant.sinks import NullSink

CLOCK = datetime(2026, 11, 24, 14, 5)
SAID = re.compile(r'say:<\|"\|>(.*?)<\|"\|>')
FAULT = re.compile(r'error:<\|"\|>(.*?)<\|"\|>')


def call(tool, /, **arguments):
    from edge_assistant.prompt import ToolCall, format_call

    return format_call(ToolCall(tool, arguments)) + "<|tool_response>"


def pieces(session, line):
    """Write a line into the session's cache, as a model would."""
    for number, piece in enumerate(re.findall(r"<[^<>]*>|[^<>]+", line)):
        session._add(piece)
        yield Token(number, piece, 1.0, stop=piece in ("<turn|>", "<|tool_response>"))


class Parrot(ScriptedSession):
    """One line of the script for every turn of the user's; after a tool's response, what that says."""

    turns = 0

    def decode(self, sampling):
        text = self.text
        if text.endswith("<tool_response|>"):
            response = text[text.rindex("response:") :]
            said, fault = SAID.search(response), FAULT.search(response)
            line = f"It says no: {fault[1]}.<turn|>" if fault else f"{said[1] if said else response}<turn|>"
        else:
            line = self.replies[self.turns]
            self.turns += 1
        yield from pieces(self, line)


class Tone:
    """A voice of one second a sentence."""

    pace = 1.0

    def __init__(self):
        self.said = []

    def open(self):
        pass

    def close(self):
        pass

    def say(self, text):
        self.said.append((text, self.pace))
        return np.full(16_000, 0.5, np.float32), 16_000


class Loudness(NullSink):
    """Keeps how loud it was, second by second of sound."""

    rate_hz = 16_000

    def __init__(self):
        super().__init__()
        self.levels = []

    def take(self, block):
        if block.any():
            self.levels.append(float(np.abs(block).max()))


class Talk:
    """What happened."""

    def __init__(self, tmp_path, monkeypatch, *replies, config=None, session=None, root=None, folder=None, mute=None, run=None):
        wav = tmp_path / "speech.wav"
        sf.write(wav, np.full(16_000, 0.1, np.float32), 16_000)
        more = {
            "mute": mute,
            **({"folder": folder} if folder else {}),
            **({"root": root} if root else {}),
            **({"run": run} if run else {}),
        }
        monkeypatch.setattr(ask_module, "open_equipment", partial(open_equipment, **more))
        self.moments, self.voice, self.sink = [], Tone(), Loudness()
        self.session = session or Parrot(replies)
        parts = Parts(
            self.session,
            lambda pcm: float(np.abs(pcm).max() > 0.05),
            self.voice,
            self.sink,
            self.moments.append,
            lambda: CLOCK,
            tools=config or Config(),
        )
        ask_fast([Recording(wav)] * len(self.session.replies), parts)

    def all(self, event, key):
        return [moment.more[key] for moment in self.moments if moment.event == event]

    @property
    def said(self):
        return self.all("say", "text")

    @property
    def responses(self):
        return self.all("tool_response", "response")
