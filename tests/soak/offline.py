"""Twenty turns each of `ask`, `talk` and `serve` with no network interface at all, under a trace of every socket they ask for.

sudo python tests/soak/offline.py [--turns 20]
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile as sf

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "live"))
from room import Room, first_sound

PROGRAM = Path(sys.executable).with_name("edge-assistant")
QUESTION = TESTS.parent / "assets" / "demo" / "timer.wav"
VOICE = 0.004
CALLS = "socket,socketpair,connect,bind,sendto,sendmsg,sendmmsg"
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)\((.*)$")
FAMILY = re.compile(r"\b[AP]F_\w+")


def walled(trace, *command):
    """In a namespace without an interface, traced with all its children."""
    return ["unshare", "--net", "strace", "-f", "-qq", "--seccomp-bpf", f"--trace={CALLS}", "-o", str(trace), *map(str, command)]


def judge(what, trace, turns):
    """Every call, by the family of the socket or address that it names."""
    families, foreign = {}, []
    for line in trace.read_text(errors="replace").splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        call, rest = found.groups()
        for family in set(FAMILY.findall(rest)):
            families[f"{call} {family}"] = families.get(f"{call} {family}", 0) + 1
            if family not in ("AF_UNIX", "PF_UNIX", "AF_LOCAL"):
                foreign.append(line)
    print(json.dumps({"what": what, "turns": turns, "calls": families, "towards_a_network": len(foreign)}), flush=True)
    assert families, f"{what}: nothing was traced"
    assert not foreign, foreign[:5]


def self_test(folder):
    """The trace sees a socket towards a network, from C as from Python."""
    trace = folder / "self.trace"
    code = "import socket; s = socket.socket(); s.connect_ex(('192.0.2.1', 9))"
    subprocess.run(walled(trace, sys.executable, "-c", code), check=True)
    try:
        judge("a program that does try", trace, 0)
    except AssertionError:
        return
    sys.exit("the trace does not see what it must see")


def ask(folder, turns):
    trace = folder / "ask.trace"
    command = walled(trace, PROGRAM, "ask", *[QUESTION] * turns, "--say", folder / "reply.wav", "--json")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said = sum(json.loads(line)["event"] == "done" for line in done.stdout.splitlines())
    assert said == turns, (said, done.stderr)
    judge("ask", trace, said)


def converse(folder, verb, turns):
    trace = folder / f"{verb}.trace"
    pcm, rate_hz = sf.read(QUESTION, dtype="float32")
    heard = asked = 0
    with Room() as room:
        room.furnish()
        with room.tape(folder / "air.raw") as tape:
            process = subprocess.Popen(walled(trace, PROGRAM, verb), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(15)
            while heard < turns and asked < 2 * turns:  # a machine that is too busy may lose a question
                asked += 1
                while first_sound(tape.read(max(0.0, tape.seconds - 1.0))[1], VOICE) is not None:
                    time.sleep(0.1)
                room.say(pcm, rate_hz).wait()
                asked_s = tape.seconds
                deadline = time.monotonic() + 15
                while (answer := first_sound(tape.read(asked_s)[1], VOICE)) is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                heard += answer is not None
                time.sleep(1)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for child in children:  # strace's own is the assistant
                os.kill(int(child), signal.SIGTERM)
            process.wait(20)
    assert heard == turns, f"{heard} answers to {turns} questions"
    judge(f"{verb} ({asked} questions)", trace, heard)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--verbs", nargs="+", choices=["ask", "talk", "serve"], default=["ask", "talk", "serve"])
    args = parser.parse_args()
    if os.geteuid() or not shutil.which("strace"):
        sys.exit("it makes a network namespace and traces: run it as root, with strace installed (apt install strace)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            os.environ[variable] = name  # timers of before would ring
        self_test(folder)
        for verb in args.verbs:
            ask(folder, args.turns) if verb == "ask" else converse(folder, verb, args.turns)


if __name__ == "__main__":
    main()
