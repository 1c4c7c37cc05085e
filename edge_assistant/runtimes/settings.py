"""How the runtime uses this machine for one model: what `edge-assistant tune` has measured and keeps, and where."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_assistant.places import state_folder
from edge_assistant.runtimes.drafting import MOST
from edge_assistant.runtimes.onnx import CHUNK
from edge_assistant.runtimes.prepared import processor

log = logging.getLogger(__name__)
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What `OnnxModel.open` takes; these are its defaults."""

    threads: int = 1
    spin: bool = False
    cores: tuple[int, ...] = ()
    chunk: int = CHUNK
    draft: int = 0

    def options(self) -> dict[str, Any]:
        """As `OnnxModel.open` takes them."""
        return {"threads": self.threads, "spin": self.spin, "cores": self.cores, "chunk": self.chunk, "draft": self.draft}

    def __str__(self) -> str:
        parts = [f"{self.threads} thread{'s' * (self.threads > 1)}"]
        parts += ["spinning"] * self.spin
        parts += [f"tied to processor {', '.join(map(str, self.cores))}"] * bool(self.cores)
        parts += [f"{self.chunk} soft tokens at once"]
        parts += [f"{self.draft} token{'s' * (self.draft > 1)} drafted"] * bool(self.draft)
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Tuned:
    """Settings that were measured."""

    settings: Settings
    wait_s: float
    """From the end of a question to the first words with them."""
    default_wait_s: float
    """The same with the defaults, measured in turns with the other."""

    @property
    def gain(self) -> float:
        """How many times as fast as the defaults."""
        return self.default_wait_s / self.wait_s


def tuned_file(identity: str) -> Path:
    """Where the settings for the bundle of this identity are kept. May not exist."""
    return state_folder() / "tune" / f"{identity[:16]}.json"


def keep_tuned(identity: str, tuned: Tuned) -> Path:
    """Write them, whole or not at all. Raises OSError."""
    path = tuned_file(identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**_key(identity), **asdict(tuned)}, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def read_tuned(identity: str) -> Tuned | None:
    """What was kept for this bundle on this machine; None, and a line in the log, for a file that is broken or of another."""
    path = tuned_file(identity)
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        key = {name: found[name] for name in _key(identity)}
        tuned = Tuned(_parse(found["settings"]), float(found["wait_s"]), float(found["default_wait_s"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("%s cannot be read and is left alone; run `edge-assistant tune` again", path)
        return None
    if key != _key(identity):
        log.warning("%s was measured on another machine and is left alone; run `edge-assistant tune` here", path)
        return None
    return tuned


def usable_processors() -> list[int]:
    """Logical processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def _key(identity: str) -> dict[str, Any]:
    return {"format": FORMAT, "bundle": identity, "processor": processor(), "usable": usable_processors()}


def _parse(raw: Mapping[str, Any]) -> Settings:
    """Raises ValueError, KeyError or TypeError for settings that cannot be."""
    draft = int(raw.get("draft", 0))  # files of before have none
    settings = Settings(int(raw["threads"]), bool(raw["spin"]), tuple(map(int, raw["cores"])), int(raw["chunk"]), draft)
    processors = usable_processors()
    if not 1 <= settings.threads <= len(processors) or not 1 <= settings.chunk <= 64 or not 0 <= draft <= MOST:
        raise ValueError(f"no such settings: {settings}")
    if settings.cores and (len(settings.cores) != settings.threads - 1 or not set(settings.cores) <= set(processors)):
        raise ValueError(f"no such processors: {settings.cores}")
    return settings
