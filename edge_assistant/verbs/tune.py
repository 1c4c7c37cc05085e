"""`edge-assistant tune`: measure how a model runs best on this machine, and keep it."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_assistant.gemma4.bundle import Bundle

HELP = "measure how a model runs best here, and keep it"
EXAMPLE = """\
examples:
  edge-assistant tune
  edge-assistant tune e2b
  edge-assistant tune e2b --all-cores
  edge-assistant tune e2b --forget

It asks the model short questions with more and fewer threads, waiting in a loop or not, tied to processors or not, with more
sound at once, and with its drafter, where it has one. `talk`, `ask` and the service then run the model as was fastest; the
defaults stay where nothing is clearly faster. Let the machine be idle meanwhile. A processor is left to sound and voice.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument(
        "model", nargs="?", default="pocket", metavar="MODEL", help="a model's name, or a bundle's folder (pocket)"
    )
    parser.add_argument("--all-cores", action="store_true", help="leave no processor to sound and voice")
    parser.add_argument("--forget", action="store_true", help="go back to the defaults")
    parser.add_argument("--json", action="store_true", help="one object on stdout")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises BundleError, StorageError."""
    from dataclasses import asdict  # noqa: PLC0415

    from edge_assistant.errors import StorageError  # noqa: PLC0415
    from edge_assistant.gemma4.bundle import Bundle  # noqa: PLC0415
    from edge_assistant.machine import read_machine  # noqa: PLC0415
    from edge_assistant.models import find_model, models_folder  # noqa: PLC0415
    from edge_assistant.runtimes.onnx import OnnxModel  # noqa: PLC0415
    from edge_assistant.runtimes.prepared import prepared_folder  # noqa: PLC0415
    from edge_assistant.runtimes.settings import Settings, keep_tuned, tuned_file, usable_processors  # noqa: PLC0415
    from edge_assistant.tune import DRAFTS, Bench, tune  # noqa: PLC0415

    bundle = Bundle.open(find_model(args.model))
    if args.forget:
        tuned_file(bundle.identity).unlink(missing_ok=True)
        print(json.dumps({"model": args.model, "settings": Settings().options()}) if args.json else Settings())
        return

    def open_model(settings: Settings) -> OnnxModel:
        return OnnxModel.open(bundle.folder, **settings.options(), prepared=prepared_folder(bundle.identity))

    def told(line: str) -> None:
        print(f"edge-assistant: {line}", file=sys.stderr, flush=True)

    processors = usable_processors()
    cores = min(read_machine(models_folder()).cores, len(processors))
    bench = Bench(open_model, most=2 if _two_fit(bundle) else 1)
    tuned = tune(bench, max(1, cores - (not args.all_cores)), processors, told, DRAFTS if bundle.drafter else ())
    try:
        path = keep_tuned(bundle.identity, tuned)
    except OSError as fault:
        raise StorageError(
            f"{fault.filename or tuned_file(bundle.identity)}: {fault.strerror}", "see that it can be written"
        ) from fault
    if args.json:
        print(json.dumps({"model": args.model, "file": str(path), "gain": tuned.gain, **asdict(tuned)}))
    else:
        gain = f"{tuned.gain:.2f} times as fast as the defaults"
        print(f"{args.model}: {tuned.settings}; {'the defaults, which nothing beat' if tuned.settings == Settings() else gain}")


def _two_fit(bundle: "Bundle") -> bool:
    """Two of this model at once leave memory over: then they take turns without being opened again."""
    from edge_assistant.machine import read_machine  # noqa: PLC0415
    from edge_assistant.runtimes.prepared import is_prepared, prepared_bytes, prepared_folder  # noqa: PLC0415

    available = read_machine(bundle.folder).available_bytes
    mapped = is_prepared(bundle, prepared_folder(bundle.identity))
    return mapped or available is None or 2 * prepared_bytes(bundle) < available
