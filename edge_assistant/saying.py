"""A sentence said aloud outside any conversation: through the voice, the speaker's queue and the device, as a reply goes."""

import queue
from contextlib import ExitStack

from edge_assistant.errors import DeviceError
from edge_assistant.frames import Spoken
from edge_assistant.microphone import FRAME_S
from edge_assistant.mouth import SpeakingMouth
from edge_assistant.sinks import DeviceSink
from edge_assistant.speaker import Speaker
from edge_assistant.voice import Voice

PATIENCE_S = 15.0
"""Time for the sentence to be heard."""


def say_aloud(text: str, voice: Voice, loudspeaker: str | None, sound: str = "", patience_s: float = PATIENCE_S) -> str:
    """Say it, after one of the mouth's sounds; returns the stable name of the loudspeaker when all of it was played.

    Raises:
        VoiceError: the voice does not speak.
        DeviceError: there is no loudspeaker, it does not open, or it takes nothing.
    """
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    with ExitStack() as stack:
        sink = stack.enter_context(DeviceSink(loudspeaker))
        sink.open()
        speaker = Speaker(sink.rate_hz, inbox.put, patience_s=FRAME_S)
        mouth = SpeakingMouth(voice, speaker)
        mouth.open()
        stack.callback(mouth.close)
        sink.connect(speaker)
        if sound:
            for _ in mouth.sound(1, sound):
                pass
        for _ in mouth.say(1, text):
            pass
        mouth.mark(Spoken(1, text))
        try:
            while not isinstance(inbox.get(timeout=patience_s), Spoken):
                pass
        except queue.Empty:
            raise DeviceError(f"the loudspeaker {sink.used} takes nothing", "unplug it and plug it in again") from None
        return sink.used
