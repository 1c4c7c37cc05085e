"""Recordings in the place of the microphone: the very path that speech takes, with a clock that can be watched.

Two paces. In real time, frames come when a microphone would have them, on threads, and a moment stands where the wall clock
was. Fast, one thread does everything: a frame is taken when all work that earlier frames caused is done, so computing takes
no time on the audio clock, and the same recordings give the same run.
"""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from edge_assistant.assembly import answer_rings, make_brain, make_tools
from edge_assistant.assistant import Assistant
from edge_assistant.config import Config
from edge_assistant.ears import PlainEars
from edge_assistant.equipment import Equipment, open_equipment
from edge_assistant.errors import BundleError, DeviceError, EdgeAssistantError
from edge_assistant.frames import FRAME_MS, FRAME_SAMPLES, Event, Failed, Frame, WorkEvent
from edge_assistant.mouth import SpeakingMouth
from edge_assistant.recording import Recording
from edge_assistant.runtime import Pcm, Session
from edge_assistant.sinks import NullSink, Sink
from edge_assistant.speaker import Speaker
from edge_assistant.timeline import Moment, Timeline
from edge_assistant.tools.schedule import Timers
from edge_assistant.turn import Command
from edge_assistant.vad import Vad
from edge_assistant.voice import Voice
from edge_assistant.wallclock import counted_clock
from edge_assistant.worker import KEEP, CrankWorker, ThreadWorker, Worker

log = logging.getLogger(__name__)

TAIL_MS = 1000
"""Silence after every recording, at least: longer than the wait for the end of a turn."""
PATIENCE_MS = 600_000
"""Silence after a recording, at most."""
SILENCE: Pcm = np.zeros(FRAME_SAMPLES, np.float32)

Inbox = queue.SimpleQueue[Frame | Event | None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What an assistant is made of."""

    session: Session
    vad: Vad
    voice: Voice
    sink: Sink
    show: Callable[[Moment], None]
    local_time: Callable[[], datetime] = datetime.now
    prefixes: Path | None = None
    """Folder that keeps what this model's cache holds after a system turn."""
    tools: Config = field(default_factory=Config)
    """What of the configuration is for tools."""


def conversation(recordings: Sequence[Recording], at_rest: Callable[[], bool]) -> Iterator[Pcm]:
    """One recording after the other, each followed by silence until the reply to it was heard.

    Raises:
        EdgeAssistantError: a reply does not come to an end.
    """
    for recording in recordings:
        yield from recording.frames()
        silence_ms = 0
        while silence_ms < TAIL_MS or not at_rest():
            if silence_ms >= PATIENCE_MS:
                raise EdgeAssistantError(f"no end of the reply after {PATIENCE_MS // 1000} s", "try a smaller model")
            yield SILENCE
            silence_ms += FRAME_MS


def ask_fast(recordings: Sequence[Recording], parts: Parts) -> None:
    """As fast as this machine can; the same every time."""
    inbox = Inbox()
    speaker = Speaker(parts.sink.rate_hz, inbox.put)
    cranks: list[CrankWorker] = []

    def worker(name: str, post: Callable[[WorkEvent], None]) -> CrankWorker:
        cranks.append(CrankWorker(name, post))
        return cranks[-1]

    clock = counted_clock(lambda: assistant.taken * FRAME_MS / 1000, parts.local_time)
    timers = Timers(clock)
    timeline = Timeline(parts.show, lambda: assistant.taken * FRAME_MS)

    def settle() -> None:
        """Take and do until nobody has anything to do."""
        while True:
            while not inbox.empty():
                item = inbox.get()
                assert item is not None
                assistant.take(item)
            if not any([crank.step() for crank in cranks]):
                return

    with (
        open_equipment(parts.tools, speaker, parts.voice, clock) as equipment,
        _assemble(parts, inbox, speaker, equipment, timers=timers, timeline=timeline, worker=worker) as assistant,
    ):
        parts.sink.connect(speaker)
        settle()
        for number, pcm in enumerate(conversation(recordings, lambda: assistant.at_rest)):
            parts.sink.tick()
            inbox.put(Frame(number, pcm))
            settle()
    _farewell(timers)


def ask_realtime(recordings: Sequence[Recording], parts: Parts) -> None:
    """At the pace of a microphone: what takes time here takes time on the clock."""
    inbox = Inbox()
    wall = _WallClock()
    sink, speaker = _connect(parts.sink, inbox)
    clock = counted_clock(time.monotonic, parts.local_time)
    timers = Timers(clock)
    timeline = Timeline(parts.show, wall.ms)
    stop = threading.Event()

    def microphone() -> None:
        try:
            assistant.wait_until_ready()
            wall.start()
            sound = conversation(recordings, lambda: assistant.at_rest and inbox.empty())
            for number in itertools.count():
                if stop.wait(wall.seconds_until((number + 1) * FRAME_MS)) or (pcm := next(sound, None)) is None:
                    break
                sink.tick()
                inbox.put(Frame(number, pcm))
        except Exception as error:  # noqa: BLE001 - a thread's border: the deciding thread raises it
            inbox.put(Failed(KEEP, "microphone", error))
        inbox.put(None)

    thread = threading.Thread(target=microphone, name="microphone", daemon=True)
    with (
        open_equipment(parts.tools, speaker, parts.voice, clock) as equipment,
        _assemble(parts, inbox, speaker, equipment, timers=timers, timeline=timeline, worker=ThreadWorker) as assistant,
    ):
        thread.start()
        try:
            assistant.run()
        finally:
            stop.set()
            thread.join()
    _farewell(timers)


PACES: dict[str, Callable[[Sequence[Recording], Parts], None]] = {"realtime": ask_realtime, "fast": ask_fast}
"""By the name that the command line gives them."""


class _WallClock:
    """Milliseconds since the microphone opened."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def start(self) -> None:
        self._start = time.monotonic()

    def ms(self) -> int:
        return round((time.monotonic() - self._start) * 1000)

    def seconds_until(self, ms: int) -> float:
        return max(0.0, self._start + ms / 1000 - time.monotonic())


def _assemble(
    parts: Parts,
    inbox: Inbox,
    speaker: Speaker,
    equipment: Equipment,
    *,
    timers: Timers,
    timeline: Timeline,
    worker: Callable[[str, Callable[[WorkEvent], None]], Worker],
) -> Assistant:
    tools = make_tools(timers, parts.local_time, parts.tools.tools, equipment.tools)
    rings = answer_rings(timers)

    def observe(event: Event, commands: list[Command]) -> None:
        timeline.observe(event, commands)
        rings(event, commands)
        equipment.observe(event, commands)

    assistant = Assistant(
        ears=PlainEars(parts.vad),
        brain=make_brain(parts.session, tools, parts.prefixes),
        mouth=SpeakingMouth(parts.voice, speaker),
        use=tools.use,
        cancel=tools.cancel,
        due=lambda: [*timers.due(assistant.at_rest), *equipment.due(assistant.at_rest)],
        worker=lambda name, post: worker(name, _ending(post)),
        inbox=inbox,
        observe=observe,
    )
    return assistant


def _ending(post: Callable[[WorkEvent], None]) -> Callable[[WorkEvent], None]:
    """A model that is damaged ends the conversation: no other question would fare better."""

    def told(event: WorkEvent) -> None:
        damaged = isinstance(event, Failed) and isinstance(event.error, BundleError)
        post(replace(event, reply=KEEP) if damaged else event)

    return told


def _connect(sink: Sink, inbox: Inbox) -> tuple[Sink, Speaker]:
    """A sound device that does not open is no reason not to answer."""
    try:
        sink.open()
        speaker = Speaker(sink.rate_hz, inbox.put, patience_s=FRAME_MS / 1000)
        sink.connect(speaker)
    except DeviceError as error:
        log.warning("%s: the voice goes unheard; --say OUT.wav keeps it", error)
        sink = NullSink()
        speaker = Speaker(sink.rate_hz, inbox.put, patience_s=FRAME_MS / 1000)
        sink.connect(speaker)
    return sink, speaker


def _farewell(timers: Timers) -> None:
    if len(timers):
        log.warning("the conversation is over: %d running timer%s ends with it", len(timers), "s" * (len(timers) > 1))
