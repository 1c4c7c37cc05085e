"""Field notes: what the user says, word for word, kept with its date; off until the configuration switches it on.

The words are the model's own speech recognition of the turn's sound, not what it makes of them.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from edge_assistant.errors import StorageError
from edge_assistant.notebook import Note, Notebook, matches
from edge_assistant.prompt import harmless
from edge_assistant.tools.clock import MONTHS
from edge_assistant.tools.contract import Result, Risk, Tool, ToolError, Transcript, tool
from edge_assistant.wallclock import Now

MOST = 3
"""Notes that are told at once."""
MOST_TOLD = 600
"""Characters of notes that are told at once."""
_COMMAND = re.compile(
    r"""^\W*(?:(?:please|okay|ok|hey|so|can\ you|could\ you|would\ you)\W+)*
        (?:(?:take|make|write|add|save|record)\ (?:down\ )?(?:a|this|another|the)?\ ?(?:new\ )?note
           |note\ (?:down|this|that)|write\ down|note)
        (?:\W+(?:please|that|of|saying|this|about))*\b\W*""",
    re.IGNORECASE | re.VERBOSE,
)


def note_tools(notebook: Notebook, now: Callable[[], Now], on: bool = False) -> list[Tool]:
    """`take_note`, off unless it is asked for, and `read_notes`, which is there if the other is."""

    def take_note(said: Transcript) -> Result:
        """Keep what the user says, word for word, as a note."""
        text = wanted(said)
        if not text:
            raise ToolError("ask what to note" if said else "the words were not understood")
        moment = now()
        note = Note(moment.local.replace(microsecond=0), text, moment.trusted)
        try:
            notebook.add(note)
        except StorageError as error:
            raise ToolError("the disk is full, or cannot be written: nothing was kept") from error
        return Result({"noted": _short(text)}, f"Noted: {_short(text)}")

    def read_notes(words: str | None = None, day: Literal["today", "yesterday"] | None = None) -> Result:
        """Tell the newest notes. Changes nothing.

        Args:
            words: Only notes with these words.
            day: Only notes of this day.
        """
        local = now().local
        found = [note for note in _all(notebook) if matches(note, words or "") and day in (None, _day(note.at, local))]
        if not found:
            return Result({"count": 0}, "There is no such note." if words or day else "There are no notes.")
        told: list[str] = []
        for note in found[: -MOST - 1 : -1]:
            line = f"{when(note, local)}: {_short(note.text)}"
            if told and len(" ".join([*told, line])) > MOST_TOLD:
                break
            told.append(line)
        return Result({"count": len(found), "notes": told}, " ".join(f"{line[0].upper()}{_sentence(line[1:])}" for line in told))

    tools = [tool(take_note, risk=Risk.HARMLESS if on else Risk.OFF, limit_s=15)]
    return [*tools, tool(read_notes, risk=tools[0].risk)]


def wanted(said: str) -> str:
    """What is to be noted of what was said: all but the request itself."""
    text = " ".join(harmless("".join(each for each in said if each.isprintable() or each.isspace())).split())
    text = text[match.end() :] if (match := _COMMAND.match(text)) else text
    return f"{text[0].upper()}{text[1:]}" if text else ""


def when(note: Note, local: datetime) -> str:
    """The day and the hour, in words."""
    if not note.sure:
        return "at an uncertain time"
    day = _day(note.at, local)
    if not day:
        day = f"on {note.at.day} {MONTHS[note.at.month - 1]}" + (f" {note.at.year}" if note.at.year != local.year else "")
    return f"{day} at {note.at.hour}:{note.at.minute:02}"


def _all(notebook: Notebook) -> list[Note]:
    try:
        return notebook.notes()
    except StorageError as error:
        raise ToolError("the notes cannot be read") from error


def _day(at: datetime, local: datetime) -> str:
    return {0: "today", 1: "yesterday"}.get((local.date() - at.date()).days, "")


def _short(text: str) -> str:
    return text if len(text) <= MOST_TOLD // 2 else f"{text[: MOST_TOLD // 2].rsplit(' ', 1)[0]} and so on."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
