"""What a check tells."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from edge_assistant.config import Config
from edge_assistant.errors import EdgeAssistantError
from edge_assistant.machine import Run

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "Result",
    "StatusText",
    "Environment",
)


class Verdict(Enum):
    """How it is."""

    WELL = "ok"
    ABSENT = "-"
    """There is nothing here to look at: no systemd, no board that measures its voltage."""
    WARNING = "warning"
    """It works, for now or not as well as it could."""
    FAULT = "fault"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    looked_at: str
    found: str
    mend: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks look at."""

    config: Config
    root: Path = Path("/")
    """Where /proc, /sys, /run and /etc are."""
    run: Run = lambda command: ""
    """Gives a command's output; "" where there is none."""
    service: Mapping[str, str] = field(default_factory=dict[str, str])
    """What systemd says of it, as `read_service` reads it."""
    quick: bool = False
    """Measure nothing: no sound is heard or made, no model is run."""
    own: frozenset[int] = frozenset()
    """Processes that are ours, beside the service."""

    def read(self, path: str) -> str:
        """A file's text; "" if it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def pins(self) -> list[int]:
        """Those that are configured."""
        talk, service, switches = self.config.talk, self.config.service, self.config.switches.values()
        return [
            pin for pin in (talk.talk_pin, talk.mute_pin, service.led_pin, *(each.pin for each in switches)) if pin is not None
        ]

    @property
    def service_pid(self) -> int:
        """The service's process; 0 if it does not run."""
        pid = self.service.get("MainPID", "")
        return int(pid) if pid.isdigit() else 0


def read_service(run: Run) -> dict[str, str]:
    """What systemd says of the service; empty without systemd."""
    told = run(("systemctl", "show", "edge-assistant.service", f"--property={','.join(_PROPERTIES)}"))
    parted = (line.partition("=") for line in told.splitlines())
    return {name: value for name, sign, value in parted if sign}


def fault(check: str, looked_at: str, error: EdgeAssistantError) -> Finding:
    """What an error comes to."""
    return Finding(check, Verdict.FAULT, looked_at, " ".join(error.what.split()), " ".join(error.mend.split()))


def worst(findings: Iterable[Finding]) -> Verdict:
    """The gravest verdict of all."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.WELL)
