"""MemoryDenyWriteExecute, as drop-ins/sound-server.conf has it: voice, detector and model work where no page may be both writable
and executable. (PortAudio does not: its callbacks are code that libffi writes.)
"""

import platform
import subprocess
import sys

import pytest

CODE = """
import ctypes, mmap, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    sys.exit("the kernel does not refuse")
except OSError:
    pass
import numpy as np
from edge_assistant.voice import EspeakVoice
from edge_assistant.vad import VADS
from edge_assistant.models import find_model
from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel
voice = EspeakVoice()
voice.open()
assert len(voice.say("It speaks.")[0]) > 1000
voice.close()
VADS["silero"]()(np.zeros(512, np.float32))
session = OnnxModel.open(find_model("pocket")).session()
session.feed_text("<bos>hello")
next(iter(session.decode(Sampling(max_tokens=1))))
print("it works")
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux refuses it")
def test_nothing_needs_writable_code():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 77:
        pytest.skip("a kernel before 6.3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "it works\n"
