"""Our own voice in our own microphone: taken out, and what is left of it never taken for the user.

    echo = Echo("speexdsp", delay_ms=…, drift_ppm=…)     # what `edge-assistant echo-test` measured, or nothing
    DeviceSink(…, played=echo.played)                    # every block that the device was given, silence too; any thread
    for each frame of the microphone, in order, on the deciding thread:
        pcm = echo.clean(frame.number, frame.pcm)        # without our voice, up to 16 ms late: for detector, pre-roll, model
        speech = echo.guard(vad(pcm))                    # 0 where it may be our own voice
        event = endpointer.step(frame.number, speech)
    A journal keeps `pcm` and `speech`: a replay then needs no canceller.

Reading order: canceller, delay, reference, guard, and the three together (here); then measure, for `edge-assistant echo-test`.
"""

from edge_assistant.echo.stage import Echo

__all__ = ["Echo"]
