"""A small GGUF pair: our bundles of it against transformers on the restored weights and llama.cpp on the file itself.

    python tests/parity/gguf_peers.py --torch PYTHON --llama PYTHON

The first interpreter has torch and transformers, the second llama-cpp-python with Gemma 4.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PROMPTS, TOKENS = 20, 40
PAD_AUDIO = 11


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


def compare(torch_python: str, llama_python: str) -> int:
    sys.path.insert(0, str(Path(__file__).parent))
    from gguf_pairs import make_pair, text_name
    from shapes import sound

    from edge_assistant.gemma4.export import export
    from edge_assistant.runtimes.onnx import OnnxModel

    with tempfile.TemporaryDirectory() as name:
        pair = make_pair(Path(name))
        floats = {text_name(key): "F32" for key, value in pair.restored.items() if "audio" not in key and value.ndim == 2}
        plain = make_pair(Path(name) / "plain", kinds=floats, values=pair.restored)
        sides = (
            (torch_python, "transformers", pair.checkpoint),
            (llama_python, "llama", pair.decoder),
            (llama_python, "llama", plain.decoder),
        )
        for python, side, path in sides:
            subprocess.run([python, __file__, "--side", side, str(path)], check=True)
        exact = dict[str, Any](decoder_bits=None, encoder_bits=None, table_bits=32)
        bundles = {"float32": exact, "as it lies": {}}
        logits, heard = dict[str, Any](), dict[str, Any]()
        for bundle, wish in bundles.items():
            folder = Path(name) / bundle
            export(pair.decoder, folder, progress=False, **wish)
            model, rows = OnnxModel.open(folder), list[Any]()
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
            logits[bundle], heard[bundle] = np.stack(rows), session.logits()[None]
        with np.load(pair.checkpoint / "transformers.npz") as file:
            reference, reference_heard = file["text"], file["sound"][None]
        peer, peer_plain = (np.load(one.decoder.with_suffix(".npy")) for one in (pair, plain))
    good = [
        line("float32 bundle, transformers, text", logits["float32"], reference, most=5e-3),
        line("float32 bundle, transformers, sound", heard["float32"], reference_heard, most=5e-3),
        line("bundle as it lies, transformers, text", logits["as it lies"], reference, least=0.998),
        line("bundle as it lies, transformers, sound", heard["as it lies"], reference_heard, least=0.998),
        line("llama.cpp, transformers, text", peer, reference, least=0.999),
        line("float32 bundle, llama.cpp, text", logits["float32"], peer, least=0.999),
        line("bundle as it lies, llama.cpp, text", logits["as it lies"], peer, least=0.998),
        line("float32 bundle, llama.cpp in float32, text", logits["float32"], peer_plain, least=0.9999),
    ]
    return 0 if all(good) else 1


def line(what: str, a: Any, b: Any, most: float = np.inf, least: float = -1.0) -> bool:
    """Print the largest difference and the cosine, of logits about their mean; whether both are within bounds."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    off = float(np.abs(a - b).max())
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    cosines = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    same = float((a.argmax(-1) == b.argmax(-1)).mean())
    good = off < most and cosines.mean() >= least
    cosine = f"cosine {cosines.mean():.6f} ({cosines.min():.6f} at least)"
    print(f"{what:44} off by {off:.1e} at most, {cosine}, same best {same:.0%}{'' if good else '  BAD'}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default=sys.executable)
    parser.add_argument("--llama", default=sys.executable)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        {"transformers": transformers, "llama": llama}[arguments.side[0]](Path(arguments.side[1]))
        return 0
    return compare(arguments.torch, arguments.llama)


if __name__ == "__main__":
    raise SystemExit(main())
