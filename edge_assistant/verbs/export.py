"""`edge-assistant export`: a published checkpoint becomes a bundle."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_assistant.errors import UsageError
from edge_assistant.runtime import Prompting

if TYPE_CHECKING:
    from edge_assistant.gemma4.checkpoint import Checkpoint
    from edge_assistant.gemma4.export import Making

HELP = "make a bundle from a Gemma 4 checkpoint"
EXAMPLE = """\
examples:
  edge-assistant export gemma-4-E2B-it/ ~/bundles/e2b
  edge-assistant export gemma-4-E2B-it/ ~/bundles/e2b --block 128 --tables 4
  edge-assistant export checkpoint/ bundle/ --bits fp32
  edge-assistant export gemma-4-E2B_q4_0-it.gguf ~/bundles/e2b-qat --projector mmproj.gguf
  edge-assistant export gemma-4-E2B-it/ ~/bundles/tuned --adapter my-lora/
  edge-assistant export gemma-4-E2B-it/ ~/bundles/e2b --drafter gemma-4-E2B-it-assistant/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="folder with config.json, tokenizer.json and *.safetensors, or a GGUF file: its quantised weights stay as they are",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder to make; it must not exist")
    parser.add_argument(
        "--projector", type=Path, metavar="FILE", help="the GGUF file that hears (the one named mmproj beside CHECKPOINT)"
    )
    add_adapter(parser)
    add_drafter(parser)
    add_making(parser)


def add_drafter(parser: argparse.ArgumentParser) -> None:
    """Declare what guesses tokens."""
    parser.add_argument(
        "--drafter",
        type=Path,
        metavar="FOLDER",
        help="the assistant checkpoint published with the model: it guesses tokens that the model then checks several at a time",
    )


def add_adapter(parser: argparse.ArgumentParser) -> None:
    """Declare what is merged in."""
    parser.add_argument(
        "--adapter", type=Path, metavar="FOLDER", help="merge a LoRA adapter, as PEFT and Unsloth save it, into the weights"
    )


def add_making(parser: argparse.ArgumentParser) -> None:
    """Declare how a bundle can be built."""
    parser.add_argument(
        "--bits", choices=["4", "8", "fp32"], default="4", help="decoder weights; the encoder has 8 bits, or fp32 with fp32 (4)"
    )
    parser.add_argument("--block", type=int, choices=[32, 128], default=32, help="weights that share a scale (32)")
    parser.add_argument(
        "--tables", type=int, choices=[4, 8], default=8, help="bits of the embedding tables; 4 saves 1.4 GB of disk with E2B (8)"
    )
    parser.add_argument(
        "--cache-bits",
        type=int,
        choices=[8, 32],
        help="bits of the conversation's keys and values; with 8 each token reads a quarter (8 with --bits 4, else 32)",
    )
    parser.add_argument(
        "--no-system", action="store_true", help="the model has its tools trained in and wants no system turn (as pocket)"
    )
    parser.add_argument(
        "--min-call-probability",
        type=float,
        default=0.0,
        metavar="P",
        help="a tool call that the model is less sure of is answered as not understood (0)",
    )
    parser.add_argument(
        "--memory-turns",
        type=int,
        default=0,
        metavar="N",
        help="turns before the present one that the model was trained to bear (0: as many as fit)",
    )


def making(args: argparse.Namespace) -> "Making":
    """How it is to be built. Raises UsageError."""
    from edge_assistant.gemma4.bundle import Quantisation  # noqa: PLC0415
    from edge_assistant.gemma4.export import Making, default_cache_bits  # noqa: PLC0415

    if not 0 <= args.min_call_probability <= 1:
        raise UsageError(f"--min-call-probability is {args.min_call_probability}", "give it a probability, 0 to 1")
    if args.memory_turns < 0:
        raise UsageError(f"--memory-turns is {args.memory_turns}", "give it a number of turns, 0 or more")
    exact = args.bits == "fp32"
    bits = None if exact else int(args.bits)
    return Making(
        Quantisation(bits, None if exact else 8, args.block, args.cache_bits or default_cache_bits(bits)),
        32 if exact else args.tables,
        Prompting(not args.no_system, args.min_call_probability, args.memory_turns),
    )


def run(args: argparse.Namespace) -> None:
    """Do it. Raises CheckpointError or UsageError."""
    from edge_assistant.gemma4.export import export  # noqa: PLC0415

    export(_open(args), args.bundle, drafter=args.drafter, **making(args).options())
    print(args.bundle)


def _open(args: argparse.Namespace) -> "Checkpoint":
    from edge_assistant.gemma4.adapter import adapted  # noqa: PLC0415
    from edge_assistant.gemma4.gguf import opened  # noqa: PLC0415

    return adapted(args.checkpoint, args.adapter) if args.adapter else opened(args.checkpoint, args.projector)
