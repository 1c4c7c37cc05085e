"""What the command line can do: one file for each verb, with `HELP`, `EXAMPLE`, `add_arguments` and `run`.

A verb imports what is heavy only when it runs, so that `--help` is quick on a small computer.
"""
