"""A bundle's graphs once more, their weights packed for this very processor.

onnxruntime packs weights at every start, into memory that nobody can take back: at the size of E2B 2.1 GB in blocks of 32. Packed
once and kept in files they are mapped (64 MB remain), and the system may drop their pages when it needs room. The price is disk:
3.8 GB. The files are good for one bundle, one onnxruntime and one kind of processor; for another they are left alone.
"""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.gemma4.folder import appearing
from edge_assistant.models import models_folder
from edge_assistant.runtimes.engine import Threads, open_graph, runtime_version

GROWTH = 2.25
"""Room that the packed files of a graph take beside its weights' in the bundle, rounded up."""
_STAMP = "stamp.json"
_TELLING = ("model name", "flags", "features", "cpu implementer", "cpu architecture", "cpu variant", "cpu part")


def prepare(bundle: Path, folder: Path) -> None:
    """Pack a bundle's graphs into a folder, which appears whole or not at all. Raises BundleError, UsageError."""
    opened = Bundle.open(bundle)
    with appearing(folder) as part:
        for name in _graphs(opened):
            open_graph(opened.path(name), Threads(), packed=part / name)
        sizes = {path.name: path.stat().st_size for path in part.iterdir()}
        (part / _STAMP).write_text(json.dumps({**_stamp(opened), "files": sizes}, indent=1), encoding="utf-8")


def prepared_folder(identity: str) -> Path:
    """Where the packed weights of the bundle of this identity are kept, on the disk of the models. May not exist."""
    return models_folder() / ".prepared" / identity[:16]


def prepared_bytes(bundle: Bundle) -> int:
    """Room that they will take, rounded up."""
    return round(GROWTH * sum(bundle.manifest.files[str(Path(name).with_suffix(".bin"))].bytes for name in _graphs(bundle)))


def is_prepared(bundle: Bundle, folder: Path) -> bool:
    """The folder holds this bundle's graphs, whole, packed for this processor by this onnxruntime."""
    try:
        found: Any = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in found["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return found == {**_stamp(bundle), "files": sizes}


def _graphs(bundle: Bundle) -> list[str]:
    return [name for name in bundle.manifest.files if name.endswith(".onnx")]


def _stamp(bundle: Bundle) -> dict[str, str]:
    return {"bundle": bundle.identity, "onnxruntime": runtime_version(), "processor": processor()}


def processor() -> str:
    """Tells kinds of processor apart: what Linux says of the first one, hashed."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        first = platform.processor()
    telling = "\n".join(line for line in first.splitlines() if line.split(":")[0].strip().lower() in _TELLING)
    return f"{platform.machine()} {hashlib.sha256(telling.encode()).hexdigest()[:16]}"
