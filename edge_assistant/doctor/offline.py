"""The service and the proof that it is offline: what it can reach, and what it has open."""

import os
import re
from collections.abc import Iterator
from ipaddress import ip_address

from edge_assistant.doctor.finding import Finding, Patient, Verdict

_TABLES = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")
_JOURNAL = "read why: journalctl --unit edge-assistant --boot"
_MANY_RESTARTS = 3


def check_service(patient: Patient) -> Iterator[Finding]:
    """Does it run?"""
    looked = "systemctl show edge-assistant"
    told = patient.service
    state = told.get("ActiveState", "")
    since = int(told.get("NRestarts") or 0)
    words = f"{state} ({told.get('SubState', '')}), {told.get('UnitFileState') or 'not'} at boot"
    if told.get("StatusText"):
        words += f": {told['StatusText']}"
    if not told:
        yield Finding("service", Verdict.ABSENT, looked, "no systemd here")
    elif told.get("LoadState") != "loaded":
        yield Finding("service", Verdict.ABSENT, looked, "it is not installed")
    elif state == "failed" or told.get("SubState") == "auto-restart":
        yield Finding("service", Verdict.FAULT, looked, f"{words}; {told.get('Result', '')}; restarted {since} times", _JOURNAL)
    elif since >= _MANY_RESTARTS:
        yield Finding("service", Verdict.WARNING, looked, f"{words}; restarted {since} times", _JOURNAL)
    elif state != "active":
        yield Finding("service", Verdict.WARNING, looked, words, "start it: sudo systemctl enable --now edge-assistant")
    elif told.get("UnitFileState") != "enabled":
        yield Finding("service", Verdict.WARNING, looked, words, "have it start at boot: sudo systemctl enable edge-assistant")
    else:
        yield Finding("service", Verdict.WELL, looked, words)


def check_network(patient: Patient) -> Iterator[Finding]:
    """What network the service, or this machine, can reach."""
    pid = patient.service_pid
    whose, place = (f"the service (process {pid})", f"proc/{pid}/net") if pid else ("this machine", "proc/net")
    looked = f"/{place}/dev, /{place}/route, /{place}/ipv6_route"
    up = _interfaces(patient, place, service=bool(pid))
    ways = [f"a route to {where}" for where in _default_routes(patient, place)]
    if not patient.read(f"{place}/dev"):
        yield Finding("network", Verdict.ABSENT, looked, "the kernel does not tell")
    elif not up and not ways:
        yield Finding("network", Verdict.WELL, looked, f"{whose} has no interface but the loopback: nothing can be reached")
    elif pid:
        yield Finding(
            "network", Verdict.WARNING, looked, f"{whose} has {', '.join([*up, *ways])}",
            "it was opted in to a network: `systemctl cat edge-assistant` shows by which drop-in; remove that",
        )  # fmt: skip
    else:
        yield Finding("network", Verdict.WELL, looked, f"{whose} has {', '.join([*up, *ways])}; the program needs none")


def check_sockets(patient: Patient) -> Iterator[Finding]:
    """Whether a process of ours has a socket of the network open. This one has run all the other checks, and counts too."""
    service = patient.service_pid
    pids = sorted(patient.own | ({service} if service else set[int]()))
    looked = ", ".join(f"/proc/{pid}/fd against /proc/{pid}/net" for pid in pids)
    found: list[str] = []
    for pid in pids:
        try:
            found += network_sockets(patient, pid)
        except PermissionError:
            yield Finding("sockets", Verdict.WARNING, looked, f"process {pid} is another user's", "ask again with sudo")
            return
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    if found:
        yield Finding("sockets", Verdict.FAULT, looked, f"open: {'; '.join(found)}", "this must not be: please report it")
    else:
        whose = "the service and this one" if service else "this one"
        yield Finding("sockets", Verdict.WELL, looked, f"no socket of the network is open ({whose})")


def network_sockets(patient: Patient, pid: int) -> list[str]:
    """What this process has open towards any network: kind, and both ends. Raises OSError."""
    held: set[str] = set()
    for entry in (patient.root / f"proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(entry))
        except FileNotFoundError:
            continue  # closed meanwhile
    found: list[str] = []
    for kind in _TABLES:
        for line in patient.read(f"proc/{pid}/net/{kind}").splitlines()[1:]:
            parts = line.split()
            if len(parts) > 9 and f"socket:[{parts[9]}]" in held:
                found.append(f"{kind} {_address(parts[1])} to {_address(parts[2])}")
    packets = [line.split() for line in patient.read(f"proc/{pid}/net/packet").splitlines()[1:]]
    return found + ["raw packets" for parts in packets if parts and f"socket:[{parts[-1]}]" in held]


def _interfaces(patient: Patient, place: str, *, service: bool) -> list[str]:
    """Those that lead away; of this machine, those that are up."""
    names = re.findall(r"^\s*([^\s:]+):", patient.read(f"{place}/dev"), re.MULTILINE)
    away = [name for name in names if name != "lo"]
    if service:
        return away  # /sys shows those of our own namespace, not of the service's
    return [name for name in away if _is_up(patient, name)]


def _is_up(patient: Patient, name: str) -> bool:
    flags = patient.read(f"sys/class/net/{name}/flags").strip()
    state = patient.read(f"sys/class/net/{name}/operstate").strip()
    return bool(flags) and int(flags, 16) & 1 == 1 and state not in ("down", "lowerlayerdown", "notpresent")


def _default_routes(patient: Patient, place: str) -> list[str]:
    four = [line.split() for line in patient.read(f"{place}/route").splitlines()[1:]]
    six = [line.split() for line in patient.read(f"{place}/ipv6_route").splitlines()]
    has_four = any(len(parts) > 7 and parts[1] == parts[7] == "0" * 8 for parts in four)
    has_six = any(len(parts) > 9 and parts[0] == "0" * 32 and parts[1] == "00" and parts[9] != "lo" for parts in six)
    return ["everywhere (IPv4)"] * has_four + ["everywhere (IPv6)"] * has_six


def _address(text: str) -> str:
    """From /proc/net: the address in words of the processor's byte order, the port in hexadecimal."""
    packed, _, port = text.partition(":")
    words = [bytes.fromhex(packed[at : at + 8])[::-1] for at in range(0, len(packed), 8)]
    address = ip_address(b"".join(words))
    return f"[{address}]:{int(port, 16)}" if address.version == 6 else f"{address}:{int(port, 16)}"
