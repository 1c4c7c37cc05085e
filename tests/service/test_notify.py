"""What systemd is told, at a real datagram socket."""

import os
import socket
import time

import pytest

from edge_assistant.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    address = f"@{tmp_path}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(address.replace("@", "\0", 1))
        there.settimeout(2)
        yield there, address


def test_every_word_as_sd_notify_has_it(manager):
    there, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("listening\nto two lines")
    notifier.alive()
    notifier.stopping()
    told = [there.recv(4096).decode() for _ in range(4)]
    assert told == ["READY=1", "STATUS=listening to two lines", "WATCHDOG=1", "STOPPING=1"]
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    first, second = there.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, at = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(at) <= time.monotonic_ns() // 1000


def test_without_a_manager_nothing_happens():
    notifier = Notifier({})
    notifier.ready()
    assert notifier.watchdog_s is None


def test_a_manager_that_is_gone_or_slow_costs_nothing(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(str(tmp_path / "slow"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "slow")})
        begin = time.monotonic()
        for _ in range(2000):  # far more than its queue holds
            notifier.alive()
        assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),  # meant for somebody else
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_it_is_patient(environment, seconds, tmp_path):
    assert Notifier({"NOTIFY_SOCKET": str(tmp_path / "x")} | environment).watchdog_s == seconds
