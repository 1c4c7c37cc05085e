"""The float32 bundle says what transformers says in double precision, for every shape of checkpoint."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapes import SHAPES, make_checkpoint, sound

from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.export import export
from edge_assistant.gemma4.mel import Mel
from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession

LOGITS, SOFT = 5e-3, 1e-4
"""Most that float32 may be away from double precision."""


@dataclass(frozen=True)
class Case:
    name: str
    model: OnnxModel
    pcm: np.ndarray[Any, np.dtype[np.float32]]
    kept: dict[str, np.ndarray[Any, Any]]
    digest: str

    def feed(self, sizes: list[int]) -> OnnxSession:
        """The mixed prompt, its sound in pieces of these sizes, over and over."""
        session = self.model.session(512)
        session.feed_ids(self.kept["before"].tolist())
        session.begin_audio()
        at, turn = 0, 0
        while at < len(self.pcm):
            session.feed_audio(self.pcm[at : at + sizes[turn % len(sizes)]])
            at, turn = at + sizes[turn % len(sizes)], turn + 1
        session.end_audio()
        session.feed_ids(self.kept["after"].tolist())
        return session


@pytest.fixture(scope="module", params=SHAPES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    with np.load(Path(__file__).parent / "references" / f"{request.param}.npz") as file:
        kept = dict(file)
    folder, seed, shape = tmp_path_factory.mktemp("parity"), int(kept["seed"]), SHAPES[request.param]
    checkpoint = make_checkpoint(folder / "checkpoint", shape, seed)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(checkpoint.glob("*.safetensors")))).hexdigest()
    # small blocks, so that these short contexts cross many of them
    export(checkpoint, folder / "bundle", decoder_bits=None, encoder_bits=None, table_bits=32, blocks=Blocks(8, 16))
    return Case(request.param, OnnxModel.open(folder / "bundle"), sound(seed, shape.samples), kept, digest)


def distance(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a, np.float64) - b).max())


def test_the_checkpoint_is_the_referenced_one(case: Case) -> None:
    assert case.digest == str(case.kept["weights"])


def test_text_logits(case: Case) -> None:
    for position, expected in zip((0, 9, 49), case.kept["text_logits"], strict=True):
        session = case.model.session(64)
        session.feed_ids(case.kept["text"][: position + 1].tolist())
        assert distance(session.logits(), expected) < LOGITS


def test_text_a_token_at_a_time(case: Case) -> None:
    session = case.model.session(64)
    for id_ in case.kept["text"].tolist():
        session.feed_ids([id_])
    assert distance(session.logits(), case.kept["text_logits"][-1]) < LOGITS


def test_mel(case: Case) -> None:
    mel = Mel(case.model.config.mel)
    frames = mel.frames(np.concatenate([np.zeros(mel.lead, np.float32), case.pcm]))
    expected = case.kept["mel"]
    assert distance(frames[: len(expected)], expected) < 1e-5
    assert -(-len(frames) // 4) == len(case.kept["soft"])


def test_soft_tokens(case: Case) -> None:
    hearing, soft = case.model.hearing, []
    clip = hearing.begin().heard(case.pcm)
    while (ahead := hearing.step(clip)) is not None:
        chunk, clip = ahead
        soft.append(chunk)
    if len(rest := hearing.finish(clip)):
        soft.append(rest)
    assert distance(np.concatenate(soft), case.kept["soft"]) < SOFT


def test_greedy_after_sound(case: Case) -> None:
    session = case.feed([1600])
    assert distance(session.logits(), case.kept["first"]) < LOGITS
    expected, ids = case.kept["greedy"].tolist(), list[int]()
    while len(ids) < len(expected):  # a stop token ends an answer, not the comparison
        ids += [token.id for token in session.decode(Sampling(max_tokens=len(expected) - len(ids)))]
    assert ids == expected
    assert distance(session.logits(), case.kept["last"]) < LOGITS


def test_any_split_of_the_sound_is_the_same_to_the_bit(case: Case) -> None:
    expected = case.feed([len(case.pcm)]).logits()
    random = np.random.default_rng(int(case.kept["seed"]))
    for sizes in ([160], [641, 7], [3000, 1, 640], random.integers(1, 4000, 50).tolist()):
        assert np.array_equal(case.feed(sizes).logits(), expected)


def test_cut_and_feed_again_is_never_having_fed_to_the_bit(case: Case) -> None:
    expected = case.feed([800])
    session = case.feed([800])
    for _ in session.decode(Sampling(max_tokens=20)):
        pass
    before = len(case.kept["before"])
    session.cut(before)
    session.begin_audio()
    for at in range(0, len(case.pcm), 800):
        session.feed_audio(case.pcm[at : at + 800])
    session.end_audio()
    session.feed_ids(case.kept["after"].tolist())
    assert np.array_equal(session.logits(), expected.logits())
