"""Opens a model as this machine runs it best: with what `edge-assistant tune` found, and with weights packed beforehand."""

from pathlib import Path

from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.runtimes.onnx import OnnxModel
from edge_assistant.runtimes.prepared import prepared_folder
from edge_assistant.runtimes.settings import Settings, read_tuned


def open_model(folder: Path) -> OnnxModel:
    """The bundle of this folder. Raises BundleError."""
    bundle = Bundle.open(folder)
    tuned = read_tuned(bundle.identity)
    settings = tuned.settings if tuned else Settings()
    return OnnxModel.open(folder, **settings.options(), prepared=prepared_folder(bundle.identity))
