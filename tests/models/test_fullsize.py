"""What `make full-size` does, on a model that is small: both kinds of checkpoint are written, built, and asked."""

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))

import fullsize
import shape
import weights

TEXT: dict[str, Any] = shape.TEXT | {
    "vocab_size": 512,
    "vocab_size_per_layer_input": 512,
    "hidden_size": 256,
    "hidden_size_per_layer_input": 32,
    "intermediate_size": 256,
    "num_hidden_layers": 5,
    "layer_types": [*[shape.SLIDING] * 4, shape.FULL],
    "num_kv_shared_layers": 0,
    "num_attention_heads": 2,
    "head_dim": 32,
    "global_head_dim": 64,
    "sliding_window": 64,
    "max_position_embeddings": 8192,
}
AUDIO: dict[str, Any] = shape.AUDIO | {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "output_proj_dims": 64,
}


@pytest.mark.parametrize("kind", ["e2b", "e2b-gguf"])
def test_it_is_written_built_and_asked(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "AUDIO", AUDIO)
    monkeypatch.setattr(fullsize, "TEXTS", {"e2b": TEXT})
    monkeypatch.setattr(fullsize, "SHARD_BYTES", 1 << 19)
    monkeypatch.setattr(weights, "POOL", 1 << 20)
    seen: list[list[str]] = []
    run = fullsize.run

    def spy(command: list[str], environment: dict[str, str]) -> dict[str, float]:
        files = sorted(path for path in (tmp_path / kind / "checkpoint").glob("*") if path.is_file())
        seen.append([path.suffix for path in files])
        for tensor in (tensor for path in files if path.suffix == ".gguf" for tensor in gguf.GGUFReader(path).tensors):
            sizes = np.abs(gguf.dequantize(tensor.data, tensor.tensor_type))
            assert tensor.name == "rope_freqs.weight" or sizes.max() <= 6, tensor.name  # a NaN is not, either
        return run(command, environment)

    monkeypatch.setattr(fullsize, "run", spy)
    found = fullsize.prove(kind, tmp_path, [])
    assert found["answered"]
    assert 10 < found["build"]["anonymous_mb"] < found["build"]["resident_mb"] < fullsize.BOUND_MB
    assert found["bundle_gb"] > 0.001
    assert seen[0].count(".safetensors" if kind == "e2b" else ".gguf") >= 2
    assert seen[1] == []  # the checkpoint is gone when the bundle is there
    assert not list(tmp_path.iterdir())
