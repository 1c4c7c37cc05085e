"""What the microphone hears, in a WAV file; for `--record-audio`, and never otherwise."""

import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.ears import Heard
from edge_assistant.errors import UsageError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ, Event, Frame

log = logging.getLogger(__name__)

_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


class AudioRecord:
    """Writes frame by frame, each at its place; owned by the deciding thread. A full disk ends the record, not the talk."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises UsageError if it cannot be written."""
        self._path = path
        try:
            self._file = sf.SoundFile(path, "w", SAMPLE_RATE_HZ, 1, "PCM_16", format="WAV")
        except (OSError, sf.LibsndfileError) as error:
            raise UsageError(f"cannot write {path}", "give --record-audio another name") from error
        os.chmod(path, 0o600)  # nobody else's business
        self._whole = True
        self._frames = 0

    def record(self, item: Frame | Event, heard: Heard | None) -> None:
        """See `Assistant.record`."""
        if not isinstance(item, Frame) or not self._whole:
            return
        try:
            for _ in range(item.number - self._frames):
                self._file.write(_SILENCE)
            self._file.write(item.pcm)
        except (OSError, sf.LibsndfileError) as error:
            self._whole = False
            log.error("the record %s ends here: %s", self._path, error)
        self._frames = item.number + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()
