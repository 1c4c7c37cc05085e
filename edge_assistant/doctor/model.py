"""What it thinks and speaks with: the bundle, how it is run here, the voice, what else the configuration wants; and how fast."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from time import perf_counter

import numpy as np

from edge_assistant.doctor.finding import Finding, Patient, Verdict, fault
from edge_assistant.echo import Echo
from edge_assistant.echo.system import find_cancelled
from edge_assistant.end_of_turn import EndOfTurn
from edge_assistant.errors import BundleError, EdgeAssistantError
from edge_assistant.frames import FRAME_SAMPLES, SAMPLE_RATE_HZ
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.machine import read_machine
from edge_assistant.models import find_model, models_folder
from edge_assistant.prompt import BOS
from edge_assistant.runtime import Sampling, Session
from edge_assistant.runtimes.opening import open_model
from edge_assistant.runtimes.settings import read_tuned, tuned_file
from edge_assistant.voice import Voice, find_voice
from edge_assistant.wake import WakeWord

EXTRAS = {"wake": "pymicro_wakeword", "aec3": "pywebrtc_audio", "gguf": "gguf", "gpio": "gpiozero", "smart-turn": "pipecat"}
"""A module of each optional extra."""
SENTENCE = "The pump in the cellar has been running for twelve minutes."
SOUND_S = 4.0
TOKENS = 24
SPOKEN_TOKENS_PER_S = 4.0
"""Of English at the pace at which the voice speaks: a model that writes no faster makes pauses."""
LITTLE_MARGIN = 0.7
"""Part of real time from which on nothing may come in between."""


def check_model(patient: Patient) -> Iterator[Finding]:
    """Is it whole?"""
    name = patient.config.talk.model
    try:
        bundle = Bundle.open(find_model(name))
        if not patient.quick:
            bundle.verify()
    except BundleError as error:
        yield fault("model", name, error)
        return
    files = bundle.manifest.files
    size_mb = sum(entry.bytes for entry in files.values()) / 1e6
    how = "sizes" if patient.quick else "SHA-256"
    yield Finding(
        "model", Verdict.WELL, f"{how} of the {len(files)} files in {bundle.folder}", f"{name} is whole ({size_mb:.0f} MB)"
    )
    path = tuned_file(bundle.identity)
    tuned = read_tuned(bundle.identity)
    if tuned:
        yield Finding("tuning", Verdict.WELL, str(path), f"{tuned.settings}; {tuned.gain:.2f} times as fast as the defaults")
    elif path.exists():
        again = f"measure again: edge-assistant tune {name}"
        yield Finding("tuning", Verdict.WARNING, str(path), "measured on another machine, or damaged: the defaults hold", again)
    else:
        hint = f"`edge-assistant tune {name}` would measure"
        yield Finding("tuning", Verdict.WELL, str(path), f"not measured: the defaults hold; {hint}")


def model_bytes(patient: Patient) -> int:
    """What the configured model takes; 0 if it is not there."""
    with suppress(BundleError):
        return sum(entry.bytes for entry in Bundle.read_manifest(find_model(patient.config.talk.model)).files.values())
    return 0


def check_voice(patient: Patient) -> Iterator[Finding]:
    """Does it speak?"""
    name = patient.config.talk.voice
    looked = f"{name}, one sentence into memory"
    try:
        sound_s, took_s = _speak(find_voice(name))
    except EdgeAssistantError as error:
        yield fault("voice", looked, error)
        return
    if not sound_s:
        yield Finding("voice", Verdict.FAULT, looked, "it gives no sound", "install it again")
        return
    yield _pace("voice", looked, took_s / sound_s, f"{took_s * 1000:.0f} ms for {sound_s:.1f} s of speech")


def _speak(voice: Voice) -> tuple[float, float]:
    """Seconds of sound, and seconds that they took. Raises VoiceError."""
    voice.open()
    try:
        voice.say("Ready.")  # the first time loads
        begin = perf_counter()
        pcm, rate_hz = voice.say(SENTENCE)
        return len(pcm) / rate_hz if np.any(pcm) else 0.0, perf_counter() - begin
    finally:
        voice.close()


def check_extras(patient: Patient) -> Iterator[Finding]:
    """Is everything here that the configuration wants?"""
    talk = patient.config.talk
    here = [name for name, module in EXTRAS.items() if find_spec(module)]
    looked = "the installed packages"
    yield Finding("extras", Verdict.WELL, looked, f"installed: {', '.join(here) or 'none'}")
    wanted: list[tuple[str, Callable[[], object]]] = []
    wanted.append((f"echo = {talk.echo}", find_cancelled if talk.echo == "system" else lambda: Echo(talk.echo)))
    if talk.mode == "wake":
        wanted.append((f"wake_word = {talk.wake_word}", lambda: WakeWord(talk.wake_word)))
    if talk.end_of_turn:
        wanted.append(("end_of_turn", EndOfTurn))
    for what, load in wanted:
        try:
            load()
        except EdgeAssistantError as error:
            yield fault(what, looked, error)
        else:
            yield Finding(what, Verdict.WELL, looked, "it can be loaded")
    if patient.pins and "gpio" not in here:
        yield Finding("pins", Verdict.FAULT, looked, "pins are configured", "pip install 'edge-assistant[gpio]'")


def check_speed(patient: Patient) -> Iterator[Finding]:
    """What the model leaves free of this board's time."""
    if patient.quick:
        return
    name = patient.config.talk.model
    looked = f"{name}: {SOUND_S:g} s of sound heard, {TOKENS} tokens written"
    available, need = read_machine(models_folder(), patient.root).available_bytes, model_bytes(patient)
    if available is not None and available < need:
        yield Finding("speed", Verdict.ABSENT, looked, "not measured: the model would not fit beside what runs here now")
        return
    try:
        session = open_model(find_model(name)).session(capacity=512)
    except BundleError:
        return  # the model has a check of its own
    load, tokens_per_s = measure(session)
    yield _pace("hearing", looked, load, f"{load * 1000:.0f} ms of work for each second of sound")
    slow = SPOKEN_TOKENS_PER_S / tokens_per_s
    yield _pace("writing", looked, slow, f"{tokens_per_s:.1f} tokens a second; the voice says {SPOKEN_TOKENS_PER_S:g}")


def measure(session: Session) -> tuple[float, float]:
    """Part of real time that hearing takes, and tokens that are written in a second. Leaves nothing in the cache."""
    noise = 0.05 * np.random.default_rng(1).standard_normal(round(SOUND_S * SAMPLE_RATE_HZ)).astype(np.float32)
    start = session.position
    session.feed_text(BOS)
    session.begin_audio()
    session.feed_audio(noise[:SAMPLE_RATE_HZ])  # the first time is always slower
    begin = perf_counter()
    for at in range(SAMPLE_RATE_HZ, len(noise), FRAME_SAMPLES):
        session.feed_audio(noise[at : at + FRAME_SAMPLES])
    heard_s = perf_counter() - begin
    session.end_audio()
    written = 0
    begin = perf_counter()
    while written < TOKENS:  # a reply may end sooner
        written += sum(1 for _ in session.decode(Sampling(max_tokens=TOKENS - written)))
    wrote_s = perf_counter() - begin
    session.cut(start)
    return heard_s / (SOUND_S - 1), written / wrote_s


def _pace(check: str, looked: str, part: float, found: str) -> Finding:
    """`part` of real time is taken."""
    told = f"{found}: {1 / part:.1f} times as fast as needed" if part < 1 else found
    if part >= 1:
        return Finding(check, Verdict.FAULT, looked, f"{told}: too slow", "take a smaller model: `edge-assistant advise`")
    if part >= LITTLE_MARGIN:
        return Finding(check, Verdict.WARNING, looked, told, "it can just be done: cool the board, `edge-assistant tune`")
    return Finding(check, Verdict.WELL, looked, told)
