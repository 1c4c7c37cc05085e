"""An hour of silence, and an hour of soft noise, through the whole way with the shipped model: no answer, flat memory.

python tests/soak/silence.py [MINUTES] [MODEL]
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

from edge_assistant.ask import Parts, ask_fast
from edge_assistant.models import find_model
from edge_assistant.recording import Recording
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.sinks import NullSink
from edge_assistant.vad import SileroVad
from edge_assistant.voice import EspeakVoice

RATE_HZ = 16_000
ALLOWED_MB = 8.0
"""Growth after the first minute."""


def resident_mb() -> float:
    """Memory in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Watched(NullSink):
    """Notes the memory once a minute of the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.minutes: list[float] = []

    def tick(self) -> None:
        super().tick()
        if self._ticks % (60 * RATE_HZ // 512) == 0:
            self.minutes.append(resident_mb())


def soak(name: str, level: float, minutes: int, model: OnnxModel) -> bool:
    """One recording of that level (0 is digital silence); True if nothing was said and memory stayed flat."""
    noise = np.random.default_rng(1)
    events = []
    sink = Watched()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quiet.flac"
        with sf.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(noise.normal(0, level, 60 * RATE_HZ) if level else np.zeros(60 * RATE_HZ))
        start = time.monotonic()
        ask_fast([Recording(path)], Parts(model.session(), SileroVad(), EspeakVoice(), sink, events.append))
        took_s = time.monotonic() - start
    first, last, most = sink.minutes[0], sink.minutes[-1], max(sink.minutes)
    print(
        f"{name}: {minutes} min in {took_s:.0f} s, {len(events)} events; "
        f"resident {first:.1f} MB after a minute, {last:.1f} MB at the end, {most:.1f} MB at most"
    )
    return not events and most - first < ALLOWED_MB


def main() -> int:
    """Run both."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    model = OnnxModel.open(find_model(sys.argv[2] if len(sys.argv) > 2 else "pocket"))
    results = [soak("silence", 0, minutes, model), soak("soft noise", 0.002, minutes, model)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
