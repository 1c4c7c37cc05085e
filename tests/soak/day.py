"""A day on the simulated clock through the real loop: a question every ten minutes, soft noise between them.

No deaf state (every question gets its reply, the last like the first), no reply to noise, flat memory.

python tests/soak/day.py [HOURS]
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
from silence import ALLOWED_MB, RATE_HZ, Watched

from edge_assistant.ask import Parts, ask_fast
from edge_assistant.models import find_model
from edge_assistant.recording import Recording
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.vad import SileroVad
from edge_assistant.voice import EspeakVoice

QUESTION = Path(__file__).parents[2] / "assets" / "demo" / "left.wav"
EVERY_MINUTES = 10


def main() -> int:
    """Run it; the exit status is 1 if anything was wrong."""
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 24
    questions = round(hours * 60 / EVERY_MINUTES)
    moments = []
    sink = Watched()
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder) / "noise.flac"
        sf.write(noise, np.random.default_rng(1).normal(0, 0.002, EVERY_MINUTES * 60 * RATE_HZ), RATE_HZ, "PCM_16")
        start = time.monotonic()
        model = OnnxModel.open(find_model("pocket"))
        parts = Parts(model.session(1024), SileroVad(), EspeakVoice(), sink, moments.append)
        ask_fast([Recording(path) for _ in range(questions) for path in (QUESTION, noise)], parts)
        took_s = time.monotonic() - start
    done = [moment for moment in moments if moment.event == "done"]
    said = [moment.more["text"] for moment in moments if moment.event == "say"]
    first, last, most = sink.minutes[60], sink.minutes[-1], max(sink.minutes[60:])
    print(
        f"{len(sink.minutes) / 60:.1f} hours in {took_s:.0f} s: {questions} questions, {len(done)} turns, {len(said)} sentences; "
        f"resident {first:.1f} MB after an hour, {last:.1f} MB at the end, {most:.1f} MB at most"
    )
    return 0 if len(done) == questions == done[-1].turn and len(said) >= questions and most - first < ALLOWED_MB else 1


if __name__ == "__main__":
    sys.exit(main())
