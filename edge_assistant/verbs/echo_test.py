"""`edge-assistant echo-test`: measure the echo from loudspeaker to microphone, try every strategy, and say which to use."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_assistant.errors import EchoError, UsageError
from edge_assistant.verbs import add_settings, configuration

if TYPE_CHECKING:
    from edge_assistant.echo.measure import Advice, Result, Take
    from edge_assistant.echo.measure import Path as EchoPath

HELP = "measure the echo of the loudspeaker in the microphone, and say what to do about it"
EXAMPLE = """\
examples:
  edge-assistant echo-test
  edge-assistant echo-test --microphone alsa:USB --loudspeaker alsa:USB --json | jq .advice
  edge-assistant echo-test --keep played.wav heard.wav
  edge-assistant echo-test --wav played.wav heard.wav

It plays two sweeps and ten sentences, about 40 s; nobody should speak meanwhile.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    add_settings(parser, "talk.microphone", "talk.loudspeaker")
    parser.add_argument(
        "--wav", nargs=2, type=Path, metavar=("PLAYED", "HEARD"), help="judge two recordings that begin together, without devices"
    )
    parser.add_argument("--keep", nargs=2, type=Path, metavar=("PLAYED", "HEARD"), help="write what was played and heard")
    parser.add_argument("--json", action="store_true", help="the findings as one object on stdout")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises EdgeAssistantError."""
    from edge_assistant.echo.measure import advise, measure_path, try_strategy  # noqa: PLC0415
    from edge_assistant.echo.system import find_cancelled  # noqa: PLC0415
    from edge_assistant.echo.take import make_interruptions, make_script, record  # noqa: PLC0415
    from edge_assistant.vad import SileroVad  # noqa: PLC0415
    from edge_assistant.voice import EspeakVoice  # noqa: PLC0415

    if args.wav and args.keep:
        raise UsageError("--wav and --keep exclude each other", "the recordings are there already")
    settings = configuration(args).talk
    voice = EspeakVoice()
    voice.open()
    try:

        def play(microphone: str | None, loudspeaker: str | None) -> "Take":
            return record(lambda rate_hz: make_script(voice, rate_hz), microphone, loudspeaker, _progress)

        take = _read(args.wav) if args.wav else play(settings.microphone, settings.loudspeaker)
        if args.keep:
            _write(take, args.keep)
        path = measure_path(take)
        user = make_interruptions(voice, len(take.near))
        results: list[Result] = []
        absent: dict[str, str] = {}
        for strategy in ("speexdsp", "aec3", "system"):
            if path.problem is not None and path.problem.ends:
                break
            try:
                judged = take
                if strategy == "system":
                    if args.wav:
                        raise EchoError("two recordings do not tell what the sound server would do")
                    pair = find_cancelled()
                    judged = play(pair.microphone, pair.loudspeaker)
                results.append(try_strategy(strategy, judged, path, SileroVad, user))
            except EchoError as error:
                absent[strategy] = str(error)
    finally:
        voice.close()
    advice = advise(path, results)
    (_print_json if args.json else _print)(path, results, absent, advice)


def _print(path: "EchoPath", results: "list[Result]", absent: dict[str, str], advice: "Advice") -> None:
    if path.problem is None:
        print(f"echo       {path.echo_db:6.1f} dB of full scale, {path.coupling_db:+.1f} dB against what was played")
        print(f"room       {path.noise_db:6.1f} dB while nothing was played")
        print(f"delay      {path.delay_ms:6.1f} ms")
        print(f"drift      {path.drift_ppm:+6.1f} ppm{'' if abs(path.drift_ppm) > 1 else ' (one clock for both)'}")
    else:
        print(f"no echo was measured: {path.problem.value}")
    if path.clips:
        print(f"clipping   {100 * path.clipped_share:6.2f} % of the microphone's samples")
    if results:
        print("\nstrategy     echo less   our speech   our turns   interruptions   heard over us")
        print("                         left over    started     found           from")
    for result in results:
        print(
            f"{result.strategy:11} {result.reduction_db:7.1f} dB {100 * result.leaked:9.1f} % {result.self_triggers:11} "
            f"{result.found:9} of {result.asked:<3}{result.user_db:11.0f} dB"
        )
    for strategy, why in absent.items():
        print(f"{strategy:11} not tried: {why}")
    print(f"\nuse        echo strategy {advice.strategy}, barge-in by {advice.barge_in}")
    print(f"because    {advice.reason}")


def _print_json(path: "EchoPath", results: "list[Result]", absent: dict[str, str], advice: "Advice") -> None:
    found = {
        "path": {**asdict(path), "problem": path.problem.name.lower() if path.problem else None, "clips": path.clips},
        "results": [asdict(result) for result in results],
        "not_tried": absent,
        "advice": asdict(advice),
    }
    rounded = json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 4))
    print(json.dumps(rounded))


def _progress(done: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{min(100, round(100 * done)):3} %  please be quiet", end="\n" if done >= 1 else "", file=sys.stderr, flush=True)


def _read(paths: list[Path]) -> "Take":
    import numpy as np  # noqa: PLC0415

    from edge_assistant.echo.measure import Take  # noqa: PLC0415
    from edge_assistant.recording import Recording  # noqa: PLC0415

    far, near = (np.concatenate(list(Recording(path).frames())) for path in paths)
    length = min(len(far), len(near))
    if length < 10 * 16_000:
        raise UsageError("the recordings are too short to judge an echo", "record at least 10 s, better 40")
    return Take(far[:length], near[:length])


def _write(take: "Take", paths: list[Path]) -> None:
    import soundfile as sf  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    for path, pcm in zip(paths, (take.far, take.near), strict=True):
        try:
            sf.write(path, pcm, 16_000, "PCM_16")
        except (OSError, sf.LibsndfileError) as error:
            raise UsageError(f"cannot write {path}") from error
