"""`edge-assistant talk`: speak, and it answers; speak over it, and it is silent."""

import argparse
import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from edge_assistant.config import Config, Talk
from edge_assistant.errors import BundleError
from edge_assistant.verbs import add_settings, check_seconds, configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_assistant.fastpath import CommandListener
    from edge_assistant.runtime import Session
    from edge_assistant.talk import Parts, TalkConfig
    from edge_assistant.timeline import Moment

log = logging.getLogger(__name__)

HELP = "talk through microphone and loudspeaker"
EXAMPLE = """\
examples:
  edge-assistant talk
  edge-assistant talk --microphone alsa:USB --loudspeaker alsa:USB --echo speexdsp
  edge-assistant talk --mode wake --wake-word "hey jarvis" --barge-in wake
  edge-assistant talk --journal talk.jsonl

keys, on a terminal:
  space   speak (with --mode button: hold it, or tap it)
  s       stop: be silent, and forget what was being said
  m       turn the microphone off or on
  Ctrl-C  end

what is not given comes from the configuration: see edge-assistant config
"""
SETTINGS = (
    *("talk.microphone", "talk.loudspeaker", "talk.mode", "talk.wake_word", "talk.barge_in", "talk.echo", "talk.end_of_turn"),
    *("talk.talk_pin", "talk.mute_pin", "talk.model", "talk.voice", "talk.vad"),
)
"""What of the configuration has an option, here and in `serve`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    add_settings(parser, *SETTINGS)
    parser.add_argument("--journal", type=Path, metavar="FILE", help="write every decision and what it rests on; no sound")
    parser.add_argument("--record-audio", type=Path, metavar="OUT.wav", help="keep what the microphone hears")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so long (until Ctrl-C)")
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--json", action="store_true", help="one event a line on stdout")
    show.add_argument("-q", "--quiet", action="store_true", help="print only what is said")


def configure(args: argparse.Namespace, config: Config) -> "TalkConfig":
    """What a conversation is to be like. Raises UsageError."""
    from edge_assistant.attention import AttentionConfig  # noqa: PLC0415
    from edge_assistant.button import Button  # noqa: PLC0415
    from edge_assistant.endpoint import EndpointConfig  # noqa: PLC0415
    from edge_assistant.talk import TalkConfig  # noqa: PLC0415

    settings = config.talk
    check_seconds(args.seconds)
    pins = {Button.TALK: settings.talk_pin, Button.MUTE: settings.mute_pin}
    shortest, longest = settings.end_min_ms, settings.end_max_ms
    return TalkConfig(
        microphone=named_device(settings.microphone),
        loudspeaker=named_device(settings.loudspeaker),
        echo=settings.echo,
        endpoint=EndpointConfig(
            end_ms=min(max(EndpointConfig().end_ms, shortest), longest), end_min_ms=shortest, end_max_ms=longest
        ),
        attention=AttentionConfig(settings.mode, settings.barge_in, settings.window_ms, settings.follow_up_ms),
        journal=args.journal,
        record_audio=args.record_audio,
        pins={button: pin for button, pin in pins.items() if pin is not None},
        tools=config,
        seconds=args.seconds,
    )


def named_device(name: str) -> str | None:
    """None where any device will do."""
    return None if name == "default" else name


def make_parts(settings: Talk, session: "Session", show: "Callable[[Moment], None]", identity: str) -> "Parts":
    """What it is held with; `identity` is the bundle's. Raises EdgeAssistantError."""
    from edge_assistant.commands import StopWord, can_hear_stop  # noqa: PLC0415
    from edge_assistant.end_of_turn import EndOfTurn  # noqa: PLC0415
    from edge_assistant.places import cache_folder, state_folder  # noqa: PLC0415
    from edge_assistant.talk import Parts  # noqa: PLC0415
    from edge_assistant.vad import VADS  # noqa: PLC0415
    from edge_assistant.voice import find_voice  # noqa: PLC0415
    from edge_assistant.wake import WakeWord  # noqa: PLC0415

    return Parts(
        session,
        VADS[settings.vad](),
        find_voice(settings.voice),
        show,
        wake=WakeWord(settings.wake_word) if settings.mode == "wake" else None,
        stop=StopWord() if can_hear_stop() else None,
        judge=EndOfTurn().probability if settings.end_of_turn else None,
        listener=make_listener(),
        prefixes=cache_folder() / "prefix" / identity[:16],
        state=state_folder(),
    )


def make_listener() -> "CommandListener | None":
    """The shipped model once more, as a listener for commands; None, and a line in the log, where it is missing or damaged."""
    from edge_assistant.fastpath import CAPACITY, CommandListener  # noqa: PLC0415
    from edge_assistant.models import find_model  # noqa: PLC0415
    from edge_assistant.runtimes.opening import open_model  # noqa: PLC0415

    try:
        return CommandListener(open_model(find_model("pocket")).session(CAPACITY))
    except BundleError as error:
        log.warning("commands wait for the model: %s", error)
        return None


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    from edge_assistant import timeline  # noqa: PLC0415
    from edge_assistant.models import find_model  # noqa: PLC0415
    from edge_assistant.runtimes.opening import open_model  # noqa: PLC0415
    from edge_assistant.talk import Host, ended_by_sigterm, talk  # noqa: PLC0415

    whole = configuration(args)
    settings, config = whole.talk, configure(args, whole)
    model = open_model(find_model(settings.model))
    show = timeline.json_lines if args.json else timeline.answers if args.quiet else timeline.table
    parts = make_parts(settings, model.session(), show(sys.stdout), model.bundle.identity)

    def ready(microphone: str, loudspeaker: str) -> None:
        print(f"edge-assistant: listening ({microphone or 'no microphone'}, {loudspeaker or 'no loudspeaker'})", file=sys.stderr)

    host = Host(ready=ready)
    with ended_by_sigterm(host.inbox), redirect_stdout(sys.stderr):  # stdout is the timeline's, whatever a tool prints
        talk(config, parts, host)
