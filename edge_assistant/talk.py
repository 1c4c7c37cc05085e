"""Microphone, loudspeaker and everything between: a conversation that goes on until it is stopped."""

import logging
import queue
import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_assistant.assembly import answer_rings, make_brain, make_tools, open_timers
from edge_assistant.assistant import Assistant
from edge_assistant.attention import AttentionConfig
from edge_assistant.audio_record import AudioRecord
from edge_assistant.button import Button, GpioButtons, KeyButtons
from edge_assistant.config import Config
from edge_assistant.ears import EchoEars, Heard, PlainEars, Spot, SpotSaid
from edge_assistant.echo import Echo
from edge_assistant.echo.system import find_cancelled
from edge_assistant.endpoint import EndpointConfig
from edge_assistant.equipment import open_equipment
from edge_assistant.errors import UsageError
from edge_assistant.fastpath import CommandListener, Reaction
from edge_assistant.frames import Due, Event, Frame, Muted, Released, Spoken, Stopped, Woken, frames
from edge_assistant.hearing import HearingConfig
from edge_assistant.journal import Journal
from edge_assistant.line import Changed
from edge_assistant.microphone import FRAME_S, Microphone
from edge_assistant.mouth import SpeakingMouth
from edge_assistant.runtime import Pcm, Session
from edge_assistant.sinks import DeviceSink
from edge_assistant.speaker import Speaker
from edge_assistant.timeline import Moment, Timeline
from edge_assistant.turn import Command, Hear, State
from edge_assistant.vad import Vad
from edge_assistant.voice import Voice
from edge_assistant.wallclock import SystemClock
from edge_assistant.worker import ThreadWorker
from edge_assistant.zeros import SAID, SAID_AFTER, Change

log = logging.getLogger(__name__)

Inbox = queue.SimpleQueue[Frame | Event | None]

LEAD_IN_MS = 300
"""Hum before the first word after a long silence: amplifiers that have fallen asleep wake from it."""
FINISH_S = 1.0
"""At the end, what is left of a sentence is spoken for so long; letting everything go takes some tenths of a second more."""
UNHEARD_FRAMES = frames(3000)
"""A microphone tells what it is with its first block; after so long without one it has troubles of its own."""


@dataclass(frozen=True, slots=True)
class TalkConfig:
    """What a conversation is like."""

    microphone: str | None = None
    """A stable name of `edge-assistant devices`; None takes the default."""
    loudspeaker: str | None = None
    echo: str = "speexdsp"
    """Strategy against our own echo."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    hearing: HearingConfig | None = field(default_factory=HearingConfig)
    """What is heard well enough; None answers everything."""
    journal: Path | None = None
    record_audio: Path | None = None
    pins: dict[Button, int] = field(default_factory=dict[Button, int])
    """Buttons on a Raspberry Pi's pins, by Broadcom's numbers."""
    tools: Config = field(default_factory=Config)
    """What of the configuration is for tools."""
    seconds: float | None = None
    """How long to talk; None until it is stopped."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an assistant is made of, apart from its devices."""

    session: Session
    vad: Vad
    voice: Voice
    show: Callable[[Moment], None]
    wake: Spot | None = None
    stop: SpotSaid | None = None
    judge: Callable[[Pcm], float] | None = None
    listener: CommandListener | None = None
    """Understands commands while the session's model does not."""
    prefixes: Path | None = None
    """Folder that keeps what this model's cache holds after a system turn."""
    state: Path | None = None
    """Folder that keeps timers and alarms; None has them end with the conversation."""


@dataclass(frozen=True, slots=True)
class Host:
    """Whoever has a conversation held: what it is told, and where it may put in a word."""

    ready: Callable[[str, str], None] = lambda microphone, loudspeaker: None
    """It listens, through these devices; "" for one that is not there."""
    changed: Changed = lambda kind, present, name: None
    """A device has gone or come back; on a thread of that device's."""
    zeros: Callable[[Change], None] = lambda change: None
    """The microphone is there and gives nothing but zeros, or gives sound again."""
    took: Callable[[Assistant, Microphone], None] = lambda assistant, microphone: None
    """A frame was taken."""
    patient: bool = False
    """Devices that are not there at the start are waited for."""
    inbox: Inbox = field(default_factory=queue.SimpleQueue[Frame | Event | None])
    """An event put in here is taken like any other; None ends the conversation, after the sentence that is being spoken."""


def talk(config: TalkConfig, parts: Parts, host: Host | None = None) -> None:
    """Talk, until it is stopped.

    Raises:
        EdgeAssistantError: a part cannot do its work. A device that comes and goes later does not raise.
        UsageError: there is no button to press, and the mode wants one.
    """
    host = host or Host()
    inbox = host.inbox
    echo = Echo(config.echo)
    if config.echo == "system":
        cancelled = find_cancelled()
        config = replace(
            config, microphone=config.microphone or cancelled.microphone, loudspeaker=config.loudspeaker or cancelled.loudspeaker
        )
    with ExitStack() as stack:
        clock = SystemClock()
        timers = stack.enter_context(open_timers(clock, parts.state))
        recorders: list[Callable[[Frame | Event, Heard | None], None]] = []
        observers: list[Callable[[Event, list[Command]], None]] = []
        if config.journal:
            judged = parts.judge is not None
            journal = stack.enter_context(
                Journal(config.journal, config.endpoint, config.attention, hearing=config.hearing, judged=judged)
            )
            recorders.append(journal.record)
            observers.append(journal.observe)
        if config.record_audio:
            recorders.append(stack.enter_context(AudioRecord(config.record_audio)).record)

        def changed(kind: str, present: bool, name: str) -> None:
            if present:  # that it is gone has its line
                log.warning("the %s is %s", kind, name)
            if not (kind == "loudspeaker" and not present):  # nobody would hear it
                what = f"The {kind} is back." if present else f"The {kind} is gone."
                inbox.put(Due(what, "listening" if present else "error"))

        def zeros(change: Change) -> None:
            host.zeros(change)
            if change.news:
                inbox.put(Due(SAID, "error") if change.zeros else Due(SAID_AFTER, "listening"))

        changes = _Changes(changed, host.changed)
        sink = stack.enter_context(
            DeviceSink(config.loudspeaker, played=echo.played, changed=changes, lead_in_ms=LEAD_IN_MS, patient=host.patient)
        )
        sink.open()
        speaker = Speaker(sink.rate_hz, inbox.put, patience_s=FRAME_S)

        def mute() -> None:
            microphone.mute()
            inbox.put(Muted(off=True))

        can_unmute = Button.MUTE in config.pins or KeyButtons(lambda button, down: None).present
        equipment = stack.enter_context(
            open_equipment(config.tools, speaker, parts.voice, clock, folder=parts.state, mute=mute if can_unmute else None)
        )
        tools = make_tools(timers, switched=config.tools.tools, more=equipment.tools)
        observers.append(Timeline(parts.show, lambda: round(assistant.taken * FRAME_S * 1000)).observe)

        def wake(_event: Event, commands: list[Command]) -> None:
            if any(isinstance(command, Hear) for command in commands):
                sink.wake()  # there will be an answer

        observers += [wake, answer_rings(timers), equipment.observe]

        mouth = SpeakingMouth(parts.voice, speaker)
        if parts.listener:
            parts.listener.may_cancel = lambda: timers.ringing

        def record(item: Frame | Event, heard: Heard | None) -> None:
            for each in recorders:
                each(item, heard)

        def observe(event: Event, commands: list[Command]) -> None:
            for each in observers:
                each(event, commands)

        assistant = stack.enter_context(
            Assistant(
                ears=EchoEars(PlainEars(parts.vad, parts.wake, parts.stop), echo),
                brain=make_brain(parts.session, tools, parts.prefixes),
                mouth=mouth,
                use=tools.use,
                cancel=tools.cancel,
                due=lambda: [*timers.due(assistant.at_rest), *equipment.due(assistant.at_rest)],
                worker=ThreadWorker,
                inbox=inbox,
                observe=observe,
                record=record,
                endpoint=config.endpoint,
                attention=config.attention,
                hearing=config.hearing,
                judge=parts.judge,
                understand=parts.listener and parts.listener.hear,
                react=Reaction(equipment.volume, mouth.signal),
            )
        )
        sink.connect(speaker)
        assistant.wait_until_ready()
        microphone = stack.enter_context(
            Microphone(config.microphone, inbox.put, changed=changes, zeros=zeros, patient=host.patient)
        )
        _add_buttons(stack, config, microphone, inbox)
        told = False
        for item in iter(inbox.get, None):
            if isinstance(item, Frame):
                sink.tick()
                if not told and (microphone.used or item.number >= UNHEARD_FRAMES):
                    told = True
                    changes.begin(microphone.used, sink.used)
                    host.ready(microphone.used, sink.used)
                if config.seconds is not None and item.number * FRAME_S >= config.seconds:
                    break
            assistant.take(item)
            if isinstance(item, Frame):
                microphone.unhurried, sink.unhurried = assistant.calm, assistant.at_rest
                host.took(assistant, microphone)
        else:
            _finish_sentence(assistant, sink)
        if len(timers) and not parts.state:  # those that are kept go on when this runs again
            log.warning("timers and alarms running: %d; each ends with this conversation", len(timers))


def _finish_sentence(assistant: Assistant, sink: DeviceSink) -> None:
    """Let the sentence that is being spoken come to its end, if that is near."""
    until = time.monotonic() + FINISH_S
    item: Frame | Event | None = None
    while assistant.turn.state is State.REPLYING and not isinstance(item, Spoken):
        try:
            item = assistant.inbox.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return
        if item is None or time.monotonic() >= until:
            return
        if isinstance(item, Frame):
            sink.tick()
        assistant.take(item)


@contextmanager
def ended_by_sigterm(inbox: Inbox) -> Generator[None]:
    """Whoever ends us by SIGTERM, a service manager for one, ends the talk as None does: files are closed and devices let go."""

    def end(_signal: int, _frame: object) -> None:
        inbox.put(None)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Changes:
    """Until it listens, the first news of each device is no news to the user; to the host it is."""

    def __init__(self, changed: Changed, host: Changed) -> None:
        self._changed, self._host = changed, host
        self._known = set[str]()

    def __call__(self, kind: str, present: bool, name: str) -> None:
        self._host(kind, present, name)
        if kind in self._known or not present:
            self._changed(kind, present, name)
        self._known.add(kind)

    def begin(self, microphone: str, loudspeaker: str) -> None:
        """It listens: a device that is not there yet was missed. The first news of one that is may still be on its way."""
        self._known |= {kind for kind, name in (("microphone", microphone), ("loudspeaker", loudspeaker)) if not name}


def _add_buttons(stack: ExitStack, config: TalkConfig, microphone: Microphone, inbox: Inbox) -> None:
    def pressed(button: Button, down: bool) -> None:
        match button, down:
            case Button.TALK, _:
                inbox.put(Woken(held=True) if down else Released())
            case Button.STOP, True:
                inbox.put(Stopped())
            case Button.MUTE, True:
                (microphone.unmute if microphone.muted else microphone.mute)()
                inbox.put(Muted(microphone.muted))
            case _:
                pass

    keys = stack.enter_context(KeyButtons(pressed))
    if config.attention.mode == "button" and not keys.present and Button.TALK not in config.pins:
        raise UsageError("there is no button to press: this is no terminal", "name a pin with --talk-pin, or use another --mode")
    if config.pins:
        stack.enter_context(GpioButtons(pressed, config.pins))
