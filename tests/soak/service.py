"""The service under a real systemd: installed from a bundle, killed, stalled, reloaded, without room, in other times, taken off.

    sudo python tests/soak/service.py [--work FOLDER] [--kills 20] [PART ...]

A Debian of its own (mmdebstrap, once) boots as process 1 of namespaces of its own; a bundle of this checkout is installed there.
Neither has a network. Microphone and loudspeaker are virtual ones of a PulseAudio server outside, whose socket lies in the root.
"""

import argparse
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import soundfile as sf
from hardship import Hardship
from installing import doctor, install, take_off
from machine import (
    QUESTION,
    UNIT,
    VOICE,
    Machine,
    Unheard,
    ask,
    configure,
    first_sound,
    last_sound,
    prepare,
    quiet,
    sound,
    timers,
    told,
)
from room import RATE

MOST = 20
"""Timers at once."""
CUTS = 3
CLOCK = """
import ctypes, errno, time
asked = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) >= 0
try:
    time.clock_settime(time.CLOCK_REALTIME, time.time())
except OSError as error:
    print(asked, errno.errorcode[error.errno])
"""


def faults(machine, room, tape, kills):
    """Stalled, killed, stopped, reloaded, damaged."""
    machine.do("systemctl", "stop", UNIT)
    begun, begin = time.time(), time.monotonic()
    machine.do("systemctl", "start", UNIT)  # waits for READY
    took = time.monotonic() - begin
    machine.until_ready(5)
    told("booted and ready", after_s=took, status=machine.show("StatusText"), type=machine.show("Type"))
    told("answers", after_s=ask(room, tape)[0])
    quiet(tape)

    status = machine.do("cat", f"/proc/{machine.pid()}/status")
    maps = machine.do("cat", f"/proc/{machine.pid()}/maps")
    net = machine.do("nsenter", "-t", machine.pid(), "-n", "cat", "/proc/self/net/dev")
    interfaces = re.findall(r"^\s*(\w+):", net, re.MULTILINE)
    fixed = dict(re.findall(r"^(Uid|CapEff|NoNewPrivs|Seccomp):\s+(\S+)", status, re.MULTILINE))
    writable_code = [line for line in maps.splitlines() if re.search(r" rwx", line)]
    told("hardened", interfaces=interfaces, **fixed, writable_code=len(writable_code))
    assert interfaces == ["lo"]
    assert fixed["CapEff"] == "0" * 16
    assert fixed["Seccomp"] == "2"
    assert not writable_code

    clock = machine.as_service(CLOCK).strip()
    told("asked about its clock, and told to set it", answers=clock)
    assert clock == "True EPERM"

    restarts = int(machine.show("NRestarts"))
    room.pactl("suspend-source", "mic", "1")
    after = machine.until("restarted", lambda: int(machine.show("NRestarts")) > restarts, 90)
    assert "watchdog" in machine.do("journalctl", "-u", UNIT, "--no-pager", f"--since=@{int(begun)}").lower()
    room.pactl("suspend-source", "mic", "0")
    machine.until_ready()
    told("the microphone's frames stopped", restarted_after_s=after, answers_after_s=ask(room, tape)[0])
    quiet(tape)

    back, again, right, seed = [], 0, 0, random.Random(5)
    for number in range(kills):
        time.sleep(seed.uniform(0, 3))
        if number % 3 == 1:
            pcm, rate_hz = sf.read(QUESTION, dtype="float32")
            room.say(pcm, rate_hz)
            time.sleep(seed.uniform(0, 4))
        killed, before = machine.pid(), timers(machine.root)
        machine.kill("KILL")
        machine.until("another process", lambda killed=killed: machine.pid() not in ("0", killed), 400)
        machine.until_ready()
        quiet(tape)
        kept = timers(machine.root)
        assert kept >= before, f"{before} timers ran, {kept} are left"
        try:
            back.append(ask(room, tape)[0])
        except Unheard:
            # A machine that is far too busy may have lost the question; whoever is not answered asks again.
            print(f"asked again: {machine.show('StatusText')}: {machine.journal(time.time() - 60)}", flush=True)
            again += 1
            back.append(ask(room, tape)[0])
        quiet(tape)
        right += timers(machine.root) > kept or kept == MOST
        # As after a day of peace: the manager forgets how often it had to start.
        machine.do("systemctl", "reset-failed", UNIT)
        print(f"kill {number + 1}: answered after {back[-1]:.2f} s", flush=True)
    told(
        "kill -9",
        times=kills,
        answered=len(back),
        asked_again=again,
        right=right,
        timers_kept=timers(machine.root),
        after_s_median=sorted(back)[len(back) // 2],
    )

    _, asked_s = ask(room, tape)
    begin = time.monotonic()
    machine.do("systemctl", "stop", UNIT)
    took = time.monotonic() - begin
    said = tape.read(asked_s)[1]
    told("stopped while speaking", after_s=took, spoke_s=(last_sound(said, VOICE) - first_sound(said, VOICE)) / RATE,
         result=machine.show("Result"))  # fmt: skip
    assert machine.show("Result") == "success"
    machine.do("systemctl", "start", UNIT)
    machine.until_ready()

    configure(machine.root, "[talk]\nmodee = 1\n")
    pid, now = machine.pid(), time.time()
    machine.do("systemctl", "reload", UNIT)
    machine.until("refused", lambda: "refused" in machine.journal(now), 30)
    told("a bad configuration", line=machine.journal(now).strip().splitlines()[-1], same_process=machine.pid() == pid)
    configure(machine.root, "[talk]\nend_max_ms = 900\n")
    now = time.time()
    machine.do("systemctl", "reload", UNIT)
    machine.until("read again", lambda: "read again" in machine.journal(now), 30)
    time.sleep(4)
    machine.until_ready()
    told("a good one", same_process=machine.pid() == pid, answers_after_s=ask(room, tape)[0])
    quiet(tape)

    machine.do("systemctl", "stop", UNIT)
    weights = next((machine.root / "opt" / "edge-assistant" / "versions").rglob("assets/pocket/lower.bin"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    now, at_s = time.time(), tape.seconds
    machine.do("sh", "-c", f"systemctl start {UNIT} || true")
    time.sleep(60)
    said = tape.read(at_s)[1]
    starts = machine.journal(now).count("was altered")
    told("a damaged model", spoken_s=(last_sound(said, VOICE) - first_sound(said, VOICE)) / RATE, starts_in_a_minute=starts,
         status=machine.show("StatusText"))  # fmt: skip
    assert 1 <= starts <= 8
    weights.write_bytes(whole)
    machine.until_ready(400)
    told("mended", answers_after_s=ask(room, tape)[0])
    quiet(tape)


def power_cuts(machine, room, tape):
    """Everything ends at once, the manager too, in mid-question; then it boots."""
    seed = random.Random(7)
    for number in range(CUTS):
        before = timers(machine.root)
        pcm, rate_hz = sf.read(QUESTION, dtype="float32")
        room.say(pcm, rate_hz)
        time.sleep(seed.uniform(1, 5))
        machine.off()
        quiet(tape)
        begin = time.monotonic()
        machine.boot()
        machine.until_ready()
        took = time.monotonic() - begin
        assert timers(machine.root) >= before
        told("power cut", number=number + 1, ready_after_s=took, answers_after_s=ask(room, tape)[0], timers=timers(machine.root))
        quiet(tape)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these, of {', '.join(PARTS)}")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/edge-assistant-soak"), help="2 GB of room (%(default)s)")
    parser.add_argument("--bundle", type=Path, help="this one, signed with FOLDER/key, instead of a new one")
    parser.add_argument(
        "--again", action="store_true", help="the machine as the last run left it, installed; parts are to be named"
    )
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    if wrong := set(args.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(wrong))}: there is {', '.join(PARTS)}")
    if args.again and (not args.parts or "upgrade" in args.parts):
        parser.error("--again: name the parts; what was there before the installation is not known, so upgrade cannot be one")
    if os.geteuid():
        sys.exit("it boots a machine in namespaces: run it as root")
    root = args.work / "root" if args.again else prepare(args.work, args.bundle)
    with sound(root) as room, tempfile.TemporaryDirectory() as folder, room.tape(Path(folder) / "air.raw") as tape:
        machine = Machine(root)
        try:
            if args.again:
                machine.until_ready()
                doctor(machine)
            before = None if args.again else install(machine, room, tape)
            for part in args.parts or PARTS:
                match part:
                    case "faults":
                        faults(machine, room, tape, args.kills)
                    case "power":
                        power_cuts(machine, room, tape)
                    case "hardship":
                        Hardship(machine, room, tape).all()
                    case _:
                        take_off(machine, room, tape, args.work, before)
        finally:
            machine.off()


PARTS = ("faults", "power", "hardship", "upgrade")


if __name__ == "__main__":
    main()
