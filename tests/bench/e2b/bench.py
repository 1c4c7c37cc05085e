"""Speed and memory at E2B's shape, beside llama.cpp in the same run: `make bench-e2b`.

Random weights of E2B's real dimensions, in 4 bits on both sides; `docs/benchmarks.md` says what is measured and what it showed.
The sides take turns at every measurement, so that what else the machine does meets both. About half an hour, 10 GB of disk.
With --drafted ours alone, beside itself without a drafter (`drafting.py`); with --context ours alone, beside itself with a cache
in float32 (`context.py`).
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import weights
from rich.console import Console
from rich.table import Table

from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.runtimes.prepared import is_prepared, prepare

HERE = Path(__file__).parent
PEER = ("llama-cpp-python==0.3.36", "gguf>=0.17", "numpy")
CONTEXTS, SECONDS = (256, 2048, 4096), (2, 5, 15, 30)
BURST, BURSTS = 8, 6
"""Tokens a side decodes before it is the next side's turn, and how often in a run."""
PHASES_S = (0.0, 0.053, 0.107)
"""Added to the sounds' lengths: the encoder takes 160 ms at once, and a question may end anywhere in it."""
LLAMA = "llama.cpp"


class Side:
    """One process that does one side's jobs, one at a time."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, job: str, **arguments: Any) -> Any:
        """Raises RuntimeError when the process ends without an answer."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([job, arguments]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@dataclass(frozen=True)
class Figure:
    """One line of the table: a value for each side."""

    what: str
    unit: str
    threads: int
    values: dict[str, float]
    more_is_better: bool


def peer_python(cache: Path) -> Path:
    """The peer's own environment, made once; building llama.cpp takes some minutes and a C++ compiler."""
    folder = cache / "llama-cpp"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEER], check=True)
        ready.touch()
    return python


def measure_text(sides: list[Side], threads: int, runs: int, note: Any) -> list[Figure]:
    out: list[Figure] = []
    for context in CONTEXTS:
        note(f"{threads} threads, text, {context} tokens")
        prefill: dict[str, list[Any]] = {side.name: [] for side in sides}
        decode: dict[str, list[Any]] = {side.name: [] for side in sides}
        for _ in range(runs):
            for side in sides:
                prefill[side.name].append(side.ask("prefill", context=context))
            for _ in range(BURSTS):
                for side in sides:
                    decode[side.name].append(side.ask("decode", count=BURST))
        for kind, count, found in (("prefill", context, prefill), ("decode", BURST, decode)):
            for clock, word in (("wall_s", ""), ("cpu_s", ", processor time")):
                if clock == "cpu_s" and threads > 1:
                    continue
                speeds = {name: count / median(run[clock] for run in rows) for name, rows in found.items()}
                out.append(Figure(f"{kind} at {context:,}{word}", "tok/s", threads, speeds, True))
    return out


def measure_sound(sides: list[Side], threads: int, note: Any) -> list[Figure]:
    out: list[Figure] = []
    listening: dict[str, list[float]] = {}
    for seconds in SECONDS:
        note(f"{threads} threads, sound, {seconds} s at real-time pace")
        found: dict[str, list[float]] = {side.name: [] for side in sides}
        encoding: list[float] = []
        for phase in PHASES_S:
            for side in sides:
                heard = side.ask("hear", seconds=seconds + phase)
                found[side.name].append(heard["after_s"])
                if "encode_s" in heard:
                    encoding.append(heard["encode_s"])
                else:
                    listening.setdefault(side.name, []).append(heard["listening_cpu"])
        out.append(Figure(f"{seconds} s of sound: last sample to first token", "s", threads, _means(found), False))
        out.append(Figure(f"{seconds} s of sound: encoding within it", "s", threads, {LLAMA: mean(encoding)}, False))
    out.append(Figure("processor while listening", "cores", threads, _means(listening), False))
    return out


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    return {name: mean(rows) for name, rows in values.items()}


def measure_start(ours: list[Side], threads: int) -> list[Figure]:
    """With the files in the system's page cache, as at a restart."""
    found = {side.name: side.ask("opened") for side in ours}
    words = {
        "wall_s": ("start", "s"),
        "cpu_s": ("start, processor time", "s"),
        "anonymous_mb": ("anonymous after the start", "MB"),
    }
    return [
        Figure(word, unit, threads, {name: opened[key] for name, opened in found.items()}, False)
        for key, (word, unit) in words.items()
    ]


def measure_memory(sides: list[Side], threads: int) -> list[Figure]:
    found = {side.name: side.ask("memory") for side in sides}
    words = {"rss_mb": "resident after all that", "anonymous_mb": "of it anonymous"}
    return [
        Figure(word, "MB", threads, {name: memory[key] for name, memory in found.items()}, False) for key, word in words.items()
    ]


def measure_drafting(work: Path, options: argparse.Namespace) -> None:
    """Each bundle in a process of its own."""
    found: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat()}
    for block in options.blocks:
        bundle = weights.make_bundle(work / f"bundle-{block}-drafted", block, drafted=True)
        for threads in options.threads:
            command = [sys.executable, HERE / "drafting.py", bundle, str(threads)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[f"block {block}, {threads} threads"] = json.loads(told.stdout)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show_drafting(found, Console(width=None if sys.stdout.isatty() else 130))


def measure_context(work: Path, options: argparse.Namespace) -> None:
    """Both caches over the same weights, in one process."""
    for block in options.blocks:
        coded = weights.make_bundle(work / f"bundle-{block}-cache8", block, cache_bits=8)
        floats = weights.with_cache(coded, work / f"bundle-{block}-cache32", 32)
        more = [*map(str, options.threads), *(["--prepared"] if options.prepared else [])]
        subprocess.run([sys.executable, HERE / "context.py", floats, coded, "--threads", *more], check=True)


def show_drafting(found: dict[str, Any], console: Console) -> None:
    table = Table(title="A drafter at E2B's shape, random weights, 4 bits")
    for heading in ("", "context", "ms", "as many single rows", "tokens a pass to break even"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, run in found.items():
        for context, figures in run.items() if isinstance(run, dict) else ():
            if not isinstance(figures, dict):
                continue
            times = figures["ms"]["wall_s"]
            needs = {f"{int(key[0]) + 1} rows": value for key, value in figures["needed"]["wall_s"].items()}
            for part, time_ms in times.items():
                table.add_row(
                    f"{name}: {part}", context, f"{time_ms:.1f}", f"{time_ms / times['one row']:.2f}", str(needs.get(part, ""))
                )
    console.print(table)


def show(figures: list[Figure], names: list[str], console: Console) -> None:
    table = Table(title="E2B's shape, random weights, 4 bits")
    for heading in ("", "threads", LLAMA):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in names:
        table.add_column(name, justify="right")
        table.add_column("ratio", justify="right")
    for figure in figures:
        row = [f"{figure.what}, {figure.unit}", str(figure.threads), _number(figure.values.get(LLAMA))]
        for name in names:
            value, other = figure.values.get(name), figure.values.get(LLAMA)
            row.append(_number(value))
            better = None if value is None or other is None else value / other if figure.more_is_better else other / value
            row.append("" if better is None else f"{better:.2f}x")
        table.add_row(*row)
    console.print(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument(
        "--work", type=Path, default=home / "edge-assistant" / "bench-e2b", help="folder for models and environment"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--blocks", type=int, nargs="+", default=[128, 32], help="weights that share a scale, one bundle each")
    parser.add_argument("--runs", type=int, default=3, help="of every measurement of text; the median counts")
    parser.add_argument(
        "--drafted", action="store_true", help="what a drafter costs, and what it has to bring, instead of all else"
    )
    parser.add_argument(
        "--context", action="store_true", help="what a long conversation costs with keys and values in 8 and in 32 bits, alone"
    )
    parser.add_argument("--prepared", action="store_true", help="with weights packed beforehand, mapped from files (4 GB more)")
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    talk, work = Console(stderr=True), options.work
    talk.print(f"models and environment in {work}")
    if options.drafted:
        measure_drafting(work, options)
        return
    if options.context:
        measure_context(work, options)
        return
    bundles = {f"block {block}": weights.make_bundle(work / f"bundle-{block}", block) for block in options.blocks}
    packed: dict[str, list[str]] = {name: [] for name in bundles}
    if options.prepared:
        for name, bundle in bundles.items():
            folder = bundle.with_name(f"{bundle.name}-prepared")
            if not is_prepared(Bundle.open(bundle), folder):
                prepare(bundle, folder)
            packed[name] = [str(folder)]
    python = peer_python(work)
    subprocess.run([python, HERE / "gguf_files.py", work / "gguf"], check=True)
    figures: list[Figure] = []
    for threads in options.threads:
        sides = [
            Side(name, [sys.executable, str(HERE / "ours.py"), str(bundle), str(threads), *packed[name]])
            for name, bundle in bundles.items()
        ]
        sides.append(Side(LLAMA, [str(python), str(HERE / "peer.py"), str(work / "gguf"), str(threads)]))
        for side in sides:
            side.ask("prefill", context=600)
            side.ask("hear", seconds=3)
        figures += measure_start(sides[:-1], threads)
        figures += measure_text(sides, threads, options.runs, talk.print)
        figures += measure_sound(sides, threads, talk.print)
        figures += measure_memory(sides, threads)
        for side in sides:
            side.close()
    if options.json:
        print(
            json.dumps({"date": datetime.now(UTC).date().isoformat(), "figures": [vars(figure) for figure in figures]}, indent=1)
        )
    else:
        show(figures, list(bundles), Console(width=None if sys.stdout.isatty() else 130))


if __name__ == "__main__":
    main()
