"""`edge-assistant replay`: make the decisions of a journal again, and compare."""

import argparse
import json
import sys
from pathlib import Path

HELP = "make the decisions of a journal again"
EXAMPLE = """\
example:
  edge-assistant talk --journal talk.jsonl
  edge-assistant replay talk.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a journal that talk --journal wrote")
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--json", action="store_true", help="the result as one object on stdout")
    show.add_argument("--show", action="store_true", help="print what happened, as talk did")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    from edge_assistant.frames import FRAME_MS  # noqa: PLC0415
    from edge_assistant.replay import replay  # noqa: PLC0415
    from edge_assistant.timeline import table  # noqa: PLC0415

    found = replay(args.file, table(sys.stdout)) if args.show else replay(args.file)
    if args.json:
        counts = {"frames": found.frames, "events": found.events, "commands": found.commands}
        print(json.dumps({"same": True, **counts}))
        return
    minutes = found.frames * FRAME_MS / 60_000
    print(f"the same {found.commands} commands, from {found.events} events and {found.frames} frames ({minutes:.1f} minutes)")
