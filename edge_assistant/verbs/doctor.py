"""`edge-assistant doctor`: is all well with this machine, and if not, what is the mend?"""

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_assistant.doctor.finding import Finding

HELP = "look whether all is well, and say the mend"
EXAMPLE = """\
examples:
  edge-assistant doctor            # it listens for two seconds, and says a sentence
  sudo edge-assistant doctor       # the service's folders, settings and sockets, where it is installed
  edge-assistant doctor --quick    # without listening, speaking and measuring
  edge-assistant doctor --json | jq '.findings[] | select(.verdict == "fault")'

exit status: 0 if all is well, 1 after warnings, 2 after faults
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.add_argument("--quick", action="store_true", help="measure nothing, hear and say nothing; sizes instead of sums")
    parser.add_argument("--json", action="store_true", help="one object on stdout")


def run(args: argparse.Namespace) -> None:
    """Do it; leaves with the exit status that the worst finding makes."""
    from contextlib import redirect_stdout  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    from edge_assistant.doctor.examine import examine  # noqa: PLC0415
    from edge_assistant.doctor.finding import Verdict, worst  # noqa: PLC0415

    out = sys.stdout
    findings: list[Finding] = []
    with redirect_stdout(sys.stderr):  # stdout is ours, whatever a library prints
        for finding in examine(quick=args.quick):
            findings.append(finding)
            if not args.json:
                _print(finding, out)
    verdict = worst(findings)
    if args.json:
        told = [{**asdict(finding), "verdict": finding.verdict.name.lower()} for finding in findings]
        json.dump({"verdict": verdict.name.lower(), "findings": told}, out, ensure_ascii=False)
        out.write("\n")
    if verdict in (Verdict.WARNING, Verdict.FAULT):
        out.flush()
        raise SystemExit(2 if verdict is Verdict.FAULT else 1)


def _print(finding: "Finding", out: object) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=out, highlight=False, soft_wrap=True)  # pyright: ignore[reportArgumentType]
    colour = {"ok": "green", "-": "dim", "warning": "yellow", "fault": "bold red"}[finding.verdict.value]
    indent = " " * 9
    console.print(Text.assemble((f"{finding.verdict.value:<9}", colour), (finding.check, "bold"), f": {finding.found}"))
    console.print(Text(f"{indent}looked at: {finding.looked_at}", "dim"))
    if finding.mend:
        console.print(Text(f"{indent}mend: {finding.mend}", colour))
