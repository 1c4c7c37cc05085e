"""`edge-assistant notes`: list, search, export and remove what was dictated."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_assistant.errors import UsageError

if TYPE_CHECKING:
    from edge_assistant.notebook import Note

HELP = "list, search, export and remove dictated notes"
EXAMPLE = """\
examples:
  edge-assistant notes list
  edge-assistant notes search pump
  edge-assistant notes export field-notes.txt
  edge-assistant notes remove 2 5
  edge-assistant notes remove all

notes are kept only if the configuration says so: [tools] take_note = true
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="all of them, numbered, oldest first")
    search = actions.add_parser("search", help="those with these words")
    search.add_argument("words", nargs="+", metavar="WORD")
    export = actions.add_parser("export", help="all of them as text")
    export.add_argument("file", type=Path, metavar="FILE", help="where to; - is standard output")
    remove = actions.add_parser("remove", help="some of them, by the numbers of list, or all")
    remove.add_argument("numbers", nargs="+", metavar="NUMBER|all")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    from edge_assistant.notebook import Notebook, matches  # noqa: PLC0415
    from edge_assistant.places import state_folder  # noqa: PLC0415

    notebook = Notebook(state_folder() / "notes.jsonl")
    notes = notebook.notes()
    match args.action:
        case "list" | "search":
            words = " ".join(getattr(args, "words", []))
            for number, note in enumerate(notes, 1):
                if matches(note, words):
                    print(f"{number:4}  {_written(note)}")
        case "export":
            _export(args.file, "".join(f"{_written(note)}\n" for note in notes))
        case _:
            removed = notebook.remove(_numbers(args.numbers, len(notes)))
            print(f"{removed} note{'' if removed == 1 else 's'} removed", file=sys.stderr)


def _numbers(given: list[str], most: int) -> set[int]:
    if given == ["all"]:
        return set(range(most))
    numbers = {int(each) for each in given if each.isdecimal() and 1 <= int(each) <= most}
    if len(numbers) < len(set(given)):
        raise UsageError("a note of that number is not there", "`edge-assistant notes list` numbers them")
    return {number - 1 for number in numbers}


def _export(file: Path, text: str) -> None:
    if str(file) == "-":
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file} ({error.strerror})", "name another file") from error


def _written(note: "Note") -> str:
    doubt = "" if note.sure else "?"
    return f"{note.at:%Y-%m-%d %H:%M}{doubt}  {note.text}"
