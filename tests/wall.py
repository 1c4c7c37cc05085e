"""Run a command that the kernel kills at once if it, or a child of it, asks for a socket other than a local one.

    python tests/wall.py COMMAND…

A system-call filter (seccomp) needs no privileges and sees every library, Python's and C's alike.
"""

import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
"""BPF: load a word, jump if equal, return."""
ALLOW, KILL = 0x7FFF0000, 0x80000000
AF_UNIX = 1
CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""The architecture as the kernel audits it, and the number of socket(2)."""
KILLED = -31
"""How such a process ends: SIGSYS."""


def build() -> None:
    """From here on socket(2) gives local sockets, or ends the process."""
    architecture, call = CALLS[platform.machine()]
    # Offsets: 0 the number of the call, 4 the architecture, 16 the first argument, which is the family.
    program = [
        (LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0), (EQUAL, 1, 0, call), (RETURN, 0, 0, ALLOW),
        (LOAD, 0, 0, 16), (EQUAL, 0, 1, AF_UNIX), (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, KILL),
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    filter_ = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "the kernel takes no filter")


if __name__ == "__main__":
    build()
    os.execvp(sys.argv[1], sys.argv[1:])
