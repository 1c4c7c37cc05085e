"""A conversation as a service: it says when it is ready, is watched while it hears, reloads, ends, and may be left alone.

load the model ─► warm up ─► first frame ─► READY ─► sign of life every so many frames ─► SIGTERM: the sentence ends
                                              ▲ │
                                              │ └─► SIGHUP: a good configuration is taken up at the next rest
                                              └──────────────────────────────────────────────┘
"""

import logging
import os
import queue
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_assistant.assistant import Assistant, once
from edge_assistant.errors import BundleError, ConfigError, DeviceError, EdgeAssistantError
from edge_assistant.frames import SAMPLE_RATE_HZ, Due, Event, Frame, Strained, frames
from edge_assistant.health import SAID, SHORT_OF_MEMORY, HealthWatch
from edge_assistant.led import Led
from edge_assistant.microphone import FRAME_S, Microphone
from edge_assistant.notify import Notifier
from edge_assistant.prompt import BOS
from edge_assistant.runtime import Sampling, Session
from edge_assistant.saying import say_aloud
from edge_assistant.talk import Host, Inbox, Parts, TalkConfig, talk
from edge_assistant.voice import Voice
from edge_assistant.worker import KEEP
from edge_assistant.zeros import Change

log = logging.getLogger(__name__)

SIGNS = 4
"""Signs of life in the time after which the service manager loses its patience."""
STUCK_FRAMES = frames(180_000)
"""A worker that does not come back for so long never will: the longest reply of the slowest model takes half as long."""
FAULTS: Mapping[type[EdgeAssistantError], str] = {
    BundleError: "My model is missing or damaged.",
    ConfigError: "My settings are wrong.",
    DeviceError: "I have no loudspeaker, or may not use it.",
}
"""In place of paths and numbers, which nobody wants to hear."""
ZEROS = "microphone silent"
"""The trouble of one that is there, and gives nothing but zeros."""
FAULT_SAID_S = 15.0
"""Time to say why we cannot start."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a configuration comes to."""

    talk: TalkConfig
    make_parts: Callable[[Session], Parts]
    """Raises EdgeAssistantError for what cannot be."""
    fixed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings, and their values, that are taken up at the next start only."""
    announce: bool = True
    """Say aloud when it is ready."""


class Vitals:
    """Whether the process still does its work, all of it: it hears, it decides, and its workers come back."""

    def __init__(self) -> None:
        self._asked = 0
        """The frame at which the workers were asked."""
        self._answers: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._awaited = 0

    def look(self, assistant: Assistant, microphone: Microphone) -> bool:
        """Is all well? Called in the deciding thread, which is well then."""
        workers = assistant.workers
        if self._answers.qsize() >= self._awaited:
            self._asked, self._awaited = assistant.taken, self._awaited + len(workers)
            for worker in workers:
                worker.do(KEEP, once(self._answers.put, None))
        return microphone.explained and assistant.taken - self._asked < STUCK_FRAMES


class Daemon:
    """The service, from a loaded model to SIGTERM."""

    def __init__(
        self, load: Callable[[], Setup], session: Callable[[], Session], notifier: Notifier, led: Led, stamp: Path | None = None
    ) -> None:
        """`load` reads the configuration, and raises EdgeAssistantError if it is bad; `session` begins a conversation; `stamp`:
        see `say_fault`.
        """
        self._load, self._session, self._notifier, self._led, self._stamp = load, session, notifier, led, stamp
        self._inbox: Inbox = queue.SimpleQueue()
        self._setup: Setup | None = None
        """The last one with which it got ready; at first, the first."""
        self._next: tuple[Setup, Parts] | None = None
        """What a good SIGHUP brought: taken up at the next rest."""
        self._hup = self._ended = False
        self._listening = self._ready = self._leaving = False
        """Of the present conversation: it listens; the manager was told READY; it is about to end."""
        self._sign = 0
        """The frame of the last sign of life."""
        self._vitals = Vitals()
        self._used = {"microphone": "", "loudspeaker": ""}
        """Devices by their stable names; "" for one that is not there."""
        self._troubles = set[str]()

    def run(self) -> None:
        """Talk until SIGTERM.

        Raises:
            EdgeAssistantError: it cannot start.
        """
        signal.signal(signal.SIGHUP, self._on_hup)
        self._setup = setup = self._load()
        parts = setup.make_parts(self._session())
        warm_up(parts.session)
        with HealthWatch(self._board_changed):
            while not self._ended:
                try:
                    self._talk(setup, parts)
                except EdgeAssistantError as error:
                    if self._ready or setup is self._setup:
                        raise
                    log.error("the new configuration does not work, the old one goes on: %s", error)
                    self._next = self._setup, self._setup.make_parts(self._session())
                if self._next is None:
                    return
                (setup, parts), self._next = self._next, None

    def _talk(self, setup: Setup, parts: Parts) -> None:
        self._listening = self._ready = self._leaving = False
        self._sign, self._vitals = 0, Vitals()
        self._inbox = inbox = queue.SimpleQueue[Frame | Event | None]()
        if self._ended:
            return  # SIGTERM found the inbox of before
        if conditions := self._troubles & SAID.keys():
            inbox.put(Strained(spare=bool(conditions), shed=False))

        def took(assistant: Assistant, microphone: Microphone) -> None:
            if self._listening and not self._ready and microphone.explained:
                self._get_ready(setup, heard=bool(microphone.used))
            self._took(assistant, microphone)

        talk(setup.talk, parts, Host(self._listens, self._device_changed, self._zeros_changed, took, patient=True, inbox=inbox))

    def _get_ready(self, setup: Setup, *, heard: bool) -> None:
        self._ready, self._setup = True, setup
        if self._stamp is not None:
            with suppress(OSError):
                self._stamp.unlink()
        self._notifier.ready()
        self._show()
        if setup.announce and heard:
            self._inbox.put(Due("I am ready.", "listening"))

    def _listens(self, microphone: str, loudspeaker: str) -> None:
        signal.signal(signal.SIGTERM, self._on_term)  # until now there was nothing to put in order
        self._listening = True
        self._used = {"microphone": microphone, "loudspeaker": loudspeaker}
        self._troubles |= {f"{kind} lost" for kind, name in self._used.items() if not name}
        if not microphone:
            self._inbox.put(Due("I have no microphone.", "error"))

    def _took(self, assistant: Assistant, microphone: Microphone) -> None:
        """A frame was taken: the only place from which signs of life come."""
        period_s = self._notifier.watchdog_s
        if period_s and (assistant.taken - self._sign) * FRAME_S >= period_s / SIGNS:
            self._sign = assistant.taken
            if self._vitals.look(assistant, microphone):
                self._notifier.alive()
        if self._hup:
            self._hup = False
            self._reload()
        if self._next is not None and assistant.at_rest and not self._leaving:
            self._leaving = True
            self._notifier.reloading()
            self._inbox.put(None)

    def _reload(self) -> None:
        try:
            setup = self._load()
            parts = setup.make_parts(self._session())
        except EdgeAssistantError as error:
            log.error("the new configuration is refused, the old one goes on: %s", error)
            return
        assert self._setup is not None
        for name, value in setup.fixed.items():
            if value != self._setup.fixed[name]:
                log.warning("%s = %s is taken up at the next start only", name, value)
        log.warning("the configuration is read again")
        self._next = setup, parts

    def _device_changed(self, kind: str, present: bool, name: str) -> None:
        self._used[kind] = name if present else ""
        (self._troubles.discard if present else self._troubles.add)(f"{kind} lost")
        if kind == "microphone":
            self._troubles.discard(ZEROS)  # whatever this one gives is still to be heard
        self._show()

    def _zeros_changed(self, change: Change) -> None:
        (self._troubles.add if change.zeros else self._troubles.discard)(ZEROS)
        self._show()

    def _board_changed(self, conditions: frozenset[str], begun: frozenset[str]) -> None:
        self._troubles -= SAID.keys() - conditions
        self._troubles |= conditions
        self._inbox.put(Strained(spare=bool(conditions), shed=SHORT_OF_MEMORY in begun))
        for condition in sorted(begun):
            self._inbox.put(Due(SAID[condition], "error"))
        self._show()

    def _show(self) -> None:
        troubles = "; ".join(sorted(self._troubles))
        well = f"listening ({', '.join(self._used.values())})" if self._ready else "starting"
        self._notifier.status(troubles or well)
        self._led.show("fault" if troubles else "ready" if self._ready else "starting")

    def _on_hup(self, _signal: int, _frame: object) -> None:
        self._hup = True

    def _on_term(self, _signal: int, _frame: object) -> None:
        self._ended = True
        self._notifier.stopping()
        self._inbox.put(None)


def warm_up(session: Session) -> None:
    """Hear and answer once, and forget it: every page of the model is in memory, every kernel has run."""
    session.feed_text(BOS)
    session.begin_audio()
    session.feed_audio(np.zeros(SAMPLE_RATE_HZ // 2, np.float32))
    session.end_audio()
    next(iter(session.decode(Sampling(max_tokens=1))), None)
    session.cut(0)


def say_fault(error: EdgeAssistantError, voice: Voice, loudspeaker: str | None, stamp: Path | None) -> None:
    """Say why it cannot start, where a voice can speak: once, however often the service manager tries again.

    `stamp` is a file that outlives this process, and holds what it was.
    """
    said = f"I cannot start. {next((text for kind, text in FAULTS.items() if isinstance(error, kind)), f'{error.what}.')}"
    if stamp is not None:
        try:
            if stamp.is_file() and stamp.read_text() == error.what:
                return
            stamp.write_text(error.what)
        except OSError as unkept:
            log.warning("it may be said again: %s", unkept)
    try:
        say_aloud(said, voice, loudspeaker, "error", FAULT_SAID_S)
    except EdgeAssistantError as mute:
        log.error("it cannot be said aloud either: %s", mute)


def runtime_folder() -> Path | None:
    """Where systemd lets a service keep what is gone at the next boot."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(folder) if folder else None
