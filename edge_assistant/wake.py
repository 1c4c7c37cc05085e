"""Wake words: the phrase that opens a conversation where the assistant doesn't always listen.

The detectors are micro-wake-word's, by the package pymicro-wakeword (extra `wake`); it carries models for a few phrases, and any
other model of that format (a `.json` with its `.tflite` beside it) can be named by its path.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edge_assistant.errors import ConfigError, EdgeAssistantError
from edge_assistant.frames import frames
from edge_assistant.runtime import Pcm

HOLD_MS = 1000
"""One utterance is one hit: the detector's window slides over it for about this long."""


class WakeWord:
    """Listens for one phrase. It remembers: frames are given in order."""

    def __init__(self, name: str) -> None:
        """Load the model called `name`, e.g. "hey jarvis", or lying at this path.

        Raises:
            EdgeAssistantError: the package is missing, or its library cannot be loaded.
            ConfigError: there is no such wake word.
        """
        path = _model(name)
        package: Any = importlib.import_module("pymicro_wakeword")
        try:
            self._model: Any = package.MicroWakeWord.from_config(path)
            self._features: Any = package.MicroWakeWordFeatures()
        except (KeyError, ValueError, RuntimeError) as error:
            raise ConfigError(f"{path} is no wake word model ({error})", "name its .json file") from error
        except OSError as error:
            raise EdgeAssistantError(f"the wake word library cannot be loaded ({error})") from error
        self.phrase: str = self._model.wake_word
        """As a person says it, e.g. "Hey Jarvis"."""
        self._quiet = 0
        """Frames left until another hit may be told."""

    def __call__(self, pcm: Pcm) -> bool:
        """Whether the phrase has just been completed in this frame (shape [FRAME_SAMPLES])."""
        ints = (np.clip(pcm, -1, 1) * 32767).astype(np.int16)
        # Every feature goes through the model, also after a hit: it is a streaming model with a state of its own.
        hits = [self._model.process_streaming(feature) for feature in self._features.process_streaming(ints.tobytes())]
        self._quiet = max(0, self._quiet - 1)
        if not any(hits) or self._quiet:
            return False
        self._quiet = frames(HOLD_MS)
        return True


def wake_words() -> list[str]:
    """The phrases whose models are installed, as `WakeWord` takes them. Raises EdgeAssistantError if the package is missing."""
    return sorted(path.stem.replace("_", " ") for path in _shipped().glob("*.json"))


def _model(name: str) -> Path:
    shipped = _shipped()
    path = Path(name) if name.endswith(".json") else shipped / f"{name.strip().lower().replace(' ', '_')}.json"
    if not path.is_file():
        raise ConfigError(
            f"there is no wake word “{name}”", f"take one of {', '.join(wake_words())}, or the path of a model's .json"
        )
    return path


def _shipped() -> Path:
    """The folder of the package's own models; found, not imported."""
    spec = find_spec("pymicro_wakeword")
    if spec is None or not spec.submodule_search_locations:
        raise EdgeAssistantError("wake words need a package that is not installed", "pip install 'edge-assistant[wake]'")
    return Path(spec.submodule_search_locations[0]) / "models"
