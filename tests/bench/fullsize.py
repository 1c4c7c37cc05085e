"""Builds of full size: `make full-size`, or OPTIONS="e2b e2b-gguf e4b e4b-gguf --work FOLDER".

Writes a random checkpoint of a published model's real dimensions, in shards of bfloat16 or as a pair of GGUF files, builds it
with `edge-assistant models build`, and lets `edge-assistant ask` answer a recording with the bundle. Prints how long each took,
how much memory, and how large the files are; fails if a build was ever larger than the bound. Each thing is removed after its
use: at most the checkpoint and the bundle lie there at once (e2b 15 GB, e4b 24 GB).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "e2b"), str(HERE.parent / "parity")]

import shape
from gguf_files import audio_name, text_name
from gguf_pairs import Kind, add_audio_settings, add_text_settings, add_tokens, blocks
from weights import RandomWeights

BOUND_MB = 3000
SHARD_BYTES = 2 << 30
PIECE = 1 << 24
"""Weights written at once."""
DEMO = HERE.parents[1] / "assets" / "demo" / "timer.wav"
TEXTS = {"e2b": shape.TEXT, "e4b": shape.TEXT_E4B}
GGUF_KINDS = {"token_embd.weight": Kind.Q6_K, "per_layer_model_proj.weight": Kind.BF16}
"""As llama.cpp's own Q4_0 files have them; the other matrices are Q4_0, the projector's Q8_0."""


def write_checkpoint(folder: Path, text: dict[str, Any]) -> Path:
    """Shards of bfloat16; never more than a piece of a tensor in memory."""
    weights = RandomWeights(folder, text)
    shapes = dict([*shape.text_tensors(text), *shape.audio_tensors(text)])
    shards: list[dict[str, int]] = [{}]
    for name, dims in shapes.items():
        size = 2 * int(np.prod(dims))
        if shards[-1] and sum(shards[-1].values()) + size > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = size
    where: dict[str, str] = {}
    for number, sizes in enumerate(shards, 1):
        file, at = f"model-{number:05d}-of-{len(shards):05d}.safetensors", 0
        header: dict[str, Any] = {}
        for name, size in sizes.items():
            header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [at, at + size]}
            at += size
            where[name] = file
        head = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            for name in sizes:
                rows = np.atleast_1d(weights.rows(name))
                step = max(1, PIECE // max(1, int(np.prod(rows.shape[1:]))))
                for begin in range(0, len(rows), step):
                    np.ascontiguousarray(rows[begin : begin + step], ml_dtypes.bfloat16).tofile(out)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def write_pair(folder: Path, text: dict[str, Any], kinds: dict[str, Any] = GGUF_KINDS) -> Path:
    """A decoder in Q4_0, but for some `kinds`, and its projector; one tensor at a time."""
    folder.mkdir(parents=True)
    decoder = gguf.GGUFWriter(folder / "gemma-4-q4_0.gguf", "gemma4")
    add_text_settings(decoder, text)
    add_tokens(decoder, text["vocab_size"])
    _write_tensors(decoder, list(shape.text_tensors(text)), text_name, kinds, Kind.Q4_0)
    projector = gguf.GGUFWriter(folder / "mmproj-gemma-4.gguf", "clip")
    add_audio_settings(projector, shape.AUDIO, text["hidden_size"])
    _write_tensors(projector, list(shape.audio_tensors(text)), audio_name, kinds, Kind.Q8_0)
    return folder


def _write_tensors(
    writer: Any, tensors: list[tuple[str, tuple[int, ...]]], own: Callable[[str], str], kinds: dict[str, Any], matrices: Any
) -> None:
    made = dict(writer.tensors[0])  # what the settings brought
    todo: list[Callable[[], Any]] = [lambda info=info: info.tensor for info in made.values()]
    for name, whole in tensors:
        dims = (whole[0], whole[2]) if "depthwise" in name else whole
        plain = len(dims) != 2 or "depthwise" in name or "relative_k" in name
        kind = Kind.F32 if plain else kinds.get(own(name), matrices)
        tile = _tile(name, dims, kind)
        rows = dims[0] if dims else 1
        writer.add_tensor_info(own(name), (rows, *tile.shape[1:]), tile.dtype, rows * tile[0].nbytes, raw_dtype=kind)
        todo.append(lambda name=name, dims=dims, kind=kind, rows=rows: _repeat(_tile(name, dims, kind), rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for make in todo:
        writer.write_tensor_data(make())
    writer.close()


def _tile(name: str, dims: tuple[int, ...], kind: Any) -> Any:
    """The first rows of a tensor; the others repeat them, and other tensors of its shape are the same."""
    if not dims:
        return np.array([-6.0 if name.endswith("min") else 6.0], np.float32)
    if len(dims) == 1:
        return np.ones(dims, np.float32)
    return _noise((min(dims[0], max(1, (1 << 20) // int(np.prod(dims[1:])))), *dims[1:]), kind)


@cache
def _noise(dims: tuple[int, ...], kind: Any) -> Any:
    width, random = int(np.prod(dims[1:])), np.random.default_rng(0)
    values = random.standard_normal(dims, np.float32) / np.float32(np.sqrt(width))
    return values if kind == Kind.F32 else blocks(values, kind, random)


def _repeat(tile: Any, rows: int) -> Any:
    return tile if len(tile) == rows else np.resize(tile, (rows, *tile.shape[1:]))


def run(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run to its end; seconds, and the most memory that it ever had resident. Raises CalledProcessError."""
    begin, peak = time.monotonic(), {"VmHWM": 0, "RssAnon": 0}
    process = subprocess.Popen(command, env=environment)
    while process.poll() is None:
        for key, value in _status(process.pid, tuple(peak)).items():
            peak[key] = max(peak[key], value)
        time.sleep(0.05)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "seconds": round(time.monotonic() - begin),
        "resident_mb": round(peak["VmHWM"] / 1e6),
        "anonymous_mb": round(peak["RssAnon"] / 1e6),
    }


def _status(pid: int, keys: tuple[str, ...]) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = dict(line.split(":", 1) for line in lines)
    return {key: int(fields[key].split()[0]) * 1024 for key in keys if key in fields}


def size_gb(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9, 3)


def prove(kind: str, work: Path, making: list[str]) -> dict[str, Any]:
    """One kind from its checkpoint to its answer."""
    folder, text = work / kind, TEXTS[kind.partition("-")[0]]
    shutil.rmtree(folder, ignore_errors=True)
    environment = os.environ | {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("DATA", "CACHE", "STATE")}
    program = [sys.executable, "-m", "edge_assistant.cli"]
    try:
        begin = time.monotonic()
        checkpoint = (write_pair if kind.endswith("gguf") else write_checkpoint)(folder / "checkpoint", text)
        out: dict[str, Any] = {"what": kind, "checkpoint_gb": size_gb(checkpoint), "written_s": round(time.monotonic() - begin)}
        print(f"{kind}: a checkpoint of {out['checkpoint_gb']} GB, in {out['written_s']} s", file=sys.stderr)
        # the small vocabulary spells a system turn in more tokens than a conversation has
        build = ["models", "build", str(checkpoint), "--name", "full", "--no-system", *making]
        out["build"] = run([*program, *build], environment)
        shutil.rmtree(checkpoint)
        out["bundle_gb"] = size_gb(folder / "data")
        print(f"{kind}: a bundle of {out['bundle_gb']} GB, {out['build']}", file=sys.stderr)
        answer = folder / "answer.wav"
        ask = ["ask", str(DEMO), "--model", "full", "--pace", "fast", "--say", str(answer), "--quiet"]
        out["ask"] = run([*program, *ask], environment)
        out["answered"] = answer.exists()
        print(f"{kind}: asked, {out['ask']}", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = [*TEXTS, *(f"{name}-gguf" for name in TEXTS)]
    parser.add_argument("kinds", nargs="*", metavar="|".join(kinds), help="which (e2b e2b-gguf)")
    parser.add_argument("--work", type=Path, default=Path("full-size"), help="folder for checkpoints and bundles (full-size)")
    parser.add_argument("--making", default="", metavar="OPTIONS", help='of models build, e.g. "--block 128 --tables 4"')
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(kinds):
        parser.error(f"no kind {unknown.pop()}")
    found = [prove(kind, options.work, options.making.split()) for kind in options.kinds or ("e2b", "e2b-gguf")]
    print(json.dumps(found, indent=1))
    too_large = [each["what"] for each in found if each["build"]["resident_mb"] > BOUND_MB]
    for each in too_large:
        print(f"the build of {each} was larger than {BOUND_MB} MB", file=sys.stderr)
    return 1 if too_large or not all(each["answered"] for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
