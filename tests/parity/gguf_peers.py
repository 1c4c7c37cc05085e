"""Small GGUF pairs of each type: our bundles against transformers on the restored weights and llama.cpp on the file itself.

    python tests/parity/gguf_peers.py --torch PYTHON --llama PYTHON [--kinds mixed Q4_0 …] [--models 4]

The first interpreter has torch and transformers, the second llama-cpp-python with Gemma 4. The bundle has the file's own weights
in every case: as quantised blocks, or as floats where the file has floats. So what is left between it, llama.cpp and transformers
in double precision is how each program rounds activations; the lines say who is nearer to the exact answer.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PROMPTS, TOKENS = 20, 40
SEED = 7
"""Of the first model's weights."""
PAD_AUDIO = 11
MIXED = "mixed"
"""Every type in one file, as published files have several."""
EXACT: dict[str, Any] = {"decoder_bits": None, "encoder_bits": None, "table_bits": 32}
FLOATS = ("F32", "F16", "BF16")


LEAST = {MIXED: 0.999, "Q4_0": 0.999, "Q8_0": 0.999, "BF16": 0.999, "F16": 0.9999, "F32": 0.9999}
"""Mean cosine of the bundle and llama.cpp. Where weights are quantised both round activations to 8 bits, each in its own way."""
NEAR = 1.25
"""Our angle to the exact logits, in llama.cpp's."""


def ids(seed: int) -> list[int]:
    return np.random.RandomState(seed).randint(24, 288, TOKENS).tolist()


def transformers(folder: Path) -> None:
    """Logits in double precision of every prompt, of the last one's sound too."""
    import torch

    sys.path.insert(0, str(Path(__file__).parent))
    from make_references import double
    from shapes import sound
    from transformers import Gemma4ForConditionalGeneration
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

    with double(), torch.no_grad():
        model = Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
        options = {"use_cache": True, "output_hidden_states": True}
        rows = [model(input_ids=torch.tensor([ids(seed)]), **options).logits[0, -1].numpy() for seed in range(PROMPTS)]
        heard = Gemma4AudioFeatureExtractor()([sound(7, 640 * 33 + 77)], return_tensors="pt")
        features, mask = heard["input_features"].double(), heard["input_features_mask"]
        encoded = model.model.get_audio_features(features, mask, return_dict=True)
        prompt = [*ids(0), 10, *[PAD_AUDIO] * int(encoded.attention_mask.sum()), 12, *ids(1)]
        out = model(input_ids=torch.tensor([prompt]), input_features=features, input_features_mask=mask, **options)
    np.savez(folder / "transformers.npz", text=np.stack(rows), sound=out.logits[0, -1].numpy())


def llama(file: Path) -> None:
    """Logits of every prompt."""
    import ctypes

    import llama_cpp as lib

    quiet = lib.llama_log_callback(lambda level, text, data: None)
    lib.llama_log_set(quiet, ctypes.c_void_p())
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(str(file).encode(), lib.llama_model_default_params())
    settings = lib.llama_context_default_params()
    settings.n_ctx, settings.n_threads = 256, 1
    settings.type_k = settings.type_v = 0  # float32
    context = lib.llama_init_from_model(model, settings)
    if not context:
        raise SystemExit("llama.cpp cannot open the file")
    vocab, rows = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model)), list[Any]()
    for seed in range(PROMPTS):
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        prompt = (lib.llama_token * TOKENS)(*ids(seed))  # the batch only points at it
        if lib.llama_decode(context, lib.llama_batch_get_one(prompt, TOKENS)):
            raise SystemExit("llama_decode failed")
        rows.append(np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (vocab,)).copy())
    np.save(file.with_suffix(".npy"), np.stack(rows))


def ours(decoder: Path, bundle: Path, wish: dict[str, Any]) -> tuple[Any, Any]:
    """Logits of every prompt [prompts, vocab], and of the one with sound [1, vocab]."""
    from shapes import sound

    from edge_assistant.gemma4.export import export
    from edge_assistant.runtimes.onnx import OnnxModel

    export(decoder, bundle, progress=False, **wish)
    model, rows = OnnxModel.open(bundle), list[Any]()
    for seed in range(PROMPTS):
        session = model.session(256)
        session.feed_ids(ids(seed))
        rows.append(session.logits())
    session = model.session(256)
    session.feed_ids(ids(0))
    session.begin_audio()
    session.feed_audio(sound(7, 640 * 33 + 77))
    session.end_audio()
    session.feed_ids(ids(1))
    return np.stack(rows), session.logits()[None]


def compare(kind: str, models: int, torch_python: str, llama_python: str) -> bool:
    """One type's lines; whether all are within bounds. Beyond the first model our float32 bundle stands for the exact logits."""
    sys.path.insert(0, str(Path(__file__).parent))
    from gguf_pairs import SHAPE, audio_name, make_pair, text_name
    from shapes import tensors

    matrices = {name for name, value in tensors(SHAPE, SEED) if value.ndim == 2 and "relative_k" not in name}
    # the projector's are never 4 bits
    kinds = {text_name(name): kind for name in matrices if "audio" not in name}
    kinds |= {audio_name(name): "Q8_0" if kind == "Q4_0" else kind for name in matrices if "audio" in name}
    rows: dict[str, list[Any]] = {"exact": [], "ours": [], "llama.cpp": []}
    good: list[bool] = []
    for seed in range(SEED, SEED + models):
        with tempfile.TemporaryDirectory() as name:
            pair = make_pair(Path(name), seed=seed, kinds=None if kind == MIXED else kinds)
            subprocess.run([llama_python, __file__, "--side", "llama", str(pair.decoder)], check=True)
            exact, exact_heard = ours(pair.decoder, Path(name) / "exact", EXACT)
            bundle, heard = (exact, exact_heard) if kind in FLOATS else ours(pair.decoder, Path(name) / "bundle", {})
            if seed == SEED:
                subprocess.run([torch_python, __file__, "--side", "transformers", str(pair.checkpoint)], check=True)
                with np.load(pair.checkpoint / "transformers.npz") as file:
                    reference, reference_heard = file["text"], file["sound"][None]
                good += [
                    line(f"{kind}: float32 bundle, transformers", exact, reference, most=5e-3),
                    line(f"{kind}: the same after sound", exact_heard, reference_heard, most=5e-3),
                    line(f"{kind}: bundle, transformers, after sound", heard, reference_heard, least=0.997),
                ]
                exact = reference
            for side, logits in (("exact", exact), ("ours", bundle), ("llama.cpp", np.load(pair.decoder.with_suffix(".npy")))):
                rows[side].append(logits)
    exact, bundle, peer = (np.concatenate(rows[side]) for side in rows)
    good += [
        line(f"{kind}: bundle, exact", bundle, exact, least=0.998),
        line(f"{kind}: llama.cpp, exact", peer, exact),
        line(f"{kind}: bundle, llama.cpp", bundle, peer, least=LEAST[kind]),
    ]
    ratio = angle(bundle, exact) / angle(peer, exact)
    good.append(ratio <= NEAR)
    print(f"{kind}: our angle to the exact logits is {ratio:.3f} of llama.cpp's{'' if good[-1] else '  BAD'}", flush=True)
    return all(good)


def cosines(a: Any, b: Any) -> Any:
    """Of logits about their mean."""
    a, b = (np.asarray(x, np.float64) - np.mean(x, -1, keepdims=True, dtype=np.float64) for x in (a, b))
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def angle(a: Any, b: Any) -> float:
    """Root mean square, in radians, where it is small."""
    return float(np.sqrt(2 * (1 - cosines(a, b)).mean()))


def line(what: str, a: Any, b: Any, most: float = np.inf, least: float = -1.0) -> bool:
    """Print the largest difference and the cosine; whether both are within bounds."""
    off = float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())
    found, same = cosines(a, b), float((a.argmax(-1) == b.argmax(-1)).mean())
    good = off < most and found.mean() >= least
    cosine = f"cosine {found.mean():.6f} ({found.min():.6f} at least)"
    print(f"{what:38} off by {off:.1e} at most, {cosine}, same best {same:.0%}{'' if good else '  BAD'}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default=sys.executable)
    parser.add_argument("--llama", default=sys.executable)
    parser.add_argument("--kinds", nargs="+", choices=LEAST, default=list(LEAST))
    parser.add_argument("--models", type=int, default=4, help="random models of each type (%(default)s)")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        {"transformers": transformers, "llama": llama}[arguments.side[0]](Path(arguments.side[1]))
        return 0
    return 0 if all([compare(kind, arguments.models, arguments.torch, arguments.llama) for kind in arguments.kinds]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
