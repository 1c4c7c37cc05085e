"""A Debian booted as process 1 of namespaces of its own, with the tests' room for a sound card; and a bundle to install there.

It has no network, not even towards us: what leads outside is the sound server's socket alone, which lies in its root.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / "tests" / "live"), str(CHECKOUT / "tests" / "deploy")]
from bundles import make_key
from room import RATE, Room, first_sound, last_sound

QUESTION = CHECKOUT / "assets" / "demo" / "timer.wav"
VOICE = 0.004
UNIT = "edge-assistant.service"
CURRENT = "/opt/edge-assistant/current"
PACKAGES = "systemd,systemd-sysv,dbus,python3,openssh-client,ca-certificates,procps,kmod,tzdata,pulseaudio-utils,faketime"
"""As any Raspberry Pi OS has; and the way to the sound server, and a clock that can be set for one process alone."""
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
SPEAK = """
import sys
import soundfile as sf
from edge_assistant.voice import EspeakVoice
voice = EspeakVoice()
voice.open()
sf.write(sys.argv[2], *voice.say(sys.argv[1]))
voice.close()
"""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, (command, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def prepare(work, bundle=None):
    """Of a system and a key, what is not there yet; a new bundle, if none signed with that key is given. Returns a new root."""
    work.mkdir(parents=True, exist_ok=True)
    base, key, root = work / "base.tar", work / "key", work / "root"
    if not base.exists():
        print(f"mmdebstrap makes {base}", flush=True)
        part = base.with_suffix(".part")
        run("mmdebstrap", "--quiet", "--mode=root", "--format=tar", "--variant=apt", f"--include={PACKAGES}", "trixie", part)
        part.rename(base)
    if not key.exists():
        make_key(key)
    if not bundle:
        bundle = work / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)  # an older checkout's
        print(f"make-bundle makes {bundle}", flush=True)
        architecture = run("dpkg", "--print-architecture").strip()
        make = CHECKOUT / "deploy-pi" / "make-bundle"
        run(sys.executable, make, "--architecture", architecture, "--key", key, "--out", bundle)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    run("tar", "-C", root, "-xpf", base)
    (root / "etc" / "resolv.conf").write_text("")
    (root / "srv" / "stick").mkdir()
    shutil.copytree(bundle, root / "srv" / "stick" / "bundle")
    shutil.copy(f"{key}.pub", root / "srv" / "stick" / "key.pub")
    return root


def configure(root, text):
    file = root / "etc" / "edge-assistant" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("[service]\nannounce = false\n" + text)


def drop_in(root, name, text):
    """Lines for the unit; none takes them away."""
    file = root / "etc" / "systemd" / "system" / f"{UNIT}.d" / f"{name}.conf"
    file.parent.mkdir(exist_ok=True)
    if text:
        file.write_text(f"[Service]\n{text}\n")
    else:
        file.unlink(missing_ok=True)


class Machine:
    """A booted root."""

    def __init__(self, root):
        self.root = root
        self.boot()

    def boot(self):
        namespaces = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup", "--propagation", "private")
        self.unshare = subprocess.Popen(
            ["unshare", *namespaces, "--kill-child", "bash", "-c", BOOT], env={**os.environ, "R": str(self.root)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
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
        return ["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "-C", *map(str, command)]

    def do(self, *command):
        return run(*self._inside(*command))

    def attempt(self, *command):
        """Exit status, and all that was told."""
        done = subprocess.run(self._inside(*command), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def show(self, name):
        return self.do("systemctl", "show", "-P", name, UNIT).strip()

    def pid(self):
        """In the namespace of the machine."""
        return self.show("MainPID")

    def kill(self, name):
        self.do("kill", f"-{name}", self.pid())

    def restart(self):
        self.do("systemctl", "daemon-reload")
        self.do("systemctl", "restart", UNIT)
        self.until_ready()

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
        """As when the power is cut: no process has time for anything."""
        os.kill(int(self.init), signal.SIGKILL)
        self.unshare.wait()

    def as_service(self, code):
        """What a piece of Python prints that is shut in as the service is."""
        probe = (self.root / "etc" / "systemd" / "system" / UNIT).read_text()
        (self.root / "srv" / "probe.py").write_text(code)
        altered = {"Type": "oneshot", "ExecStart": f"{CURRENT}/venv/bin/python /srv/probe.py", "Restart": "no", "ExecReload": "",
                   "StateDirectory": "", "CacheDirectory": "", "RuntimeDirectory": "", "WorkingDirectory": "/"}  # fmt: skip
        for name, value in altered.items():
            probe = re.sub(f"^{name}=.*$", f"{name}={value}" if value else "", probe, flags=re.MULTILINE)
        unit = "/run/systemd/system/probe.service"
        self.do("sh", "-c", f"mkdir -p /run/systemd/system && cat >{unit} <<'END'\n{probe}\nEND")
        self.do("systemctl", "daemon-reload")
        try:
            now = time.time()
            self.do("systemctl", "start", "probe.service")
            return self.do("journalctl", "-u", "probe.service", "-o", "cat", "--no-pager", f"--since=@{int(now)}", "-t", "python")
        finally:
            self.do("rm", unit)
            self.do("systemctl", "daemon-reload")

    def spoken(self, text):
        """How its voice sounds when it says this, at the tape's rate; shape [samples]."""
        self.do(f"{CURRENT}/venv/bin/python", "-c", SPEAK, text, "/srv/spoken.wav")
        pcm, rate_hz = sf.read(self.root / "srv" / "spoken.wav", dtype="float32")
        count = round(len(pcm) * RATE / rate_hz)
        return np.interp(np.arange(count) * rate_hz / RATE, np.arange(len(pcm)), pcm).astype(np.float32)


@contextmanager
def sound(root):
    """The room, with its server's socket in the root."""
    folder = root / "srv" / "sound"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drop_in(root, "sound-server", "Environment=PULSE_SERVER=unix:/srv/sound/native\nMemoryDenyWriteExecute=yes")
    room = Room()
    room.environment["PULSE_SERVER"] = f"unix:{folder}/native"
    with room:
        room.furnish()
        yield room


def likeness(heard, said):
    """How much of what was heard sounds like what is said: 1 where it is there as it is, less than a half where it is not.

    Piece by piece, since a device that ran dry once shifts the rest.
    """
    step = 6  # 8 kHz are enough
    heard, said = (pcm[: len(pcm) // step * step].reshape(-1, step).mean(axis=1) for pcm in (heard, said))
    loud = np.flatnonzero(abs(said) > 0.01)
    said = said[loud[0] : loud[-1]]
    size = min(len(said), RATE // step * 7 // 10)
    if len(heard) < size:
        return 0.0
    found = []
    for begin in range(0, len(said) - size + 1, size):
        piece = said[begin : begin + size] - said[begin : begin + size].mean()
        length = 1 << (len(heard) + size).bit_length()
        product = np.fft.irfft(np.fft.rfft(heard, length) * np.conj(np.fft.rfft(piece, length)), length)[: len(heard) - size + 1]
        power = np.cumsum(np.concatenate([[0.0], heard.astype(np.float64) ** 2]))
        energy = np.maximum(power[size:] - power[:-size], 1e-4)
        found.append(float((product / np.sqrt(energy * (piece**2).sum())).max()))
    return sum(found) / len(found)


def kept(root):
    """The file of timers and alarms, opened."""
    return json.loads(json.loads((root / "var" / "lib" / "edge-assistant" / "timers.json").read_text())["value"])


def timers(root):
    """How many run. There can be 20."""
    return len(kept(root)["running"])


class Unheard(Exception):
    """No answer came."""


def ask(room, tape, question=QUESTION, within_s=20.0):
    """Ask for a timer; how many seconds after the question's last sample the answer began, and where on the tape it was asked.

    Both are on the tape's clock, however late this program is.
    """
    pcm, rate_hz = sf.read(question, dtype="float32")
    begin_s = tape.seconds
    room.say(pcm, rate_hz).wait()
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        asked, answer = tape.read(begin_s)
        asked_last = last_sound(asked, 0.02 * abs(asked).max())
        begun = first_sound(answer[asked_last:], VOICE) if asked_last else None
        if begun is not None:
            return begun / RATE, begin_s
        time.sleep(0.1)
    raise Unheard


def quiet(tape):
    while first_sound(tape.read(max(0.0, tape.seconds - 0.8))[1], VOICE) is not None:
        time.sleep(0.1)


def told(what, **figures):
    print(
        json.dumps({"what": what, **{key: round(v, 2) if isinstance(v, float) else v for key, v in figures.items()}}), flush=True
    )


def tree(root):
    """Every path with its mode and owner, but for what logs, caches and Debian's own tools keep about themselves."""
    away = re.compile(
        r"(srv|proc|sys|dev|run|tmp|mnt|var/(log|tmp|cache)|var/lib/(dpkg|apt|systemd)|etc/systemd/system/edge-assistant.*\.d)(/|$)"
        r"|etc/(.*-|ld\.so\.cache|\.pwd\.lock|machine-id|\.updated)$|var/\.updated$|root/\.|.*/__pycache__"
    )
    found = set()
    for folder, folders, files in os.walk(root):
        here = os.path.relpath(folder, root)
        names = {name: os.path.normpath(os.path.join(here, name)) for name in (*folders, *files)}
        folders[:] = [name for name in folders if not away.match(names[name])]
        for path in names.values():
            if not away.match(path):
                status = os.lstat(root / path)
                found.add((path, status.st_mode, status.st_uid, status.st_gid))
    return found
