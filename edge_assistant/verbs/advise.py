"""`edge-assistant advise`: which member of the Gemma 4 family to run on this machine, or on another, and why."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_assistant.advise import Advice, Installed
    from edge_assistant.machine import Machine

HELP = "say which model to run on this machine, and why"
EXAMPLE = """\
examples:
  edge-assistant advise
  edge-assistant advise --like pi5-8gb
  edge-assistant advise --json | jq -r '.commands[]'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    kinds = "pi5-8gb, pi5-4gb, pi-zero-2w, laptop, gpu-12gb, …; an unknown KIND lists all"
    parser.add_argument("--like", metavar="KIND", help=f"answer for such a machine: {kinds}")
    parser.add_argument("--json", action="store_true", help="one object on stdout")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises UsageError."""
    from edge_assistant.advise import advise  # noqa: PLC0415
    from edge_assistant.errors import UsageError  # noqa: PLC0415
    from edge_assistant.machine import KNOWN, read_machine  # noqa: PLC0415
    from edge_assistant.models import models_folder  # noqa: PLC0415

    if args.like is not None and args.like not in KNOWN:
        raise UsageError(f"no machine is known as {args.like!r}", f"known are {', '.join(KNOWN)}")
    tuned = {} if args.like else _read_tuned()
    advice = advise(KNOWN[args.like]) if args.like else advise(read_machine(models_folder()), _read_installed(set(tuned)))
    if args.json:
        json.dump({**_as_json(advice), "tuned": tuned}, sys.stdout, ensure_ascii=False)
        print()
    else:
        _show(advice, [f"{name}: {how['text']}; {how['gain']:.2f} times as fast as the defaults" for name, how in tuned.items()])


def _read_tuned() -> dict[str, dict[str, object]]:
    """What `tune` has found for the models that are here, by their names."""
    from dataclasses import asdict  # noqa: PLC0415

    from edge_assistant.gemma4.bundle import MANIFEST, sha256  # noqa: PLC0415
    from edge_assistant.models import SHIPPED, find_model, installed  # noqa: PLC0415
    from edge_assistant.runtimes.settings import read_tuned  # noqa: PLC0415

    found: dict[str, dict[str, object]] = {}
    for name in [*SHIPPED, *installed()]:
        manifest = find_model(name) / MANIFEST
        if manifest.is_file() and (tuned := read_tuned(sha256(manifest))):
            found[name] = {"text": str(tuned.settings), "gain": tuned.gain, **asdict(tuned.settings)}
    return found


def _read_installed(tuned: set[str]) -> list["Installed"]:
    """Members of the family that are here."""
    from edge_assistant.advise import Installed  # noqa: PLC0415
    from edge_assistant.errors import BundleError  # noqa: PLC0415
    from edge_assistant.gemma4.bundle import Bundle  # noqa: PLC0415
    from edge_assistant.models import KNOWN, installed  # noqa: PLC0415

    found: list[Installed] = []
    sources = {repository.rpartition("/")[2]: name for name, repository in KNOWN.items()}
    for name, folder in installed().items():
        known, block, whole = name, 0, True
        try:
            manifest = Bundle.open(folder).manifest
            # an adapter's name stands behind the model's
            known, block = sources.get(manifest.source.partition(" + ")[0], name), manifest.quantisation.block
        except BundleError:
            whole = False
        if known in KNOWN:
            found.append(Installed(name, known.partition("-")[0], block, whole, name in tuned))
    return found


def _as_json(advice: "Advice") -> dict[str, object]:
    from dataclasses import asdict  # noqa: PLC0415

    from edge_assistant.advise import FORMULA  # noqa: PLC0415

    machine = {**asdict(advice.machine), "features": sorted(advice.machine.features)}
    return {
        "machine": machine,
        "run": advice.chosen.name,
        "models": [asdict(row) for row in advice.rows],
        "text": advice.text,
        "notes": advice.notes,
        "memory": FORMULA,
        "commands": advice.commands,
    }


def _show(advice: "Advice", tuned: list[str]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from edge_assistant.advise import FORMULA  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(Text(_describe(advice.machine)), soft_wrap=True)
    table = Table(expand=False, pad_edge=False)
    for title in ("model", "", "needs", "hears", "suits", "here"):
        table.add_column(title, justify="right" if title == "needs" else "left", no_wrap=title in ("model", "", "needs"))
    for row in advice.rows:
        cells = (row.title, row.verdict, f"{row.memory_bytes / 1e9:.1f} GB", "yes" if row.hears else "no", row.suits, row.reason)
        table.add_row(*map(Text, cells), style="bold" if row is advice.chosen else "")
    console.print(table)
    for note in (*advice.notes, FORMULA):
        console.print(Text(f"· {note}"))
    for line in tuned:
        console.print(Text(f"· Tuned here, {line}"))
    console.print(Text("\nRun:"))
    for command in advice.commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


def _describe(machine: "Machine") -> str:
    """One line."""
    parts = [
        machine.name,
        machine.architecture,
        f"{machine.cores} cores",
        f"{machine.memory_bytes / 1e9:.1f} GB of memory",
        *(f"{gpu.name}, {gpu.memory_bytes / 1e9:.1f} GB" for gpu in machine.gpus),
        *([f"{machine.disk_bytes / 1e9:.0f} GB of disk free"] if machine.disk_bytes is not None else []),
        *([f"{machine.temperature_c:.0f} °C"] if machine.temperature_c is not None else []),
        " ".join(sorted(machine.features)),
    ]
    return " · ".join(part for part in parts if part)
