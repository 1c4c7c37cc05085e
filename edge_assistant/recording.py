"""A recording as the microphone would have given it: any rate, width and number of channels in, 16 kHz mono out, by the block."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]
import soxr  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.errors import AudioFileError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.runtime import Pcm

BLOCK_S = 1.0
"""Sound in memory at a time: an hour costs no more than a minute."""
SLOWEST_HZ = 2000
"""Below this a recording cannot hold speech."""


class Recording:
    """One sound file: WAV, FLAC, OGG and whatever else libsndfile reads."""

    def __init__(self, path: Path) -> None:
        """Look at the file, and read it once where it could hold samples that are no numbers.

        Raises:
            AudioFileError: it is missing, a folder, no sound, empty, of an unknown codec, or has samples that are no numbers.
        """
        self.path = path
        if path.is_dir():
            raise AudioFileError(f"{path} is a folder", "name a sound file")
        if not path.exists():
            raise AudioFileError(f"{path}: no such file")
        try:
            if path.is_file() and path.stat().st_size == 0:
                raise AudioFileError(f"{path} is empty (0 bytes)")
            with self._open() as file:
                self.rate_hz, subtype = file.samplerate, file.subtype
                self._channels = file.channels
                if file.frames == 0:
                    raise AudioFileError(f"{path} holds no sound (0 samples)")
        except PermissionError as error:
            raise AudioFileError(f"{path} may not be read", "check its permissions") from error
        if self.rate_hz < SLOWEST_HZ:
            raise AudioFileError(f"{path} is sampled at {self.rate_hz} Hz, too slow for speech")
        if subtype in ("FLOAT", "DOUBLE"):
            for _ in self._blocks():
                pass

    def frames(self) -> Iterator[Pcm]:
        """The whole file in frames, shape [FRAME_SAMPLES] each; the last one is filled up with silence.

        Raises:
            AudioFileError: the file breaks off in the middle of its data.
        """
        rest = np.zeros(0, np.float32)
        for block in self._resampled():
            sound = np.concatenate([rest, block])
            whole = len(sound) - len(sound) % FRAME_SAMPLES
            yield from sound[:whole].reshape(-1, FRAME_SAMPLES)
            rest = sound[whole:]
        if len(rest):
            yield np.pad(rest, (0, FRAME_SAMPLES - len(rest)))

    def _resampled(self) -> Iterator[Pcm]:
        """Blocks of 16 kHz mono."""
        if self.rate_hz == SAMPLE_RATE_HZ:
            yield from self._blocks()
            return
        resampler = soxr.ResampleStream(self.rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        for block in self._blocks():
            yield np.clip(resampler.resample_chunk(block), -1, 1)
        yield np.clip(resampler.resample_chunk(np.zeros(0, np.float32), last=True), -1, 1)

    def _blocks(self) -> Iterator[Pcm]:
        """Blocks of mono at the file's own rate, −1 to 1."""
        with self._open() as file:
            size = max(1, round(BLOCK_S * self.rate_hz))
            while True:
                try:
                    block: Any = file.read(size, dtype="float32", always_2d=True)
                except sf.LibsndfileError as error:
                    raise AudioFileError(f"{self.path} is damaged at {file.tell() / self.rate_hz:.1f} s") from error
                if not len(block):
                    return
                mono = block.mean(axis=1, dtype=np.float32)
                if not np.isfinite(mono).all():
                    raise AudioFileError(f"{self.path} has samples that are no numbers (NaN or infinite)")
                yield np.clip(mono, -1, 1)

    def _open(self) -> sf.SoundFile:
        try:
            return sf.SoundFile(self.path)
        except sf.LibsndfileError as error:
            reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
            raise AudioFileError(f"{self.path} cannot be read as sound ({reason})", "use WAV, FLAC or OGG") from error
        except TypeError as error:  # what soundfile raises for a .raw file, whose format nobody knows
            raise AudioFileError(f"{self.path} does not say what sound it holds", "use WAV, FLAC or OGG") from error
