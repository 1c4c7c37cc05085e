"""How well turns are found in recordings of people in noise: `make bench-endpointing`.

    python tests/bench/endpointing.py [--turns 225]

Turns are made of recorded phrases with pauses of known length between them. What is speech is read off the clean sound, by its
level; then noise is added, and detector and endpointer hear the sum. Every figure compares the two.

The recordings are Debian's asterisk-core-sounds-en-g722 (one voice, CC-BY-SA-3.0) and alsa-utils (another); they are fetched with
apt where they are not installed, and never shipped.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edge_assistant.end_of_turn import EndOfTurn, end_wait_ms
from edge_assistant.endpoint import EndpointConfig, Endpointer
from edge_assistant.frames import (
    FRAME_MS,
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    SpeechConfirmed,
    SpeechEnded,
    SpeechPaused,
    SpeechStarted,
)
from edge_assistant.places import cache_folder
from edge_assistant.runtime import Pcm
from edge_assistant.vad import VADS

Array = NDArray[np.float64]
PACKAGES = {"asterisk-core-sounds-en-g722": "usr/share/asterisk/sounds/en_US_f_Allison", "alsa-utils": "usr/share/sounds/alsa"}
SNRS_DB = (None, 20, 10, 5)
WAITS_MS = (300, 400, 500, 608, 700, 800, 1000)
SPEAKERS_MS, RUN = (180, 300, 500), 25
"""The median pause between two phrases of three kinds of speakers, who take turns of so many turns."""
SPREAD, SHORTEST_MS, LONGEST_MS = 0.5, 100, 1500
"""Pauses are log-normal about the median, within these bounds."""
GAP_S = 3.0
"""Silence between turns."""
SILENT_DB = -40
"""Below the loudest 20 ms of a phrase by so much, it is silence."""
LEVEL_DB = -26
"""Of the speech, RMS of full scale."""
STEP = SAMPLE_RATE_HZ // 50


@dataclass(frozen=True)
class Turn:
    """What really happened, in seconds."""

    begin: float
    end: float
    pauses: tuple[float, ...]
    """Lengths of the silences inside, from 0.1 s."""


@dataclass(frozen=True)
class Scene:
    """Turns, silence between them, and which steps of 20 ms are speech."""

    sound: Array
    speech: NDArray[np.bool_]
    turns: list[Turn]


@dataclass(frozen=True)
class Found:
    """One turn as the endpointer saw it, in seconds."""

    kept_from: float
    """Where its sound begins: the pre-roll is counted."""
    decided: float
    """When it was over."""


@dataclass(frozen=True)
class Figures:
    """One row. Shares are of turns."""

    cut: float
    missed: float
    """Never found at all."""
    hung: float
    """Not over GAP_S after the last word."""
    delays_ms: tuple[float, float]
    """Median, 90th percentile."""
    kept: float
    """Whose sound is there from the first step on."""
    lost: float
    """Share of all speech that is in no turn."""
    ghosts: float
    """Turns in which nobody spoke, for each minute of silence."""


def main() -> int:
    args = arguments()
    try:
        phrases = recordings()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        print(f"the recordings cannot be had: {error}", file=sys.stderr)
        return 2
    scene = make_scene(phrases, args.turns, np.random.default_rng(args.seed))
    report(scene)
    return 0


def report(scene: Scene) -> None:
    """Print all tables in Markdown, each as soon as it is known."""
    longest = np.array([max(turn.pauses, default=0) for turn in scene.turns])
    print(
        HEAD.format(
            date=datetime.now(UTC).date(),
            machine=machine(),
            turns=len(scene.turns),
            minutes=len(scene.sound) / SAMPLE_RATE_HZ / 60,
            pauses=sum(len(turn.pauses) for turn in scene.turns),
            gap=GAP_S,
            noise_min=len(scene.turns) * GAP_S / 60,
            speakers=", ".join(map(str, SPEAKERS_MS)),
            over=", ".join(f"{(longest > ms / 1000).mean():.0%} over {ms} ms" for ms in WAITS_MS),
        )
    )
    names = ["clean" if snr_db is None else f"{snr_db} dB" for snr_db in SNRS_DB]
    for name, make in VADS.items():
        columns: list[dict[str, Figures]] = []
        for snr_db in SNRS_DB:
            heard = add_noise(scene, snr_db, np.random.default_rng(7))
            heard = heard[: len(heard) // FRAME_SAMPLES * FRAME_SAMPLES].astype(np.float32)
            vad = make()
            probabilities = [vad(frame) for frame in heard.reshape(-1, FRAME_SAMPLES)]
            column = {f"{ms} ms": measure(scene, turns_found(probabilities, fixed(ms))) for ms in WAITS_MS}
            column["adaptive"] = measure(scene, turns_found(probabilities, EndpointConfig()))
            column["adaptive, smart-turn"] = measure(scene, turns_found(probabilities, EndpointConfig(), heard))
            columns.append(column)
            print(f"{name}: {names[len(columns) - 1]} done", file=sys.stderr, flush=True)
        print(f"\n## {name}\n\nTurns cut off, and the delay: median / 90th percentile in ms.\n")
        print(f"| wait | {' | '.join(names)} |")
        print("|---|" + "---|" * len(names))
        for wait in columns[0]:
            cells = [f"{it[wait].cut:.1%}, {it[wait].delays_ms[0]:.0f} / {it[wait].delays_ms[1]:.0f}" for it in columns]
            print(f"| {wait} | {' | '.join(cells)} |")
        print("\nWith the default, adaptive wait:\n")
        print(f"| | {' | '.join(names)} |")
        print("|---|" + "---|" * len(names))
        defaults = [it["adaptive"] for it in columns]
        for what, values in {
            "turns never found": [f"{it.missed:.1%}" for it in defaults],
            "turns never over": [f"{it.hung:.1%}" for it in defaults],
            "first sound kept": [f"{it.kept:.1%}" for it in defaults],
            "speech missed": [f"{it.lost:.2%}" for it in defaults],
            "ghost turns a minute of silence": [f"{it.ghosts:.2f}" for it in defaults],
        }.items():
            print(f"| {what} | {' | '.join(values)} |")


def fixed(wait_ms: int) -> EndpointConfig:
    """A wait that doesn't adapt."""
    return replace(EndpointConfig(), end_ms=wait_ms, end_min_ms=wait_ms, end_max_ms=wait_ms)


def measure(scene: Scene, found: list[Found]) -> Figures:
    """Hold what was found against what happened."""
    heard = np.zeros(len(scene.speech), bool)
    for one in found:
        heard[max(0, round(one.kept_from * 50)) : round(one.decided * 50)] = True
    delays: list[float] = []
    cut = missed = hung = kept = 0
    for turn in scene.turns:
        mine = [one for one in found if one.kept_from < turn.end and one.decided > turn.begin]
        over = [one for one in mine if one.decided >= turn.end]
        missed += not mine
        cut += any(one.decided < turn.end for one in mine)
        hung += bool(over) and over[0].decided >= turn.end + GAP_S - FRAME_MS / 1000
        kept += bool(mine) and mine[0].kept_from <= turn.begin
        delays += [1000 * (one.decided - turn.end) for one in over[:1]]
    ghosts = sum(all(one.decided <= turn.begin or one.kept_from >= turn.end for turn in scene.turns) for one in found)
    count = len(scene.turns)
    return Figures(
        cut / count,
        missed / count,
        hung / count,
        (float(np.median(delays)), float(np.percentile(delays, 90))) if delays else (np.nan, np.nan),
        kept / count,
        float((scene.speech & ~heard).sum() / scene.speech.sum()),
        ghosts / (count * GAP_S / 60),
    )


def turns_found(probabilities: list[float], config: EndpointConfig, sound: Pcm | None = None) -> list[Found]:
    """Turns that were meant. With `sound`, the end-of-turn model hears every pause. A turn still open at the end is over then."""
    endpointer = Endpointer(config)
    model = EndOfTurn() if sound is not None else None
    frame_s = FRAME_MS / 1000
    found: list[Found] = []
    kept_from, meant = 0.0, False
    for number, probability in enumerate(probabilities):
        match endpointer.step(number, probability):
            case SpeechStarted():
                kept_from, meant = (number + 1) * frame_s - config.preroll_ms / 1000, False
            case SpeechConfirmed():
                meant = True
            case SpeechPaused() if model is not None and sound is not None:
                odds = model.probability(sound[max(0, round(kept_from * SAMPLE_RATE_HZ)) : (number + 1) * FRAME_SAMPLES])
                bounds = {"min_ms": config.end_min_ms, "max_ms": config.end_max_ms}
                endpointer.hint(end_wait_ms(odds, endpointer.wait_ms, **bounds))
            case SpeechEnded():
                found.append(Found(kept_from, (number + 1) * frame_s))
                meant = False
            case _:
                pass
    if meant:
        found.append(Found(kept_from, len(probabilities) * frame_s))
    return found


# ---- the scene ----


def make_scene(phrases: list[Array], turns: int, rng: np.random.Generator) -> Scene:
    """So many turns of two to four phrases, each with its true bounds."""
    parts: list[Array] = [np.zeros(int(GAP_S * SAMPLE_RATE_HZ))]
    at = len(parts[0])
    truth: list[Turn] = []
    speech: list[NDArray[np.bool_]] = [np.zeros(at // STEP, bool)]
    for number in range(turns):
        median_ms = SPEAKERS_MS[number // RUN % len(SPEAKERS_MS)]
        pieces: list[Array] = []
        for index in range(rng.integers(2, 5)):
            if index:
                pause_ms = np.clip(median_ms * np.exp(SPREAD * rng.normal()), SHORTEST_MS, LONGEST_MS)
                pieces.append(np.zeros(int(pause_ms / 20) * STEP))
            pieces.append(phrases[rng.integers(len(phrases))])
        turn = np.concatenate(pieces)
        loud = np.concatenate([audible(piece) for piece in pieces])
        begin, end = np.flatnonzero(loud)[[0, -1]]
        truth.append(
            Turn((at + begin * STEP) / SAMPLE_RATE_HZ, (at + (end + 1) * STEP) / SAMPLE_RATE_HZ, silences(loud[begin : end + 1]))
        )
        # The next turn begins anywhere in a frame.
        gap = np.zeros(int(GAP_S * 50 + rng.integers(0, 8)) * STEP)
        parts += [turn, gap]
        speech += [loud, np.zeros(len(gap) // STEP, bool)]
        at += len(turn) + len(gap)
    return Scene(np.concatenate(parts), np.concatenate(speech), truth)


def audible(piece: Array) -> NDArray[np.bool_]:
    """Which steps of 20 ms of a phrase are sound."""
    power = (piece.reshape(-1, STEP) ** 2).mean(axis=1)
    return power > max(power.max() * 10 ** (SILENT_DB / 10), 1e-12)


def silences(loud: NDArray[np.bool_]) -> tuple[float, ...]:
    """Lengths in s of the silences between two sounds, from 0.1 s."""
    edges = np.flatnonzero(np.diff(loud.astype(int)))
    return tuple(float(n) / 50 for n in (edges[1::2] - edges[::2]) if n >= 5)


def add_noise(scene: Scene, snr_db: float | None, rng: np.random.Generator) -> Array:
    """Pink noise over all of it, so far below the speech (RMS of what is speech). Clean is a very quiet room: 60 dB."""
    samples = len(scene.sound) // 2 * 2
    spectrum = np.fft.rfft(rng.normal(size=samples)) / np.sqrt(np.arange(1, samples // 2 + 2))
    noise = np.fft.irfft(spectrum, samples)
    level = 10 ** ((LEVEL_DB - (60 if snr_db is None else snr_db)) / 20)
    return np.clip(scene.sound[:samples] + noise * level / np.sqrt((noise**2).mean()), -1, 1)


# ---- the recordings ----


def recordings() -> list[Array]:
    """Phrases of people, 16 kHz, all equally loud, whole steps long. Raises FileNotFoundError, CalledProcessError."""
    phrases: list[Array] = []
    for package, folder in PACKAGES.items():
        for path in sorted(find(package, folder).rglob("*")):
            if path.suffix == ".g722":
                pcm = decode(path)
            elif path.suffix == ".wav" and path.stem != "Noise":
                sound, rate_hz = soundfile.read(path, always_2d=True)
                pcm = soxr.resample(sound.mean(axis=1), rate_hz, SAMPLE_RATE_HZ)
            else:
                continue
            pcm = pcm[: len(pcm) // STEP * STEP]
            if len(pcm) < 0.3 * SAMPLE_RATE_HZ or any(name in path.stem for name in ("beep", "tone", "silence")):
                continue
            loud = np.flatnonzero(audible(pcm))
            pcm = pcm[loud[0] * STEP : (loud[-1] + 1) * STEP]
            level = np.sqrt((pcm.reshape(-1, STEP)[audible(pcm)] ** 2).mean())
            if 0.3 < len(pcm) / SAMPLE_RATE_HZ < 5:
                phrases.append(pcm * 10 ** (LEVEL_DB / 20) / level)
    return phrases


def find(package: str, folder: str) -> Path:
    """Where a package's files lie: installed, or unpacked into our cache. Nothing is installed."""
    installed = Path("/") / folder
    if installed.is_dir():
        return installed
    kept = cache_folder() / "recordings" / package
    if not kept.is_dir():
        kept.mkdir(parents=True)
        try:
            subprocess.run(["apt-get", "download", package], cwd=kept, check=True)
            subprocess.run(["dpkg-deb", "-x", *map(str, kept.glob("*.deb")), str(kept)], check=True)
        except BaseException:
            shutil.rmtree(kept)
            raise
    return kept / folder


def decode(path: Path) -> Array:
    """G.722 by ffmpeg."""
    if shutil.which("ffmpeg") is None:
        raise FileNotFoundError("ffmpeg, which decodes G.722; run: sudo apt install ffmpeg")
    command = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-f",
        "g722",
        "-i",
        str(path),
        "-f",
        "s16le",
        "-ac",
        "1",
        "-ar",
        str(SAMPLE_RATE_HZ),
        "-",
    ]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.int16) / 32768


def machine() -> str:
    """What this ran on, in words."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return f"{platform.machine()}, {model or 'unknown processor'}, {os.cpu_count()} processors"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=225)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


HEAD = """# Endpointing: what was measured

`make bench-endpointing` printed the tables on {date} ({machine}; what is found does not depend on the machine's speed, and no
Raspberry Pi was used).

{turns} turns, {minutes:.0f} minutes, of two to four recorded phrases each, with {pauses} pauses inside them (Debian's
asterisk-core-sounds-en-g722 and alsa-utils). Three kinds of speakers follow each other, with pauses between phrases of
{speakers} ms in the median. The longest pause of a turn is
{over}.
{gap:.0f} s of silence follow every turn, {noise_min:.0f} minutes in all. Speech and silence are read off the clean sound (steps
of 20 ms, −40 dB of the phrase's loudest); pink noise is then added so far below the speech.

- **cut off**: turns ended before their last sound. With a fixed wait, about the share of turns with a longer pause.
- **delay**: from the true end of the last sound to the decision.
- **wait**: silence that ends the turn. *Adaptive* is the default, which learns from the speaker's pauses; *smart-turn* makes it
  shorter or longer by how the turn sounds (extra `smart-turn`).
- **never over**: turns not ended before the next one begins; **never found**: turns not noticed at all.
- **first sound kept**: turns whose recording, pre-roll counted, begins no later than their first sound.
- **speech missed**: share of all speech that is in no turn. **Ghost turns**: turns in which nobody spoke."""


if __name__ == "__main__":
    sys.exit(main())
