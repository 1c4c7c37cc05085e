"""With a drafter the answer is the same to the bit, however often it is right; what cannot work beside a model is refused."""

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from drafters import DRAFTERS, DrafterShape, drafter_config, drafter_tensors, make_drafter, target_of
from onnx import TensorProto, helper, numpy_helper
from shapes import make_checkpoint, sound, write_safetensors

from edge_assistant.cli import main
from edge_assistant.errors import BundleError, ContextFull
from edge_assistant.gemma4.bundle import MANIFEST, Bundle
from edge_assistant.gemma4.cache import Blocks, Cache
from edge_assistant.gemma4.export import export
from edge_assistant.runtime import Sampling, Token
from edge_assistant.runtimes import onnx as onnx_runtime
from edge_assistant.runtimes.drafting import Chosen, Drafter, Drafting, rows_alike
from edge_assistant.runtimes.engine import Decoder, Graph, Threads
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession
from edge_assistant.runtimes.opening import open_model
from edge_assistant.runtimes.prepared import prepare
from edge_assistant.runtimes.settings import Settings, Tuned, keep_tuned

BLOCKS = Blocks(16, 32)
PROMPT = np.random.default_rng(1).integers(24, 280, 21).tolist()
MOST = 3


Kind = tuple[int | None, int, int]
"""Bits of weights, block, bits of the cache."""


def make(folder: Path, shape: DrafterShape, seed: int, kind: Kind) -> Path:
    checkpoint = make_checkpoint(folder / "checkpoint", target_of(shape), seed)
    drafter = make_drafter(folder / "drafter", shape, seed + 1)
    bits, block, cache_bits = kind
    tables = 32 if bits is None else 8
    options: dict[str, Any] = {"decoder_bits": bits, "encoder_bits": bits, "block": block, "table_bits": tables}
    options["cache_bits"] = cache_bits
    export(checkpoint, folder / "bundle", blocks=BLOCKS, drafter=drafter, **options)
    return folder / "bundle"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("drafter")
    make(made, DRAFTERS["sorted"], 7, (4, 32, 8))
    return made


@pytest.fixture(scope="module")
def plain(folder: Path) -> OnnxModel:
    return OnnxModel.open(folder / "bundle")


@pytest.fixture(scope="module")
def drafted(folder: Path) -> OnnxModel:
    return OnnxModel.open(folder / "bundle", draft=MOST)


class Clever:
    """A drafter that is told what will be said, and is right in so many of a hundred cases."""

    def __init__(self, model: OnnxModel, right: int) -> None:
        self._model, self._right = model, right
        self._random = np.random.default_rng(right)
        self._said: list[int] = []
        self._at = (-1, 0)
        self.guesses = self.hits = 0
        self.sure = 1.0
        self.begun: dict[int, Any] = {}
        """States from which it began to guess, by what the cache held."""

    def hear(self, prompt: list[int], count: int) -> None:
        """Ask the model itself what it will say after a prompt."""
        session = self._model.session(512)
        session.feed_ids(prompt)
        self._said = [*prompt, *(token.id for token in say(session, count + MOST + 1))]

    def step(self, cache: Cache, embeds: Any, state: Any) -> Chosen:
        length, turn = self._at
        turn = turn + 1 if length == cache.length else 1
        self._at = (cache.length, turn)
        if turn == 1:
            self.begun[cache.length] = state
        place = cache.length + turn
        truth = self._said[place] if place < len(self._said) else 0
        hit = self._random.integers(100) < self._right
        self.guesses, self.hits = self.guesses + 1, self.hits + hit
        return Chosen(truth if hit else (truth + 1) % 280, self.sure, state)


def kernels_alike() -> bool:
    """This processor's products of 4 bits in blocks of 32 give a row the same bits in company: what a drafter rests on."""
    random, inputs, outputs = np.random.default_rng(0), 64, 96
    codes = random.integers(0, 256, (outputs, inputs // 32, 16), np.uint8)
    scales = random.standard_normal(outputs * inputs // 32, np.float32)
    constants = [numpy_helper.from_array(codes, "codes"), numpy_helper.from_array(scales, "scales")]
    sizes = {"K": inputs, "N": outputs, "bits": 4, "block_size": 32, "accuracy_level": 4}
    node = helper.make_node("MatMulNBits", ["x", "codes", "scales"], ["y"], domain="com.microsoft", **sizes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in ("x", "y")]
    graph = helper.make_graph([node], "rows", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    content = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    run = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run
    x = random.standard_normal((MOST + 1, inputs), np.float32)
    alone = np.concatenate([run(None, {"x": row[None]})[0] for row in x])
    return all(np.array_equal(run(None, {"x": x[:count]})[0], alone[:count]) for count in range(2, MOST + 2))


def drafting(model: OnnxModel) -> Drafting:
    if model.drafting is None and not kernels_alike():
        pytest.skip("this processor's products round otherwise with several rows")
    assert model.drafting is not None
    return model.drafting


def clever(model: OnnxModel, plain: OnnxModel, right: int, monkeypatch: pytest.MonkeyPatch) -> Clever:
    told = Clever(plain, right)
    monkeypatch.setattr(drafting(model), "_drafter", told)
    return told


def say(session: OnnxSession, count: int, burst: int = 1000) -> list[Token]:
    """So many tokens, in bursts of at most so many; a stop token ends an answer, not the comparison."""
    out: list[Token] = []
    while len(out) < count:
        out += session.decode(Sampling(max_tokens=min(burst, count - len(out))))
    return out


def said(tokens: list[Token]) -> list[tuple[int, float, bool]]:
    return [(token.id, token.probability, token.stop) for token in tokens]


def same(a: OnnxSession, b: OnnxSession) -> bool:
    """Ids, keys, values and what comes next, to the bit."""
    held = zip(*(itertools.chain(*map(session._cache.token, range(session.position))) for session in (a, b)), strict=True)
    return a._ids == b._ids and all(itertools.starmap(np.array_equal, held)) and np.array_equal(a.logits(), b.logits())


CASES = [
    *(
        (name, (4, 32, 8))
        for name in ("sorted", "two-key-heads", "keys-are-values", "odd-widths", "window-4", "window-beyond-context")
    ),
    *((name, (None, 32, 32)) for name in ("plain", "four-key-heads", "alternating", "sorted-e2b-pattern", "no-sharing")),
    *((name, (None, 32, 8)) for name in ("four-key-heads", "sorted-e2b-pattern", "no-sharing")),
    *(("sorted", (*kind, 32)) for kind in ((8, 32), (8, 64), (8, 128), (4, 16), (4, 32), (4, 64), (4, 128), (4, 256))),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_answer_is_the_same_to_the_bit(name: str, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every kind of weights, whatever the drafter guesses: its own, nonsense, half of it right, everything right."""
    bundle = make(tmp_path, DRAFTERS[name], 100 + len(name), kind)
    plain, model = OnnxModel.open(bundle), OnnxModel.open(bundle, draft=MOST)
    expected = plain.session(256)
    expected.feed_ids(PROMPT)
    answer = say(expected, 90)
    for right, burst in ((None, 1000), (0, 7), (60, 1000), (90, 13), (100, 1000)):
        if right is not None and model.drafting:
            clever(model, plain, right, monkeypatch).hear(PROMPT, 90)
        session = model.session(256)
        session.feed_ids(PROMPT)
        assert said(say(session, 90, burst)) == said(answer)
        assert same(session, expected)


def test_these_products_give_a_row_its_bits_in_any_company(drafted: OnnxModel) -> None:
    """What the drafter rests on, for the weights that `export` makes unless told otherwise. The others of `CASES` may differ."""
    assert drafting(drafted).most == MOST


def test_with_two_threads_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a product between them: not otherwise for more rows."""
    plain, drafted = (OnnxModel.open(folder / "bundle", threads=2, draft=draft) for draft in (0, MOST))
    clever(drafted, plain, 80, monkeypatch).hear(PROMPT, 60)
    sessions = [model.session(256) for model in (plain, drafted)]
    for session in sessions:
        session.feed_ids(PROMPT)
    assert said(say(sessions[0], 60)) == said(say(sessions[1], 60))
    assert same(*sessions)


@pytest.mark.parametrize(("bits", "near"), [(8, 0.03), (4, 0.25)])
@pytest.mark.parametrize("name", ["sorted-all-clusters", "untied"])
def test_quantised_it_says_nearly_the_same(name: str, bits: int, near: float, tmp_path: Path) -> None:
    """Over the same keys and from the same state; distance of logits as part of their size."""
    exact = OnnxModel.open(make(tmp_path / "exact", DRAFTERS[name], 5, (None, 32, 32)))
    rough = make(tmp_path / "rough", DRAFTERS[name], 5, (bits, 32, 32))
    session = exact.session(64)
    session.feed_ids(PROMPT)
    _, states = exact.decoder.upper_with_states(session._cache, session._row())
    told: list[np.ndarray] = []
    for bundle in (exact.bundle.folder, rough):
        config = exact.bundle.drafter
        assert config is not None
        drafter = Drafter(config, exact.config.text, bundle / "drafter.onnx", Threads())
        ids, logits, after = drafter.compare(session._cache, exact.embed([40])[0], states[0])
        told.append(np.concatenate([logits if ids is None else logits[np.argsort(ids)], after]))
    assert 0 < np.linalg.norm(told[1] - told[0]) / np.linalg.norm(told[0]) < near


def test_right_guesses_save_passes(drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    run = Decoder._add
    monkeypatch.setattr(
        Decoder, "_add", lambda self, cache, embeds, rows, **kind: passes.append(1) or run(self, cache, embeds, rows, **kind)
    )
    told = clever(drafted, plain, 100, monkeypatch)
    told.hear(PROMPT, 60)
    counts: list[int] = []
    for model in (plain, drafted):
        session = model.session(256)
        session.feed_ids(PROMPT)
        passes.clear()
        say(session, 60)
        counts.append(len(passes))
    assert counts[0] == 60
    # fewer than four at once only near the ends of blocks
    assert 60 / (MOST + 1) <= counts[1] <= 60 / (MOST + 1) + 2 * 60 / BLOCKS.sliding + 2
    assert told.hits == told.guesses > 30


def test_it_guesses_from_what_chose_the_token(drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the state of another row of the pass, which would only be right less often."""
    told = clever(drafted, plain, 60, monkeypatch)
    told.hear(PROMPT, 40)
    session = drafted.session(256)
    session.feed_ids(PROMPT)
    say(session, 40)
    assert len(told.begun) > 10
    for length, state in told.begun.items():
        alone = plain.session(256)
        alone.feed_ids(PROMPT)
        say(alone, length - len(PROMPT))
        assert np.array_equal(plain.decoder.upper_with_states(alone._cache, alone._row())[1][0], state)


def test_what_is_not_likely_enough_is_not_checked(drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two guesses that are right in seven of ten cases are both right in half of them, three in a third."""
    told = clever(drafted, plain, 100, monkeypatch)
    checked: list[int] = []
    run = Decoder.lower_apart
    monkeypatch.setattr(
        Decoder, "lower_apart", lambda self, cache, *rows: checked.append(len(rows[0])) or run(self, cache, *rows)
    )
    for sure, most in ((0.7, 3), (0.6, 2), (0.3, 0)):
        told.hear(PROMPT, 40)
        told.sure = sure
        checked.clear()
        session = drafted.session(256)
        session.feed_ids(PROMPT)
        say(session, 40)
        assert max(checked, default=0) == most


@pytest.mark.parametrize("left", [1, 2, 3, 4, 5, 11])
def test_it_may_be_left_at_any_token(left: int, drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    clever(drafted, plain, 80, monkeypatch).hear(PROMPT, 40)
    sessions: list[OnnxSession] = []
    for model in (plain, drafted):
        session = model.session(256)
        session.feed_ids(PROMPT)
        answer = session.decode(Sampling(max_tokens=200))
        for _ in itertools.islice(answer, left):
            pass
        answer.close()  # type: ignore[attr-defined]
        sessions.append(session)
    assert same(*sessions)
    for session in sessions:
        session.feed_ids([30, 31, 32, 33, 34])
        say(session, 9)
    assert same(*sessions)


CHANGES: dict[str, Callable[[OnnxSession], object]] = {
    "cut": lambda session: session.cut(len(PROMPT) + 1),
    "cut to the end": lambda session: session.cut(session.position),
    "fed": lambda session: session.feed_ids([40, 41]),
    "shed": lambda session: session.shed(),
    "asked for logits": lambda session: session.logits(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_known_ahead_is_forgotten_when_the_cache_changes(
    change: str, drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two tokens of one answer, too."""
    clever(drafted, plain, 100, monkeypatch).hear(PROMPT, 60)
    sessions: list[OnnxSession] = []
    answers: list[list[tuple[int, float, bool]]] = []
    for model in (plain, drafted):
        session = model.session(256)
        session.feed_ids(PROMPT)
        answer: Iterator[Token] = session.decode(Sampling(max_tokens=30))
        first = list(itertools.islice(answer, 3))
        CHANGES[change](session)
        answers.append(said([*first, *answer]))
        sessions.append(session)
    assert answers[0] == answers[1]
    assert same(*sessions)


def test_a_prefix_takes_the_place_of_what_was_known(
    drafted: OnnxModel, plain: OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clever(drafted, plain, 100, monkeypatch).hear(PROMPT, 60)
    kept = plain.session(256)
    kept.feed_ids(PROMPT[:9])
    kept.save_prefix(tmp_path / "prefix")
    session = drafted.session(256)
    session.feed_ids(PROMPT)
    for _ in itertools.islice(session.decode(Sampling()), 2):
        pass
    assert session.load_prefix(tmp_path / "prefix")
    assert said(say(session, 20)) == said(say(kept, 20))
    assert same(session, kept)


def test_after_sound_it_answers_the_same(drafted: OnnxModel, plain: OnnxModel) -> None:
    sessions = [model.session(256) for model in (plain, drafted)]
    for session in sessions:
        session.feed_text("<bos><|turn>user\n")
        session.begin_audio()
        session.feed_audio(sound(5, 9_000))
        session.end_audio()
        session.feed_text("<turn|>\n<|turn>model\n")
    assert said(say(sessions[0], 40)) == said(say(sessions[1], 40))
    assert same(*sessions)


def test_a_full_cache_is_full_at_the_same_token(drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    clever(drafted, plain, 100, monkeypatch).hear(PROMPT, 60)
    sessions = [model.session(len(PROMPT) + 17) for model in (plain, drafted)]
    for session in sessions:
        session.feed_ids(PROMPT)
        with pytest.raises(ContextFull):
            say(session, 60)
    assert sessions[0].position == sessions[0].capacity
    assert same(*sessions)


def test_a_fault_in_a_pass_leaves_the_cache_as_it_was(
    drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    clever(drafted, plain, 100, monkeypatch).hear(PROMPT, 60)
    session, expected = drafted.session(256), plain.session(256)
    for each in (session, expected):
        each.feed_ids(PROMPT)
    run = Decoder.upper_with_states

    def broken(self: Decoder, cache: Cache, rows: Any) -> Any:
        if rows.hidden.shape[1] > 1:
            raise BundleError("the model's numbers are not finite")
        return run(self, cache, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "upper_with_states", broken)
        with pytest.raises(BundleError):
            say(session, 20)
    assert session.position == len(session._ids)
    assert said(say(session, 20)) == said(say(expected, 20))
    assert same(session, expected)


def test_chance_leaves_the_drafter_alone(drafted: OnnxModel, plain: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    told = clever(drafted, plain, 100, monkeypatch)
    told.hear(PROMPT, 60)
    sampling = Sampling(temperature=0.8, top_k=20, seed=3, max_tokens=30)
    answers: list[list[tuple[int, float, bool]]] = []
    for model in (plain, drafted):
        session = model.session(256)
        session.feed_ids(PROMPT)
        answers.append(said(list(session.decode(sampling))))
    assert answers[0] == answers[1]
    assert not told.guesses


def test_the_drafter_reads_the_cache_where_it_lies(drafted: OnnxModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = drafted.session(256)
    session.feed_ids(PROMPT)
    seen: list[bool] = []
    run = Graph.run

    def watched(self: Graph, inputs: Any, outputs: Any) -> None:
        if "next_state" in outputs:
            arrays = [part.array for parts in session._cache.parts for part in parts]
            read = [array for name, array in inputs.items() if name.startswith(("key.", "value."))]
            seen.extend(any(np.shares_memory(array, held) for held in arrays) for array in read)
        run(self, inputs, outputs)

    monkeypatch.setattr(Graph, "run", watched)
    say(session, 10)
    assert len(seen) >= 4
    assert all(seen)


@pytest.mark.parametrize("what", ["hidden", "logits", "keys", "coded keys", "scales"])
def test_a_product_that_rounds_otherwise_in_company_is_found(
    what: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The least that a number can be off, in one number, from the third row on."""
    lower, upper = Decoder.lower_apart, Decoder.upper_with_states

    def off(array: Any) -> None:
        array.flat[3] = np.nextafter(array.flat[3], np.float32(9))

    def lower_apart(self: Decoder, cache: Cache, embeds: Any, rows: Any) -> Any:
        out = lower(self, cache, embeds, rows)
        if len(embeds) >= 3 and what == "hidden":
            off(out.hidden[0, 2])
        token = cache.token(cache.length - 1)
        if len(embeds) >= 3 and what == "keys":
            off(token[0])
        if len(embeds) >= 3 and what == "coded keys":
            codes = next(array for array in token if array.dtype == np.int8)
            codes[0, 3] ^= 1
        if len(embeds) >= 3 and what == "scales":
            scale = next(array for array in token if array.shape[1] == 1)
            scale[:] = np.nextafter(scale, np.float32(9))
        return out

    def upper_with_states(self: Decoder, cache: Cache, rows: Any) -> Any:
        logits, states = upper(self, cache, rows)
        if len(logits) >= 3 and what == "logits":
            off(logits[2])
        return logits, states

    monkeypatch.setattr(Decoder, "lower_apart", lower_apart)
    monkeypatch.setattr(Decoder, "upper_with_states", upper_with_states)
    with caplog.at_level(logging.WARNING):
        assert drafting(OnnxModel.open(folder / "bundle", draft=MOST)).most == 1
    assert "with 3 rows at once" in caplog.text


def test_where_no_two_rows_are_alike_nothing_is_drafted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnx_runtime, "rows_alike", lambda *_: 1)
    assert OnnxModel.open(folder / "bundle", draft=MOST).drafting is None
    assert "tokens drafted: 0" in caplog.text


def test_rows_that_are_no_whole_vectors_are_not_tried(plain: OnnxModel) -> None:
    config = plain.config.text
    assert rows_alike(plain.decoder, config, BLOCKS, 4, 8) == 4
    assert rows_alike(plain.decoder, replace(config, vocab=config.vocab + 8), BLOCKS, 4, 8) == 1


def test_rows_share_a_run_where_each_alone_would_see_the_same_blocks(plain: OnnxModel) -> None:
    """Against the views themselves, at every length."""
    cache = Cache(plain.config.text, BLOCKS, 128)

    def views(length: int) -> list[tuple[int, int]]:
        cache.cut(length)
        before = [cache.view(kind, length) for kind in ("sliding", "full")]
        cache.cut(length + 1)
        after = [cache.view(kind, length) for kind in ("sliding", "full")]
        return [(view.begin, view.end) for view in (*before, *after)]

    for length in range(1, 120):
        cache.cut(length)
        count = cache.apart(5)
        alike = [views(length + i) == views(length) for i in range(5)]
        own = [(length + i) % BLOCKS.sliding > 0 and (length + i) % BLOCKS.full > 0 for i in range(5)]
        whole = next((i for i in range(5) if not (alike[i] and (own[i] or i))), 5)
        cache.cut(length)
        assert count == max(1, whole) or (count < whole and (length + count) % BLOCKS.sliding == 0), length


def test_a_bundle_without_a_drafter_is_as_before(bundle: Path, folder: Path) -> None:
    values = json.loads((bundle / MANIFEST).read_text())
    assert values["format"] == 1
    assert "drafter" not in values
    assert Bundle.open(bundle).drafter is None
    assert OnnxModel.open(bundle, draft=2).drafting is None
    with_drafter = json.loads((folder / "bundle" / MANIFEST).read_text())
    assert with_drafter["format"] == 3
    assert {"drafter.onnx", "drafter.bin"} < set(with_drafter["files"])


def test_an_altered_drafter_is_found(folder: Path, tmp_path: Path) -> None:
    make(tmp_path, DRAFTERS["plain"], 9, (8, 32, 32))
    assert json.loads((tmp_path / "bundle" / MANIFEST).read_text())["format"] == 2
    path = tmp_path / "bundle" / "drafter.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"drafter\.bin was altered"):
        OnnxModel.open(tmp_path / "bundle")


def test_packed_weights_change_no_bit(folder: Path, drafted: OnnxModel, tmp_path: Path) -> None:
    prepare(folder / "bundle", tmp_path / "packed")
    assert (tmp_path / "packed" / "drafter.onnx").is_file()
    packed = OnnxModel.open(folder / "bundle", draft=MOST, prepared=tmp_path / "packed")
    sessions = [model.session(256) for model in (drafted, packed)]
    for session in sessions:
        session.feed_ids(PROMPT)
    assert said(say(sessions[0], 40)) == said(say(sessions[1], 40))
    assert same(*sessions)


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another type": (lambda model: model.update(model_type="gemma4"), "model type 'gemma4'"),
    "another width": (lambda model: model.update(backbone_hidden_size=72), "width 72, and this one has 64"),
    "another vocabulary": (lambda model: model["text_config"].update(vocab_size=320), "knows 320 tokens, and the model 288"),
    "other heads": (lambda model: model["text_config"].update(head_dim=32), "1 key heads of 32 in sliding layers"),
    "more key heads": (lambda model: model["text_config"].update(num_key_value_heads=2), "2 key heads of"),
    "own keys": (lambda model: model["text_config"].update(num_kv_shared_layers=2), "2 layers with keys of their own"),
    "per-layer embeddings": (lambda model: model["text_config"].update(hidden_size_per_layer_input=16), "per-layer embeddings"),
    "uneven clusters": (lambda model: model.update(num_centroids=25), "25 clusters, which cannot share 288 tokens"),
    "too many clusters": (lambda model: model.update(centroid_intermediate_top_k=25), "25 of 24 clusters"),
    "no text": (lambda model: model.pop("text_config"), "no 'text_config'"),
    "other weights": (lambda model: model["text_config"].update(hidden_size=16), "has shape [32], not [16] as config.json says"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_beside_the_model_is_refused(
    what: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alter, words = REFUSED[what]
    drafter = make_drafter(tmp_path / "drafter", DRAFTERS["sorted"], 1)
    model = drafter_config(DRAFTERS["sorted"])
    alter(model)
    (drafter / "config.json").write_text(json.dumps(model))
    assert main(["export", str(checkpoint), str(tmp_path / "bundle"), "--drafter", str(drafter)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert "; " in lines[0] or what == "other weights"
    assert [path.name for path in tmp_path.iterdir()] == ["drafter"]


def test_tokens_that_lie_nowhere_are_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drafter = make_drafter(tmp_path / "drafter", DRAFTERS["sorted"], 1)
    tensors = dict(drafter_tensors(DRAFTERS["sorted"], 1))
    tensors["masked_embedding.token_ordering"][5] = tensors["masked_embedding.token_ordering"][6]
    write_safetensors(drafter / "model.safetensors", list(tensors.items()), "F32")
    assert main(["export", str(checkpoint), str(tmp_path / "bundle"), "--drafter", str(drafter)]) == 2
    assert "does not name each of its 288 tokens once" in capsys.readouterr().err


def test_what_was_measured_here_decides(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert open_model(folder / "bundle").drafting is None
    keep_tuned(Bundle.open(folder / "bundle").identity, Tuned(Settings(draft=2), 0.5, 1.0))
    assert drafting(open_model(folder / "bundle")).most == 2
    assert str(Settings(draft=2)).endswith(", 2 tokens drafted")


def test_there_is_no_drafter_of_more_than_so_many(folder: Path) -> None:
    with pytest.raises(ValueError, match="from 0 to 8"):
        OnnxModel.open(folder / "bundle", draft=9)
