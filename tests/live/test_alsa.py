"""What ALSA itself says of cards that may not be used, or are in use, in one line. The cards' nodes are of our own making."""

import fcntl
import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("edge-assistant"))
FENCED = ["unshare", "--mount"]
"""Nobody else sees the nodes."""
NO_POWERS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""Nothing is forbidden to root, otherwise, or in use."""
DEV = "mkdir dev && mount -t tmpfs none dev && cp -a /dev/{null,zero,full,random,urandom} dev && mkdir dev/snd dev/pts dev/shm"
DEV += " && mount --bind /dev/pts dev/pts && mount --rbind dev /dev"
NODES = "controlC0 pcmC0D0c pcmC0D0p"
MADE = {
    "forbidden": f"for each in {NODES}; do mknod -m 660 $each c 116 0; chown 1000:29 $each; done",
    "busy": f"for each in {NODES}; do ln -s $1 $each; done",  # a terminal that is somebody's alone
    "refused": "true",
}


def fenced():
    return subprocess.run([*FENCED, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0 or not fenced(), reason="only root makes devices")
@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("forbidden", "default is forbidden to this user; sudo usermod -aG audio $USER, then log in again"),
        ("busy", "default is busy: another program holds it; sudo fuser -v /dev/snd/* tells which; end it"),
        ("refused", "default does not open (ALSA refuses it); edge-assistant devices lists what is there"),
    ],
)
@pytest.mark.parametrize("verb", ["mic-test", "talk"])
def test_a_card_that_does_not_open_is_one_line(tmp_path, how, line, verb):
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCEXCL)
    (tmp_path / ".asoundrc").write_text("pcm.!default { type hw card 0 }\nctl.!default { type hw card 0 }\n")
    script = f"{DEV} && cd dev/snd && {MADE[how]}; exec {' '.join(NO_POWERS)} {PROGRAM} {verb}"
    ended = subprocess.run(
        [*FENCED, "bash", "-c", script, "bash", os.ttyname(terminal)],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL, cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    os.close(main)
    os.close(terminal)
    assert (ended.returncode, ended.stderr) == (2, f"edge-assistant: {line}\n")
