"""The service under a real systemd: booted as process 1 of a Debian root in namespaces of its own, killed, stalled, reloaded.

    sudo python tests/soak/service.py [--root FOLDER] [--kills 20]

The root is made with mmdebstrap where it is not there yet (700 MB), and this checkout is installed into it. It has no network,
not even towards us. Microphone and loudspeaker are virtual ones of a PulseAudio server outside, whose socket lies in the root.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import soundfile as sf

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests" / "live"))
from room import RATE, Room, first_sound, last_sound

QUESTION = CHECKOUT / "assets" / "demo" / "timer.wav"
VOICE = 0.004
MOST = 20
"""Timers at once."""
UNIT = "edge-assistant.service"
PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,python3-venv,pulseaudio-utils,libasound2-plugins,libportaudio2,"
    "libespeak-ng1,libspeexdsp1,procps,ca-certificates"
)
BOOT = """
set -e
mount --bind "$R" "$R"
mount -t proc proc "$R/proc"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for d in null zero full random urandom tty; do touch "$R/dev/$d"; mount --bind "/dev/$d" "$R/dev/$d"; done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts"
mount -t tmpfs tmpfs "$R/dev/shm"
ln -s /proc/self/fd "$R/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mount -t tmpfs tmpfs "$R/tmp"
cd "$R"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal
"""


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


def prepare(root):
    """A Debian with this checkout in it."""
    if not (root / "bin").exists():
        print(f"mmdebstrap makes {root}", flush=True)
        run("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", "trixie", root)
    home = root / "opt" / "edge-assistant"
    if not (home / "venv").exists():
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
        run("chroot", root, "python3", "-m", "venv", "/opt/edge-assistant/venv")
    (root / "srv" / "wheels").mkdir(exist_ok=True)
    for old in (root / "srv" / "wheels").glob("*.whl"):
        old.unlink()
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", root / "srv" / "wheels", CHECKOUT)
    wheel = next((root / "srv" / "wheels").glob("*.whl")).name
    pip = ("chroot", root, "/opt/edge-assistant/venv/bin/pip", "install", "-q", "--no-cache-dir")
    run(*pip, f"/srv/wheels/{wheel}")
    run(*pip, "--force-reinstall", "--no-deps", f"/srv/wheels/{wheel}")
    link = home / "current"
    link.unlink(missing_ok=True)
    link.symlink_to("venv")
    shutil.copy(CHECKOUT / "systemd" / UNIT, root / "etc" / "systemd" / "system" / UNIT)
    (root / "etc" / "sysusers.d").mkdir(exist_ok=True)
    shutil.copy(CHECKOUT / "systemd" / "sysusers.conf", root / "etc" / "sysusers.d" / "edge-assistant.conf")
    run("chroot", root, "systemd-sysusers")
    drop = root / "etc" / "systemd" / "system" / f"{UNIT}.d"
    drop.mkdir(exist_ok=True)
    (drop / "sound-server.conf").write_text(
        "[Service]\nEnvironment=PULSE_SERVER=unix:/srv/sound/native\nMemoryDenyWriteExecute=yes\n"
    )
    shutil.rmtree(root / "var" / "lib" / "edge-assistant", ignore_errors=True)
    configure(root, "")


def configure(root, text):
    file = root / "etc" / "edge-assistant" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("[service]\nannounce = false\n" + text)


class Machine:
    """A booted root."""

    def __init__(self, root):
        self.root = root
        namespaces = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup", "--propagation", "private")
        self.unshare = subprocess.Popen(
            ["unshare", *namespaces, "--kill-child", "bash", "-c", BOOT], env={**os.environ, "R": str(root)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (children := Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text().split()):
            time.sleep(0.05)
        self.init = children[0]
        while self._state() not in ("running", "degraded"):
            assert self.unshare.poll() is None, self.unshare.stderr.read()
            assert time.monotonic() < deadline, "systemd does not boot"
            time.sleep(0.2)

    def _state(self):
        asked = self._inside("systemctl", "is-system-running")
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()

    def _inside(self, *command):
        return ["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "-C", *command]

    def do(self, *command):
        return run(*self._inside(*command))

    def show(self, name):
        return self.do("systemctl", "show", "-P", name, UNIT).strip()

    def pid(self):
        """In the namespace of the machine."""
        return self.show("MainPID")

    def kill(self, name):
        self.do("kill", f"-{name}", self.pid())

    def journal(self, since):
        return self.do("journalctl", "-u", UNIT, "-o", "cat", "--no-pager", f"--since=@{int(since)}")

    def until(self, what, look, within_s):
        begin = time.monotonic()
        while not look():
            assert time.monotonic() - begin < within_s, (what, self.show("StatusText"), self.journal(time.time() - 120))
            time.sleep(0.1)
        return time.monotonic() - begin

    def until_ready(self, within_s=120):
        return self.until("ready", lambda: self.show("StatusText").startswith("listening"), within_s)

    def off(self):
        os.kill(int(self.init), signal.SIGKILL)
        self.unshare.wait()


@contextmanager
def sound(root):
    """The room, with its server's socket in the root."""
    folder = root / "srv" / "sound"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    room = Room()
    room.environment["PULSE_SERVER"] = f"unix:{folder}/native"
    with room:
        room.furnish()
        yield room


def timers(root):
    """How many run, by the file of state. There can be 20."""
    kept = json.loads((root / "var" / "lib" / "edge-assistant" / "timers.json").read_text())
    return len(json.loads(kept["value"])["running"])


class Unheard(Exception):
    """No answer came."""


def ask(room, tape, within_s=20.0):
    """Ask for a timer; how many seconds after the question's last sample the answer began, and where on the tape it was asked.

    Both are on the tape's clock, however late this program is.
    """
    pcm, rate_hz = sf.read(QUESTION, dtype="float32")
    begin_s = tape.seconds
    room.say(pcm, rate_hz).wait()
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        question, answer = tape.read(begin_s)
        begun = first_sound(answer, VOICE)
        if begun is not None:
            return (begun - last_sound(question[:begun], 0.02 * abs(question).max())) / RATE, begin_s
        time.sleep(0.1)
    raise Unheard


def quiet(tape):
    while first_sound(tape.read(max(0.0, tape.seconds - 0.8))[1], VOICE) is not None:
        time.sleep(0.1)


def told(what, **figures):
    print(
        json.dumps({"what": what, **{key: round(v, 2) if isinstance(v, float) else v for key, v in figures.items()}}), flush=True
    )


def soak(machine, room, tape, kills):
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
    weights = next((machine.root / "opt" / "edge-assistant" / "venv").rglob("assets/pocket/lower.bin"))
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
    told("done", memory_peak_mb=int(machine.show("MemoryPeak") or 0) >> 20 if machine.show("MemoryPeak").isdigit() else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("/var/tmp/edge-assistant-root"))
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("it boots a machine in namespaces: run it as root")
    prepare(args.root)
    with sound(args.root) as room, tempfile.TemporaryDirectory() as folder, room.tape(Path(folder) / "air.raw") as tape:
        machine = Machine(args.root)
        try:
            soak(machine, room, tape, args.kills)
        finally:
            machine.off()


if __name__ == "__main__":
    main()
