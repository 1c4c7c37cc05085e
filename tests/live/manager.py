"""The half of a service manager that a service talks to: starts it, and keeps what it tells by sd_notify, with the time."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = str(Path(sys.executable).with_name("edge-assistant"))
WALL = str(Path(__file__).parents[1] / "wall.py")
"""The kernel kills what asks for a socket towards a network."""


class Manager:
    """Runs `edge-assistant serve` from entering to leaving."""

    def __init__(self, *options: str, watchdog_s: float = 2.0, abstract: bool = False, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ea-manager-")
        runtime = Path(self._folder.name)
        address = f"@{runtime.name}" if abstract else str(runtime / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if abstract else address)
        self._command = [sys.executable, WALL, PROGRAM, "serve", *options]
        self._environment = {
            **os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(round(watchdog_s * 1e6)),
            "RUNTIME_DIRECTORY": str(runtime), "XDG_CACHE_HOME": str(runtime / "cache"),
            "XDG_STATE_HOME": str(runtime / "state"), **environment,
        }  # fmt: skip
        self._environment.pop("WATCHDOG_PID", None)
        self.told: list[tuple[float, str]] = []
        """When, and what: one line of a datagram each."""
        self.errors: list[str] = []
        """Lines of stderr."""

    def __enter__(self) -> Self:
        self.start()
        threading.Thread(target=self._receive, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self._socket.close()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, again too."""
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def wait_for(self, what: str, count: int = 1, within_s: float = 60.0) -> float:
        """When this line was told so many times."""
        found = self.until(lambda: [at for at, line in self.told if line.startswith(what)][count - 1 : count], within_s, what)
        return found[0]

    def until(self, look: Callable[[], list[float]], within_s: float, what: str = "it") -> list[float]:
        """Look until something is found."""
        deadline = time.monotonic() + within_s
        while not (found := look()):
            assert time.monotonic() < deadline, (what, self.told, self.errors)
            time.sleep(0.02)
        return found

    def wait_for_error(self, text: str, within_s: float = 60.0) -> str:
        """The line of stderr that holds this text."""
        self.until(lambda: [0.0 for line in self.errors if text in line][:1], within_s, text)
        return next(line for line in self.errors if text in line)

    def count(self, what: str, since: float = 0.0) -> int:
        """How often this was told, from that moment on."""
        return sum(line.startswith(what) for at, line in self.told if at >= since)

    def _receive(self) -> None:
        while True:
            try:
                datagram = self._socket.recv(4096)
            except OSError:
                return
            self.told += [(time.monotonic(), line) for line in datagram.decode().split("\n")]

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.errors.append(line.rstrip())
