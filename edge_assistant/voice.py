"""A sentence in, its sound out."""

import importlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import soundfile as sf  # pyright: ignore[reportMissingTypeStubs]

from edge_assistant.errors import VoiceError
from edge_assistant.runtime import Pcm

PATIENCE_S = 20.0
"""A sentence takes milliseconds; after this long the engine is stuck."""

AGAIN = 5
"""Now and then a sentence comes back without a sample: it is asked for so many times more."""


class Voice(Protocol):
    """Speaks. Owned by one thread, on which it is opened too."""

    pace: float
    """How fast, 1.0 being as usual. Any thread may set it; it holds from the next sentence on."""

    def open(self) -> None:
        """Get ready, so that the first sentence need not wait.

        Raises:
            VoiceError: it cannot speak on this machine.
        """
        ...

    def say(self, text: str) -> tuple[Pcm, int]:
        """The sound of a sentence (shape [samples]) and its rate in hertz."""
        ...

    def close(self) -> None: ...


class EspeakVoice:
    """espeak-ng through pyttsx3: 10 ms a sentence, anywhere.

    pyttsx3 cannot play on Linux: its `runAndWait` returns while the sound is still to come. What works is one `save_to_file`
    and one `runAndWait` for each sentence, the wait for `finished-utterance`, and then the file, kept in memory (/dev/shm).

    Before a sentence it cancels what still plays, and that may hit the new sentence: on a busy machine espeak-ng's thread waits
    between telling that it has finished and being so. Hence the wait for it.
    """

    def __init__(self, rate_wpm: int = 165, voice: str = "en-us") -> None:
        """`voice` is espeak-ng's name of a language; of one that it does not have, its default speaks."""
        self._rate_wpm, self._voice = rate_wpm, voice
        self.pace = 1.0
        self._engine: Any = None
        self._library: Any = None
        self._finished = threading.Event()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def open(self) -> None:
        """Load espeak-ng.

        Raises:
            VoiceError: the library is not installed, or does not start.
        """
        try:
            driver = importlib.import_module("pyttsx3.drivers.espeak")
            setattr(driver, "print", _silence)  # noqa: B010 - it prints each file's name to stdout, which is ours
            self._library = driver._espeak
            self._engine = importlib.import_module("pyttsx3").init("espeak")
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise VoiceError(f"the espeak-ng voice does not start ({error})", "apt install libespeak-ng1") from error
        self._engine.connect("finished-utterance", self._note)
        names = [voice.id for voice in self._engine.getProperty("voices")]
        for name in names:
            if name.lower().rpartition("/")[2] == self._voice:
                self._engine.setProperty("voice", name)
        memory = Path("/dev/shm")
        in_memory = memory.is_dir() and os.access(memory, os.W_OK)
        self._folder = tempfile.TemporaryDirectory(prefix="edge-assistant-", dir=memory if in_memory else None)

    def say(self, text: str) -> tuple[Pcm, int]:
        """Speak a sentence into memory.

        Raises:
            VoiceError: the engine gave no sound.
        """
        self._engine.setProperty("rate", round(self._rate_wpm * self.pace))
        sound = self._say(text)
        for _ in range(AGAIN):
            if len(sound[0]):
                break
            sound = self._say(text)
        return sound

    def _say(self, text: str) -> tuple[Pcm, int]:
        assert self._folder is not None, "open() first"
        path = Path(self._folder.name) / "sentence.wav"
        until = time.monotonic() + PATIENCE_S
        while self._library.IsPlaying() and time.monotonic() < until:
            time.sleep(0.001)
        self._finished.clear()
        self._engine.save_to_file(text, str(path))
        self._engine.runAndWait()
        if not self._finished.wait(PATIENCE_S):
            raise VoiceError(f"the voice did not finish a sentence in {PATIENCE_S:.0f} s")
        try:
            sound: Any = sf.read(path, dtype="float32")
            path.unlink()
        except (OSError, sf.LibsndfileError) as error:
            raise VoiceError(f"the voice gave no sound ({error})") from error
        return sound

    def close(self) -> None:
        """Remove the private folder."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _note(self, name: str | None, completed: bool) -> None:
        self._finished.set()


VOICES: dict[str, Callable[[], Voice]] = {"espeak": EspeakVoice}


def find_voice(name: str) -> Voice:
    """The voice of this name, not yet open.

    Raises:
        VoiceError: there is none.
    """
    if name not in VOICES:
        raise VoiceError(f"no voice {name}", f"there is {', '.join(VOICES)}")
    return VOICES[name]()


def _silence(*_: object) -> None: ...
