"""`edge-assistant ask`: recorded questions, spoken answers."""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

from edge_assistant.errors import UsageError
from edge_assistant.verbs import add_settings, configuration

HELP = "answer a recorded question aloud"
EXAMPLE = """\
examples:
  edge-assistant ask question.wav
  edge-assistant ask "set a timer.wav" "how long.flac" --say answers.wav
  edge-assistant ask question.wav --pace fast --json | jq .event
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="WAV", help="recordings (WAV, FLAC, OGG), turns of one conversation"
    )
    parser.add_argument(
        "--pace",
        choices=["realtime", "fast"],
        default="realtime",
        help="as a microphone would give it, or as fast as can be, computing taking no time on the clock (realtime)",
    )
    parser.add_argument("--say", type=Path, metavar="OUT.wav", help="write what is spoken to a file instead of the loudspeaker")
    add_settings(parser, "talk.model", "talk.voice", "talk.vad")
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--json", action="store_true", help="one event a line on stdout")
    show.add_argument("-q", "--quiet", action="store_true", help="print only what is said")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    from edge_assistant import timeline  # noqa: PLC0415
    from edge_assistant.ask import PACES, Parts  # noqa: PLC0415
    from edge_assistant.models import find_model  # noqa: PLC0415
    from edge_assistant.places import cache_folder  # noqa: PLC0415
    from edge_assistant.recording import Recording  # noqa: PLC0415
    from edge_assistant.runtimes.opening import open_model  # noqa: PLC0415
    from edge_assistant.sinks import choose_sink  # noqa: PLC0415
    from edge_assistant.vad import VADS  # noqa: PLC0415
    from edge_assistant.voice import find_voice  # noqa: PLC0415

    config = configuration(args)
    settings = config.talk
    recordings = [Recording(path) for path in args.files]
    if args.say and args.say.exists() and any(path.samefile(args.say) for path in args.files):
        raise UsageError(f"{args.say} is a question too", "give --say another name")
    show = timeline.json_lines if args.json else timeline.answers if args.quiet else timeline.table
    with choose_sink(args.say, aloud=args.pace == "realtime") as sink:
        model = open_model(find_model(settings.model))
        prefixes = cache_folder() / "prefix" / model.bundle.identity[:16]
        parts = Parts(
            model.session(),
            VADS[settings.vad](),
            find_voice(settings.voice),
            sink,
            show(sys.stdout),
            prefixes=prefixes,
            tools=config,
        )
        with redirect_stdout(sys.stderr):  # stdout is the timeline's, whatever a tool prints
            PACES[args.pace](recordings, parts)
