"""`edge-assistant mic-test`: level, clipping, noise floor, speech and wake word, live from the microphone."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_assistant.verbs import add_settings, check_seconds, configuration

if TYPE_CHECKING:
    from edge_assistant.meter import Reading

HELP = "show what the microphone hears"
EXAMPLE = """\
examples:
  edge-assistant mic-test
  edge-assistant mic-test --microphone alsa:USB --wake "hey jarvis"
  edge-assistant mic-test --seconds 5 --json | jq .level_db
"""
LINE_FRAMES = 31
"""Without a terminal, a line about once a second."""
QUIETEST_DB = -70
BAR = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    add_settings(parser, "talk.microphone", "talk.vad")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so long (until Ctrl-C)")
    parser.add_argument("--wake", metavar="PHRASE", help='listen for a wake word too, e.g. "hey jarvis"')
    parser.add_argument("--json", action="store_true", help="one frame a line on stdout")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    import queue  # noqa: PLC0415

    from edge_assistant.devices import only_zeros  # noqa: PLC0415
    from edge_assistant.frames import FRAME_MS, Frame  # noqa: PLC0415
    from edge_assistant.meter import SILENT_DB, Meter, advice  # noqa: PLC0415
    from edge_assistant.microphone import Microphone  # noqa: PLC0415
    from edge_assistant.vad import VADS  # noqa: PLC0415
    from edge_assistant.wake import WakeWord  # noqa: PLC0415

    check_seconds(args.seconds)
    settings = configuration(args).talk
    vad = VADS[settings.vad]()
    wake = WakeWord(args.wake) if args.wake else None
    frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
    meter, loudest_db, reading, used = Meter(), SILENT_DB, None, ""
    microphone = Microphone(settings.microphone, frames.put)
    show = _json if args.json else _live(lambda: microphone.used) if sys.stdout.isatty() else _lines(lambda: microphone.used)
    try:
        with microphone:
            while (frame := frames.get()) is not None:
                if args.seconds is not None and frame.number * FRAME_MS >= args.seconds * 1000:
                    break
                reading = meter.read(frame.number, frame.pcm, vad(frame.pcm))
                loudest_db = max(loudest_db, reading.level_db)
                used = microphone.used or used
                show(reading, wake is not None and wake(frame.pcm))
    finally:
        if not args.json and sys.stdout.isatty():
            print()
    if reading is None or args.json:
        return
    if loudest_db > SILENT_DB:
        line = advice(reading, loudest_db)
    else:  # after some seconds the log has said so
        line = f"the microphone {only_zeros(used)}" if used and not microphone.gives_zeros else ""
    if line:
        print(line)


Show = Callable[["Reading", bool], None]
"""Takes a frame's measures, and whether the wake word was completed in it."""


def _json(reading: "Reading", woke: bool) -> None:
    rounded = {key: round(value, 3) for key, value in asdict(reading).items()}
    print(json.dumps({**rounded, "woke": woke}), flush=True)


def _lines(used: Callable[[], str]) -> Show:
    count = 0

    def show(reading: "Reading", woke: bool) -> None:
        nonlocal count
        if woke or count % LINE_FRAMES == 0:
            print(f"{reading.at_ms / 1000:7.2f} s  {_words(reading, woke)}  {used() or 'no microphone'}", flush=True)
        count += 1

    return show


def _live(used: Callable[[], str]) -> Show:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    woken = 0
    shown: str | None = None

    def place(level_db: float) -> int:
        return round(BAR * min(1.0, max(0.0, 1 - level_db / QUIETEST_DB)))

    def show(reading: "Reading", woke: bool) -> None:
        nonlocal woken, shown
        woken = LINE_FRAMES if woke else max(0, woken - 1)
        if (reading.at_ms // 32) % 2:
            return  # sixteen pictures a second are enough
        filled, floor, peak = place(reading.level_db), place(reading.floor_db), place(reading.peak_db)
        bar = Text("".join("▮" if i < filled else "·" for i in range(BAR)), "green" if reading.speech >= 0.5 else "white")
        bar.stylize("yellow", max(0, floor - 1), max(1, floor))
        bar.stylize("bold red" if peak >= BAR else "bold", max(0, peak - 1), max(1, peak))
        line = Text.assemble(bar, " ", _words(reading, bool(woken)))
        line.truncate(max(10, console.width - 1))
        console.file.write("\r\x1b[2K")
        if used() != shown:
            shown = used()
            console.print(shown or "no microphone")
        console.print(line, end="")
        console.file.flush()

    return show


def _words(reading: "Reading", woke: bool) -> str:
    said = "wake word" if woke else "speech" if reading.speech >= 0.5 else "-"
    clipped = f"  clipped {reading.clipped}" if reading.clipped else ""
    lost = f"  lost {reading.lost}" if reading.lost else ""
    return f"{reading.level_db:6.1f} dB  peak {reading.peak_db:6.1f}  floor {reading.floor_db:6.1f}  {said:9}{clipped}{lost}"
