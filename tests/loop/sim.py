"""The world on the microphone's clock. Assistant, brain, tools and loudspeaker are the real ones; only the workers' speed, the
voice and the model's words are scripted. A mark is a frame: '#' is speech, '~' is speech that is too faint, '.' is
silence; at '!' somebody presses the stop key, in silence, and at 's' it was heard that they had said “stop”. At a letter of
COMMANDS the listener tells that this command was understood in what was said, at 'w' that it is taken back."""

import queue
import re
from collections import deque
from datetime import datetime

import numpy as np

from edge_assistant.assembly import answer_rings
from edge_assistant.assistant import Assistant
from edge_assistant.brain import Brain
from edge_assistant.ears import Heard
from edge_assistant.fastpath import Reaction
from edge_assistant.frames import (
    FRAME_MS,
    FRAME_SAMPLES,
    Commanded,
    Failed,
    Frame,
    Response,
    SpeechEnded,
    SpeechStarted,
    Spoken,
    Stopped,
    Unclear,
    frames,
)
from edge_assistant.hearing import HearingConfig
from edge_assistant.preferences import Preferences
from edge_assistant.prompt import ToolCall
from edge_assistant.runtimes.scripted import ScriptedSession
from edge_assistant.speaker import Speaker
from edge_assistant.timeline import Timeline
from edge_assistant.tools import Toolbox
from edge_assistant.tools.clock import clock_tools
from edge_assistant.tools.schedule import Timers
from edge_assistant.tools.timer import timer_tools
from edge_assistant.tools.volume import Volume, volume_tools
from edge_assistant.turn import STOP, State
from edge_assistant.wallclock import counted_clock
from edge_assistant.worker import KEEP

RATE_HZ = 16_000
COMMANDS = {
    "u": (ToolCall("set_volume", {"change": "up"}),),
    "m": (ToolCall("set_volume", {"percent": 0}),),
    "c": (ToolCall("cancel_timer", {}),),
    "q": (STOP,),
    "w": (),
}


class World:
    """Feed it marks with `run`."""

    def __init__(
        self,
        *replies,
        encode_ms=0,
        token_ms=128,
        say_ms=640,
        tool_ms=32,
        breaks=None,
        prompting=None,
        probability=1.0,
        capacity=4096,
        journal=None,
        ears=None,
        **options,
    ):
        self.marks = ""
        self.now, self.log, self.moments, self.workers, self.sounding, self.signals = 0, [], [], [], [], []
        self.prepared = []
        self.late = 0
        self.used: list[ToolCall] = []
        self.costs = {"brain": frames(token_ms), "mouth": 1, "hands": frames(tool_ms), "judge": 3, "listener": 0}
        self.encode = frames(encode_ms)
        self.session = ScriptedSession(replies, capacity=capacity, probability=probability)
        if prompting:
            self.session.prompting = prompting
        self.inbox = queue.SimpleQueue()
        self.speaker = Speaker(RATE_HZ, self.inbox.put)
        self.timers = Timers(counted_clock(lambda: self.now * FRAME_MS / 1000, lambda: datetime(2026, 11, 24, 14, 5)))
        self.rings = answer_rings(self.timers)
        self.volume = Volume(lambda gain: setattr(self.speaker, "gain", gain), Preferences(None, {"volume_percent": 50}))
        clock = clock_tools(lambda: datetime(2026, 11, 24, 14, 5))
        self.tools = Toolbox([*clock, *timer_tools(self.timers), *volume_tools(self.volume)])
        self.timeline = Timeline(self.moments.append, lambda: self.now * FRAME_MS)
        self.breaks = breaks or {}
        self.assistant = Assistant(
            ears=ears or self.hear,
            brain=Brain(self.session),
            mouth=Mouth(self, say_ms),
            use=self.use,
            due=lambda: list(self.timers.due(self.assistant.at_rest)),
            worker=self.worker,
            inbox=self.inbox,
            observe=self.note,
            react=Reaction(self.volume, lambda sound: self.signals.append((self.now, sound))),
            **({"record": journal.record} if journal else {}),
            **options,
        )
        self.journal = journal
        self.assistant.__enter__()

    def hear(self, frame: Frame) -> Heard:
        mark = self.marks[frame.number]
        return Heard(frame.pcm, float(mark in "#~"), stopped=mark == "s", power=0.01 if mark == "#" else 1e-8)

    def worker(self, name, post):
        self.workers.append(SimWorker(self, name, post))
        return self.workers[-1]

    def use(self, call: ToolCall, confirmed: bool) -> Response:
        self.used.append(call)
        self.fail("hands")
        return self.tools.use(call, confirmed)

    def fail(self, part):
        if part in self.breaks:
            raise RuntimeError(self.breaks[part])

    def note(self, event, commands):
        self.log += [(self.now, x) for x in (event, *commands)]
        self.timeline.observe(event, commands)
        self.rings(event, commands)
        if self.journal:
            self.journal.observe(event, commands)

    def run(self, marks):
        self.marks += marks
        for mark in marks:
            block = self.speaker.pull(FRAME_SAMPLES)
            if np.count_nonzero(block):
                self.sounding.append((self.now, self.assistant.turn.state))
            self.now += 1
            for worker in self.workers:
                worker.tick()
            if mark == "!":
                self.inbox.put(Stopped())
            if mark in COMMANDS:
                self.inbox.put(Commanded(self.assistant.turn.reply, COMMANDS[mark]))
            value = self.now if mark in "#~" else -self.now
            self.inbox.put(Frame(self.now - 1, np.full(FRAME_SAMPLES, value, np.float32)))
            while not self.inbox.empty():
                item = self.inbox.get()
                self.late += not isinstance(item, Frame) and self.assistant.turn.is_late(item)
                self.assistant.take(item)
        return self

    @property
    def state(self):
        return self.assistant.turn.state

    @property
    def settled(self):
        """Nothing is said or done any more, and nothing will be in the next minutes if nobody speaks."""
        at_work = any(worker.job or worker.jobs or worker.event for worker in self.workers)
        soon = any(left_s < 120 for _, left_s in self.timers.running())
        return self.state is State.IDLE and self.speaker.idle and not (at_work or soon or self.timers.ringing)

    @property
    def said(self):
        return [x.text for x in self.all("Say")]

    @property
    def heard_frames(self):
        """Numbers of the frames that the model's cache holds, from 1, in the order in which they were fed."""
        return [abs(int(pcm[0])) for pcm in self.session.sound]

    def when(self, kind):
        return [frame for frame, x in self.log if type(x).__name__ == kind]

    def all(self, kind):
        return [x for _, x in self.log if type(x).__name__ == kind]


class SimWorker:
    """A worker whose every step takes its time on the clock."""

    def __init__(self, world, name, post):
        self.world, self.name, self.post, self.cost = world, name, post, world.costs[name]
        self.jobs, self.wanted, self.job, self.until, self.event = deque(), 0, None, 0, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def do(self, reply, job):
        self.jobs.append((reply, job))

    def drop(self, reply):
        self.wanted = reply + 1

    def tick(self):
        if self.world.now < self.until:
            return
        if self.event is not None:
            self.post(self.event)
            self.event = None
        while self.job or self.jobs:
            reply, steps = self.job or self.jobs.popleft()
            self.job = (reply, steps)
            event, over = None, False
            try:
                if reply < self.wanted:
                    over = True
                else:
                    if reply != KEEP and steps.__name__ != "tidy":
                        self.world.fail(self.name)
                    event = next(steps)
                    if event is None:  # it waits for the loudspeaker
                        return
            except StopIteration:
                over = True
            except Exception as error:  # noqa: BLE001 - the border of a worker
                event, over = Failed(reply, self.name, error), True
            if over:
                steps.close()
                self.job = None
            cost = self.world.encode if reply == KEEP else 0 if over else self.cost
            if cost:
                self.event, self.until = event, self.world.now + cost
                return
            if event is not None:
                self.post(event)


class Mouth:
    """A voice that takes `say_ms` for every sentence."""

    def __init__(self, world, say_ms):
        self.world, self.samples = world, say_ms * RATE_HZ // 1000

    def open(self):
        pass

    def close(self):
        pass

    def say(self, reply, text):
        while not self.world.speaker.write(reply, np.ones(self.samples, np.float32)):
            yield None

    def prepare(self, text):
        self.world.prepared.append((self.world.now, text))

    def sound(self, reply, name):
        yield from self.say(reply, "")

    def signal(self, name):
        self.world.signals.append((self.world.now, name))

    def mark(self, event: Spoken):
        self.world.speaker.mark(event)

    def flush(self, reply):
        self.world.speaker.flush(reply)

    def hold(self):
        self.world.speaker.hold()

    def resume(self):
        self.world.speaker.resume()


CONVERSATION = re.compile(r"<bos>(\n?<\|turn>user\n[^<♪]*(<\|audio>♪*<audio\|>)+<turn\|>\n<\|turn>model\n[^♪]*?<turn\|>)*\Z")
REPLY = re.compile(r"<\|turn>model\n(.*?)<turn\|>", re.DOTALL)
UNREAD = re.compile(r"(<\|tool_call>[^ ]*?)?<\|tool_response>response:unknown\{.*?\}<tool_response\|>", re.DOTALL)
SPEAKS_OVER_USER = (State.HEARING, State.GUESSING, State.INTERRUPTED)


def check(world: World, forgetful: bool = False) -> None:
    """What must be true of any conversation that has come to rest; a forgetful one no longer holds its first turns."""
    assert world.state is State.IDLE, world.state
    assert not world.speaker.pull(FRAME_SAMPLES).any()
    # The user is never spoken over.
    assert not [frame for frame, state in world.sounding if state in SPEAKS_OVER_USER]
    # Every frame of a turn is in the cache once and in order; from the pre-roll on nothing is missing.
    numbers = world.heard_frames
    assert numbers == sorted(set(numbers)), numbers
    held, dropped = set(numbers), False
    for start, end, kept in turns_of(world):
        dropped |= not kept
        missing = set(range(start, end)) - held
        assert forgetful or not kept or not missing, f"speech of frames {sorted(missing)} never reached the model"
        assert kept or len(held & set(range(start, end))) == 0, "a cough reached the model"
    # What was not heard well is not answered, and asked for once.
    asked = False
    for start, end, clear in ends_of(world):
        loud = world.marks[start - 1 : end].count("#")
        assert loud >= 1 if clear is True else loud < frames(HearingConfig().least_ms), (start, end, clear)
        assert not (asked and clear not in (True, "")), "it was asked for twice"
        asked = clear is not True and (asked or clear != "")
    # What the cache holds reads as a conversation, and the assistant's part of it is what was heard.
    text = world.session.text
    assert CONVERSATION.match(text), text
    turns = [UNREAD.sub(" ", turn).split("<tool_response|>")[-1] for turn in REPLY.findall(text)]
    heard = [moment_heard(world, index) for index, (*_, kept) in enumerate(turns_of(world)) if kept]
    if turns:
        assert [" ".join(turn.split()) for turn in turns] == heard[-len(turns) :], (turns, heard)
    # Work that was given up stops at its next step.
    assert world.late <= 3 * len(world.all("Hush")) + len(world.all("Rewind")) + len(world.all("Forget"))
    # Nothing is done or said on a guess, and no tool runs that was not asked for.
    assert len(world.used) <= sum(len(use.calls) for use in world.all("Use"))
    turn = None
    for _, x in world.log:
        name = type(x).__name__
        turn = name if name.startswith("Speech") else turn
        assert name not in ("Use", "Say") or turn in ("SpeechEnded", "SpeechDropped"), x


def turns_of(world: World) -> list[tuple[int, int, bool]]:
    """The user's turns: number (from 1) of the first frame of speech, of the first after it, and whether it was one at all."""
    turns = []
    event = None
    for _, x in world.log:
        match type(x).__name__:
            case "SpeechStarted" | "SpeechConfirmed" | "SpeechEnded":
                event = x
                if isinstance(x, SpeechEnded):
                    turns[-1] = (turns[-1][0], x.frame + 1, True)
            case "Hear":
                turns.append((event.frame + 1, event.frame + 2, True))
            case "Forget":
                turns[-1] = (*turns[-1][:2], False)
    return turns


def ends_of(world: World) -> list[tuple[int, int, bool | str]]:
    """The turns that came to their end: first frame and the one after the last, from 1; True if clear, else what was asked."""
    found, start = [], 0
    for _, x in world.log:
        match x:
            case SpeechStarted(frame):
                start = frame + 1
            case SpeechEnded(frame):
                found.append((start, frame + 1, True))
            case Unclear(frame, question):
                found.append((start, frame + 1, question))
    return found


def moment_heard(world: World, index: int) -> str:
    """The sentences that left the loudspeaker whole, after the last tool response, in the turn of this number."""
    marks = [n for n, (_, x) in enumerate(world.log) if type(x).__name__ == "Hear"] + [len(world.log)]
    said = heard = before = 0
    sentences = []
    for _, x in world.log[marks[index] + 1 : marks[index + 1]]:
        match type(x).__name__:
            case "Say":
                said += 1
            case "Returned":
                before = said
            case "Spoken" if heard < said:  # they are heard in the order in which they were said
                heard += 1
                sentences.append(x.text)
            case "Ring":
                break
    return " ".join(sentences[before:])
