"""What a service manager is told, by the datagrams of sd_notify(3). Without one nobody is told, and nothing is wrong."""

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Tells systemd how the service is."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """The environment is the one that systemd gave: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # @ stands for the abstract namespace
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
        self.watchdog_s = int(usec) / 1e6 if address and usec.isdigit() and pid == str(os.getpid()) else None
        """After so long without a sign of life the service is killed; None: nobody watches."""

    def ready(self) -> None:
        """It does its work, or does it again."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """A line for `systemctl status`."""
        self._tell(f"STATUS={' '.join(text.split())}")

    def alive(self) -> None:
        """A sign of life."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration changes: `ready` says when it has."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It is about to end."""
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                # Never waits: a manager that is slow must not make the assistant deaf.
                way.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            log.info("the service manager is not told %s: %s", lines[0], error)
