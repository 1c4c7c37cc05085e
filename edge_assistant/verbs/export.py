"""`edge-assistant export`: a published checkpoint becomes a bundle."""

import argparse
from pathlib import Path

HELP = "make a bundle from a Gemma 4 checkpoint"
EXAMPLE = """\
examples:
  edge-assistant export gemma-4-E2B-it/ ~/bundles/e2b
  edge-assistant export checkpoint/ bundle/ --bits fp32
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="folder with config.json, tokenizer.json and *.safetensors"
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder to make; it must not exist")
    parser.add_argument(
        "--bits", choices=["4", "8", "fp32"], default="4", help="decoder weights; the encoder has 8 bits, or fp32 with fp32 (4)"
    )
    parser.add_argument("--block", type=int, choices=[32, 128], default=32, help="weights that share a scale (32)")


def run(args: argparse.Namespace) -> None:
    """Do it. Raises CheckpointError or UsageError."""
    from edge_assistant.gemma4.export import export  # noqa: PLC0415

    exact = args.bits == "fp32"
    export(
        args.checkpoint,
        args.bundle,
        decoder_bits=None if exact else int(args.bits),
        encoder_bits=None if exact else 8,
        table_bits=32 if exact else 8,
        block=args.block,
    )
    print(args.bundle)
