"""Nothing leaves the machine: what our libraries would do on their own is switched off."""

import os
import subprocess
import sys
from pathlib import Path

LOAD = """
import edge_assistant.vad as vad
import numpy as np
vad.VADS["silero"]()(np.zeros(512, np.float32))
"""


def test_onnxruntime_keeps_no_records_to_send_home(tmp_path: Path):
    quiet = ("CI", "ORT_")  # either would switch the records off by itself
    environment = {name: value for name, value in os.environ.items() if not name.startswith(quiet)}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOAD], env=environment, check=True, timeout=60)
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
