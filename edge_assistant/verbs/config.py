"""`edge-assistant config`: the settings that hold and where each comes from; a file of them checked, or begun."""

import argparse
import json
import sys
from pathlib import Path

HELP = "show, check or begin the settings"
EXAMPLE = """\
examples:
  edge-assistant config show                   # what holds now, and where each value comes from
  edge-assistant config show --json | jq .talk.mode
  edge-assistant config check                  # everything that would be read now
  edge-assistant config check new.toml         # one file
  edge-assistant config path                   # which files are read
  mkdir -p ~/.config/edge-assistant && edge-assistant config default > ~/.config/edge-assistant/config.toml

exit status: 0 if all is well, 2 if something is wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("what", choices=["show", "check", "path", "default"], help="what to do")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="with show and check: this file alone")
    parser.add_argument("--json", action="store_true", help="with show, check and path: one object on stdout")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises ConfigError, UsageError."""
    from edge_assistant.config import files, load, load_file  # noqa: PLC0415
    from edge_assistant.config_text import default_text, show_json, show_text  # noqa: PLC0415
    from edge_assistant.errors import UsageError  # noqa: PLC0415

    if args.file and args.what in ("path", "default"):
        raise UsageError(f"config {args.what} takes no file")
    match args.what:
        case "default":
            print(default_text(), end="")
        case "path":
            there = {str(path): path.is_file() for path in files()}
            print(
                json.dumps(there)
                if args.json
                else "\n".join(f"{path}{'' if is_there else '  (not there)'}" for path, is_there in there.items())
            )
        case "show":
            loaded = load_file(args.file) if args.file else load()
            print(
                json.dumps(show_json(loaded), ensure_ascii=False) if args.json else show_text(loaded),
                end="\n" if args.json else "",
            )
        case _:
            _check(args)


def _check(args: argparse.Namespace) -> None:
    from edge_assistant.config import Problems, load, load_file  # noqa: PLC0415
    from edge_assistant.errors import ConfigError  # noqa: PLC0415

    found: list[ConfigError] = []
    names: list[str] = []
    try:
        loaded = load_file(args.file) if args.file else load()
        names = [str(path) for path in loaded.files]
    except Problems as problems:
        found = problems.each
    except ConfigError as error:
        found = [error]
    if args.json:
        print(json.dumps({"files": names, "problems": [{"what": each.what, "mend": each.mend} for each in found]}))
    else:
        for each in found:
            print(" ".join(str(each).split()), file=sys.stderr)
        if not found:
            print(f"all is well ({', '.join(names) or 'no file: the defaults hold'})")
    if found:
        raise SystemExit(2)
