"""The command `edge-assistant`."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from edge_assistant.errors import EdgeAssistantError
from edge_assistant.verbs import (
    advise,
    ask,
    config,
    devices,
    doctor,
    echo_test,
    export,
    mic_test,
    models,
    notes,
    replay,
    serve,
    talk,
    tune,
)

VERBS = {
    "talk": talk,
    "serve": serve,
    "ask": ask,
    "devices": devices,
    "mic-test": mic_test,
    "echo-test": echo_test,
    "replay": replay,
    "export": export,
    "models": models,
    "advise": advise,
    "tune": tune,
    "config": config,
    "doctor": doctor,
    "notes": notes,
}

MENDABLE, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


def build_parser() -> argparse.ArgumentParser:
    """The command line, whole."""
    parser = argparse.ArgumentParser(
        prog="edge-assistant",
        description="Speak to a small computer with no network, and it answers aloud.",
        epilog="example: edge-assistant ask question.wav",
    )
    parser.add_argument("--version", action="version", version=f"edge-assistant {version('edge-assistant')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        sub = verbs.add_parser(
            name,
            help=verb.HELP,
            description=(verb.__doc__ or "").partition(": ")[2].capitalize(),
            epilog=verb.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("-v", "--verbose", action="store_true", help="log more to stderr")
        verb.add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO if args.verbose else logging.WARNING, format="edge-assistant: %(message)s"
    )
    out: object = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace")  # a terminal without Unicode shows a ? and goes on
    try:
        VERBS[args.verb].run(args)
        sys.stdout.flush()
    except EdgeAssistantError as error:
        print(f"edge-assistant: {' '.join(str(error).split())}", file=sys.stderr)
        return MENDABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return PIPE_CLOSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
