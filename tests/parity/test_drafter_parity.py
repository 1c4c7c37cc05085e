"""The float32 drafter says what transformers says in double precision, for every shape of drafter."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from drafters import DRAFTERS, REFERENCED, make_drafter, target_of
from shapes import make_checkpoint

from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.export import export
from edge_assistant.runtimes.drafting import Drafter
from edge_assistant.runtimes.engine import Threads
from edge_assistant.runtimes.onnx import OnnxModel

LOGITS, STATES = 5e-3, 5e-3
"""Most that float32 may be away from double precision."""
PLACES, STEPS = (3, 17, 41), 3


@pytest.mark.parametrize("name", REFERENCED)
def test_it_drafts_what_transformers_drafts(name: str, tmp_path: Path) -> None:
    with np.load(Path(__file__).parent / "references" / "drafters.npz") as file:
        kept = {key.partition("/")[2]: file[key] for key in file.files if key.startswith(f"{name}/")}
    shape, seed = DRAFTERS[name], int(kept["seed"])
    checkpoint = make_checkpoint(tmp_path / "target", target_of(shape), seed)
    folder = make_drafter(tmp_path / "drafter", shape, seed + 1)
    files = sorted([*checkpoint.glob("*.safetensors"), *folder.glob("*.safetensors")])
    assert hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest() == str(kept["weights"])
    bundle = tmp_path / "bundle"
    # small blocks, so that these short contexts cross many of them
    export(checkpoint, bundle, decoder_bits=None, encoder_bits=None, table_bits=32, blocks=Blocks(8, 16), drafter=folder)
    model = OnnxModel.open(bundle)
    config = model.bundle.drafter
    assert config is not None
    drafter = Drafter(config, model.config.text, bundle / "drafter.onnx", Threads())
    found = 0
    for place in PLACES:
        session = model.session(64)
        session.feed_ids(kept["text"][:place].tolist())
        _, states = model.decoder.upper_with_states(session._cache, session._row())
        id_, state = int(kept["text"][place]), states[0]
        for step in range(STEPS):
            at = PLACES.index(place) * STEPS + step
            ids, logits, after = drafter.compare(session._cache, model.embed([id_])[0], state)
            expected = kept["logits"][at]
            if ids is None:
                ids = np.arange(len(expected), dtype=np.int32)
            if len(ids) < len(expected):  # what is not compared gets one value from transformers, 1 below all others
                assert np.array_equal(np.sort(ids), np.flatnonzero(expected > expected.min() + 0.5))
            assert np.abs(logits - expected[ids]).max() < LOGITS
            assert np.abs(after - kept["states"][at]).max() < STATES
            guess = drafter.step(session._cache, model.embed([id_])[0], state)
            assert guess.id == kept["drafted"][at]
            id_, state = guess.id, guess.state
            found += 1
    assert found == len(kept["drafted"])
