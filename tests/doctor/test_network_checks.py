"""The service and the network: with real processes, sockets and name spaces."""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from edge_assistant.config import Config
from edge_assistant.doctor.finding import Patient, Verdict, read_service
from edge_assistant.doctor.offline import check_network, check_service, check_sockets, network_sockets

SHOWN = """\
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
MainPID={pid}
NRestarts=0
Result=success
StatusText=listening (alsa:USB, alsa:USB)
Environment=HOME=/var/lib/edge-assistant XDG_STATE_HOME=/var/lib
"""


def patient(pid=0, **otherwise):
    told = read_service(lambda command: SHOWN.format(pid=pid))
    return Patient(Config(), service={**told, **otherwise}, own=frozenset({os.getpid()}))


@pytest.mark.parametrize(
    ("otherwise", "verdict", "found"),
    [
        ({}, Verdict.WELL, "active (running), enabled at boot: listening (alsa:USB, alsa:USB)"),
        ({"UnitFileState": "disabled"}, Verdict.WARNING, "disabled at boot"),
        ({"ActiveState": "inactive", "SubState": "dead"}, Verdict.WARNING, "inactive"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "watchdog"}, Verdict.FAULT, "watchdog"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "7"}, Verdict.FAULT, "restarted 7 times"),
        ({"NRestarts": "3"}, Verdict.WARNING, "restarted 3 times"),
        ({"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}, Verdict.ABSENT, "not installed"),
    ],
)
def test_service(otherwise, verdict, found):
    (finding,) = check_service(patient(**otherwise))
    assert finding.verdict is verdict
    assert found in finding.found
    assert bool(finding.mend) == (verdict in (Verdict.WARNING, Verdict.FAULT))


def test_no_systemd():
    assert read_service(lambda command: "") == {}
    (finding,) = check_service(Patient(Config()))
    assert finding.verdict is Verdict.ABSENT


@contextmanager
def process(*prefix, script="import time; print(flush=True); time.sleep(60)"):
    running = subprocess.Popen([*prefix, sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert running.stdout
        running.stdout.readline()
        yield running.pid
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def isolated():
    return (
        shutil.which("unshare") and not subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode
    )


@pytest.mark.skipif(not isolated(), reason="no network name space can be made here")
def test_a_service_without_a_network():
    with process("unshare", "--net") as pid:
        (finding,) = check_network(patient(pid))
        assert finding.verdict is Verdict.WELL
        assert "nothing can be reached" in finding.found
        assert f"/proc/{pid}/net" in finding.looked_at


@pytest.mark.skipif(not isolated(), reason="no network name space can be made here")
def test_a_service_with_an_interface():
    with process(
        "unshare",
        "--net",
        "sh",
        "-c",
        'ip link add dummy0 type dummy 2>/dev/null || ip tuntap add dummy0 mode tun; exec "$0" "$@"',
    ) as pid:
        (finding,) = check_network(patient(pid))
        if "dummy0" not in (patient().root / f"proc/{pid}/net/dev").read_text():
            pytest.skip("no interface can be made here")
    assert finding.verdict is Verdict.WARNING
    assert "dummy0" in finding.found
    assert "drop-in" in finding.mend


DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:   18860      29    0    0    0     0          0         0    18860      29    0    0    0     0       0          0
 wlan0:   55333     378    0    0    0     0          0         0    43181     301    0    0    0     0       0          0
  eth0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
"""
ROUTE = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	0101A8C0	0003	0	0	600	00000000	0	0	0
wlan0	0001A8C0	00000000	0001	0	0	600	00FFFFFF	0	0	0
"""
NO_WAY_6 = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"
WAY_6 = f"{'0' * 32} 00 {'0' * 32} 00 fe800000000000000000000000000001 00000258 00000001 00000000 00450003    wlan0\n"


@pytest.mark.parametrize(
    ("wlan0", "route", "route_6", "found", "absent"),
    [
        (("0x1003", "up"), ROUTE, WAY_6, "wlan0, a route to everywhere (IPv4), a route to everywhere (IPv6)", "eth0"),
        (("0x1003", "up"), "Iface\n", NO_WAY_6, "has wlan0;", "route"),
        (("0x1002", "down"), "Iface\n", NO_WAY_6, "nothing can be reached", "wlan0"),
        (("0x1002", "unknown"), "Iface\n", "", "nothing can be reached", "wlan0"),
        (("0x1003", "down"), "Iface\n", "", "nothing can be reached", "wlan0"),
    ],
)
def test_the_machines_own_network(tmp_path, *, wlan0, route, route_6, found, absent):
    files = {
        "proc/net/dev": DEV, "proc/net/route": route, "proc/net/ipv6_route": route_6,
        "sys/class/net/wlan0/flags": f"{wlan0[0]}\n", "sys/class/net/wlan0/operstate": f"{wlan0[1]}\n",
        "sys/class/net/eth0/flags": "0x1003\n", "sys/class/net/eth0/operstate": "down\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (finding,) = check_network(Patient(Config(), tmp_path))
    assert finding.verdict is Verdict.WELL
    assert found in finding.found
    assert absent not in finding.found


def test_a_kernel_that_does_not_tell(tmp_path):
    (finding,) = check_network(Patient(Config(), tmp_path))
    assert finding.verdict is Verdict.ABSENT


def test_no_socket_of_the_network_is_open():
    one, other = socket.socketpair()  # local ones are none
    with process() as pid, one, other:
        (finding,) = check_sockets(patient(pid))
        assert finding.verdict is Verdict.WELL
        assert f"/proc/{pid}/fd" in finding.looked_at


KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_socket_is_told_with_its_address(kind):
    family, way, address = KINDS[kind]
    with socket.socket(family, way) as opened:
        try:
            opened.bind(address)
        except OSError:
            pytest.skip(f"no {kind} here")
        if way == socket.SOCK_STREAM:
            opened.listen()
        port = opened.getsockname()[1]
        (finding,) = check_sockets(patient())
        assert finding.verdict is Verdict.FAULT
        host = "127.0.0.1" if family == socket.AF_INET else "[::1]"
        assert f"{kind} {host}:{port} to " in finding.found
    assert network_sockets(patient(), os.getpid()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may")
def test_raw_sockets_are_seen():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0):
        pass  # may it be opened at all?
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
        assert network_sockets(patient(), os.getpid()) == ["raw packets"]


def test_a_socket_of_the_service():
    script = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(flush=True); time.sleep(60)"
    with process(script=script) as pid:
        (finding,) = check_sockets(patient(pid))
        assert finding.verdict is Verdict.FAULT
        assert "tcp 127.0.0.1" in finding.found


def test_a_service_that_has_just_ended():
    with process() as pid:
        pass
    (finding,) = check_sockets(patient(pid))
    assert finding.verdict is Verdict.WELL
