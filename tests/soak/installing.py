"""The installer beside a running systemd: install, doctor, upgrade, rollback, a version that does not start, uninstall."""

import json
import re
import shutil
import time

from bundles import reseal
from machine import CURRENT, UNIT, ask, configure, quiet, told, tree

STICK = "/srv/stick"


def install(machine, room, tape):
    """From the stick, with no network; returns what was there before."""
    before = tree(machine.root), packages(machine), groups(machine)
    configure(machine.root, "")
    begin = time.monotonic()
    code, words = machine.attempt("bash", f"{STICK}/bundle/install.sh", "--offline", "--key", f"{STICK}/key.pub", "--dry-run")
    assert (code, machine.attempt("test", "-e", "/opt/edge-assistant")[0]) == (0, 1), words
    words = machine.do("bash", f"{STICK}/bundle/install.sh", "--offline", "--key", f"{STICK}/key.pub")
    took = time.monotonic() - begin
    machine.until_ready(5)
    told("installed", after_s=took, words=words.splitlines()[1:], enabled=machine.show("UnitFileState"), version=in_use(machine))
    assert machine.show("UnitFileState") == "enabled"
    told("answers", after_s=ask(room, tape)[0])
    quiet(tape)
    doctor(machine)
    now = machine.pid()
    begin = time.monotonic()
    words = machine.do("edge-assistant-install", "--offline", f"{STICK}/bundle")
    machine.until_ready()
    told("installed again", after_s=time.monotonic() - begin, words=words.splitlines()[1:], same_process=machine.pid() == now)
    return before


def doctor(machine):
    """Beside the service that runs, which it must not disturb."""
    pid, begin = machine.pid(), time.monotonic()
    code, words = machine.attempt("sh", "-c", "edge-assistant doctor --json 2>/dev/null")
    findings = {each["check"]: each for each in json.loads(words)["findings"]}
    told("doctor beside the service", after_s=time.monotonic() - begin, status=code, **{
        name.replace(" ", "_"): f"{each['verdict']}: {each['found']}" for name, each in findings.items()
    })  # fmt: skip
    for name in ("service", "network", "sockets", "microphone", "loudspeaker", "model", "voice", "configuration"):
        assert findings[name]["verdict"] == "well", findings[name]
    assert "no interface but the loopback" in findings["network"]["found"]
    assert "the service and this one" in findings["sockets"]["found"]
    assert (machine.pid(), machine.show("NRestarts")) == (pid, "0")


def take_off(machine, room, tape, work, before):
    """Another version, the way back, one that cannot start, and off."""
    first = in_use(machine)
    stick = machine.root / "srv" / "stick"
    following = another(stick / "bundle", stick / "next", work / "key", "9.9.9")
    begin = time.monotonic()
    words = machine.do("edge-assistant-install", "upgrade", "--offline", f"{STICK}/next")
    machine.until_ready()
    told("upgraded", after_s=time.monotonic() - begin, words=words.splitlines()[1:], version=in_use(machine),
         answers_after_s=ask(room, tape)[0])  # fmt: skip
    assert in_use(machine).startswith("9.9.9+")
    quiet(tape)

    begin = time.monotonic()
    machine.do("edge-assistant-install", "rollback")
    machine.until_ready()
    told("rolled back", after_s=time.monotonic() - begin, version=in_use(machine), answers_after_s=ask(room, tape)[0])
    assert in_use(machine) == first
    quiet(tape)

    shutil.rmtree(following)
    bad = another(stick / "bundle", stick / "bad", work / "key", "9.9.10", ExecStart="/bin/false")
    begin = time.monotonic()
    code, words = machine.attempt("edge-assistant-install", "upgrade", "--offline", f"{STICK}/{bad.name}")
    machine.until_ready()
    told("a version that does not start", after_s=time.monotonic() - begin, status=code, words=words.splitlines()[-1],
         version=in_use(machine), answers_after_s=ask(room, tape)[0])  # fmt: skip
    assert (code, in_use(machine)) == (1, first)
    assert "is in use again" in words
    quiet(tape)
    shutil.rmtree(bad)

    bad = another(stick / "bundle", stick / "bad", work / "key", "9.9.11", suite="bookworm")
    code, words = machine.attempt("edge-assistant-install", "upgrade", "--offline", f"{STICK}/{bad.name}")
    told("a bundle for another release", status=code, words=words.splitlines()[-1])
    assert code == 2
    assert "this bundle is for bookworm" in words

    begin = time.monotonic()
    words = machine.do("edge-assistant-install", "uninstall")
    took = time.monotonic() - begin
    paths, debs, there = before
    left = sorted({path for path, *_ in tree(machine.root)} - {path for path, *_ in paths})
    altered = sorted({path for path, *_ in paths ^ tree(machine.root)} - set(left))
    told("uninstalled", after_s=took, words=words.splitlines(), left=left, altered=altered,
         packages=sorted(packages(machine) ^ debs), groups=sorted(groups(machine) ^ there))  # fmt: skip
    assert machine.attempt("systemctl", "cat", UNIT)[0] == 1
    assert not left
    assert not altered
    assert packages(machine) == debs
    assert groups(machine) == there


def another(bundle, to, key, version, **altered):
    """The same program under another number, listed and signed again; with another line of its manifest or unit."""
    shutil.copytree(bundle, to)
    manifest, unit = to / "manifest", to / "systemd" / UNIT
    for name, value in {"version": version, **altered}.items():
        file = unit if name[0].isupper() else manifest
        file.write_text(re.sub(f"^{name}=.*", f"{name}={value}", file.read_text(), count=1, flags=re.MULTILINE))
    reseal(to, key)
    return to


def in_use(machine):
    return machine.do("readlink", CURRENT).strip().removeprefix("versions/")


def packages(machine):
    return set(machine.do("dpkg-query", "-W").splitlines())


def groups(machine):
    """And users."""
    return {line.split(":")[0] for of in ("group", "passwd") for line in machine.do("getent", of).splitlines()}
