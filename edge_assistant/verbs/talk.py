"""`edge-assistant talk`: speak, and it answers; speak over it, and it is silent."""

import argparse
import sys
from pathlib import Path

from edge_assistant.errors import UsageError
from edge_assistant.verbs import check_seconds

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
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    from edge_assistant.attention import BARGE_INS, MODES  # noqa: PLC0415 - light

    parser.add_argument("--microphone", metavar="NAME", help="a name that `edge-assistant devices` lists (the default one)")
    parser.add_argument("--loudspeaker", metavar="NAME", help="a name that `edge-assistant devices` lists (the default one)")
    parser.add_argument("--mode", choices=MODES, default="open", help="listen always, after a wake word, or at a button (open)")
    parser.add_argument("--wake-word", default="hey jarvis", metavar="PHRASE", help='with --mode wake ("hey jarvis")')
    parser.add_argument(
        "--barge-in", choices=BARGE_INS, default="speech", help="what interrupts a reply: any speech, or the wake word (speech)"
    )
    parser.add_argument(
        "--echo",
        default="speexdsp",
        metavar="STRATEGY",
        help="against our own voice in the microphone: half-duplex, speexdsp, aec3, system; echo-test recommends (speexdsp)",
    )
    parser.add_argument("--end-of-turn", action="store_true", help="judge ends by their sound too (extra smart-turn)")
    parser.add_argument("--talk-pin", type=int, metavar="GPIO", help="a button to speak, between this pin and ground")
    parser.add_argument("--mute-pin", type=int, metavar="GPIO", help="a button that turns the microphone off or on")
    parser.add_argument(
        "--model", default="pocket", metavar="pocket|BUNDLE", help="a shipped model, or a bundle's folder (pocket)"
    )
    parser.add_argument("--vad", choices=["silero", "webrtc"], default="silero", help="voice-activity detector (silero)")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="write every decision and what it rests on; no sound")
    parser.add_argument("--record-audio", type=Path, metavar="OUT.wav", help="keep what the microphone hears")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so long (until Ctrl-C)")
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--json", action="store_true", help="one event a line on stdout")
    show.add_argument("-q", "--quiet", action="store_true", help="print only what is said")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    from edge_assistant import timeline  # noqa: PLC0415
    from edge_assistant.attention import AttentionConfig  # noqa: PLC0415
    from edge_assistant.button import Button  # noqa: PLC0415
    from edge_assistant.end_of_turn import EndOfTurn  # noqa: PLC0415
    from edge_assistant.models import find_model  # noqa: PLC0415
    from edge_assistant.places import cache_folder  # noqa: PLC0415
    from edge_assistant.runtimes.opening import open_model  # noqa: PLC0415
    from edge_assistant.talk import Host, Parts, TalkConfig, ended_by_sigterm, talk  # noqa: PLC0415
    from edge_assistant.vad import VADS  # noqa: PLC0415
    from edge_assistant.voice import EspeakVoice  # noqa: PLC0415
    from edge_assistant.wake import WakeWord  # noqa: PLC0415

    check_seconds(args.seconds)
    if args.barge_in == "wake" and args.mode == "open":
        raise UsageError("nothing would wake it: --barge-in wake goes with --mode wake or --mode button")
    pins = {Button.TALK: args.talk_pin, Button.MUTE: args.mute_pin}
    config = TalkConfig(
        microphone=args.microphone,
        loudspeaker=args.loudspeaker,
        echo=args.echo,
        attention=AttentionConfig(mode=args.mode, barge_in=args.barge_in),
        journal=args.journal,
        record_audio=args.record_audio,
        pins={button: pin for button, pin in pins.items() if pin is not None},
        seconds=args.seconds,
    )
    model = open_model(find_model(args.model))
    show = timeline.json_lines if args.json else timeline.answers if args.quiet else timeline.table
    parts = Parts(
        model.session(),
        VADS[args.vad](),
        EspeakVoice(),
        show(sys.stdout),
        wake=WakeWord(args.wake_word) if args.mode == "wake" else None,
        judge=EndOfTurn().probability if args.end_of_turn else None,
        prefixes=cache_folder() / "prefix" / model.bundle.identity[:16],
    )

    def ready(microphone: str, loudspeaker: str) -> None:
        print(f"edge-assistant: listening ({microphone or 'no microphone'}, {loudspeaker or 'no loudspeaker'})", file=sys.stderr)

    host = Host(ready=ready)
    with ended_by_sigterm(host.inbox):
        talk(config, parts, host)
