"""What the command line can do: one file for each verb, with `HELP`, `EXAMPLE`, `add_arguments` and `run`.

A verb imports what is heavy only when it runs, so that `--help` is quick on a small computer.
"""

import math

from edge_assistant.errors import UsageError


def check_seconds(seconds: float | None) -> None:
    """Of `--seconds`. Raises UsageError."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"--seconds is {seconds:g}", "give it a number of seconds, more than 0")
