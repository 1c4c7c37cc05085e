import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import sound

from edge_assistant.cli import main
from edge_assistant.errors import BundleError, ContextFull
from edge_assistant.gemma4.bundle import MANIFEST, FileEntry, seal, sha256
from edge_assistant.gemma4.export import export
from edge_assistant.runtime import Prompting, Sampling, Session, Token
from edge_assistant.runtimes.onnx import OnnxModel, OnnxSession
from edge_assistant.runtimes.sampling import choose

PCM = sound(5, 16_000)
GREEDY = Sampling(max_tokens=12)
TAIL = "<turn|>\n<|turn>model\n"


def start(session: OnnxSession) -> OnnxSession:
    session.feed_text("<bos><|turn>user\n")
    session.begin_audio()
    return session


def answer(session: OnnxSession, sampling: Sampling = GREEDY) -> list[Token]:
    return list(session.decode(sampling))


def keys_of(session: OnnxSession) -> list[np.ndarray]:
    """Every key and value held, whatever lies beyond the end."""
    held, n = [], session.position
    for part in itertools.chain(*session._cache.parts):
        held.append(np.concatenate([part.tokens(i) for i in range(len(part.array))], axis=1)[:, :n].copy())
    return held


def near(model: OnnxModel, floats: float = 5e-3) -> float:
    """How far logits may be off where products round otherwise. With 8 bits, what lies between two codes may become either."""
    return floats if model.bundle.manifest.quantisation.cache_bits == 32 else 0.1


def same(a: OnnxSession, b: OnnxSession) -> bool:
    return a.position == b.position and all(map(np.array_equal, keys_of(a), keys_of(b)))


def test_it_keeps_the_contract(session: OnnxSession) -> None:
    kept: Session = session
    assert kept.prompting == Prompting()
    assert (kept.position, kept.capacity) == (0, 512)


def test_the_guess_is_taken_back_when_speech_resumes(model: OnnxModel) -> None:
    """Silence, a guess at the answer, then more speech: as if nobody had guessed."""
    patient, hasty = start(model.session(512)), start(model.session(512))
    hasty.feed_audio(PCM[:9_000])
    mark = hasty.position
    hasty.end_audio()
    hasty.feed_text(TAIL)
    guessed = list(itertools.islice(hasty.decode(GREEDY), 3))
    assert len(guessed) == 3
    hasty.cut(mark)
    hasty.feed_audio(PCM[9_000:])
    hasty.end_audio()
    hasty.feed_text(TAIL)
    patient.feed_audio(PCM)
    patient.end_audio()
    patient.feed_text(TAIL)
    assert same(patient, hasty)
    assert answer(patient) == answer(hasty)


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.integers(1, 4000), min_size=1, max_size=10), junk=st.integers(1, 9000), data=st.data())
def test_cutting_inside_a_clip_forgets_what_came_after_the_look(
    model: OnnxModel, pieces: list[int], junk: int, data: st.DataObject
) -> None:
    plain, wavering = start(model.session(512)), start(model.session(512))
    at = 0
    turn = data.draw(st.integers(0, len(pieces) - 1))
    for i, size in enumerate(pieces):
        piece = PCM[at : at + size]
        at += size
        plain.feed_audio(piece)
        if i == turn:
            mark = wavering.position
            wavering.feed_audio(-PCM[:junk])
            wavering.cut(mark)
        wavering.feed_audio(piece)
    for session in (plain, wavering):
        session.end_audio()
        session.feed_text(TAIL)
    assert same(plain, wavering)
    assert np.array_equal(plain.logits(), wavering.logits())


def test_cut_and_answer_again_is_the_same_to_the_bit(session: OnnxSession) -> None:
    session.feed_text("<bos><|turn>user\nwhat time is it" + TAIL)
    mark = session.position
    first = answer(session)
    session.cut(mark)
    assert answer(session) == first
    session.cut(mark + 4)
    assert answer(session, Sampling(max_tokens=8)) == first[4:]


def test_a_closed_clip_opens_again_at_either_end(model: OnnxModel) -> None:
    session = start(model.session(512))
    begin = session.position
    session.feed_audio(PCM[:5_000])
    session.end_audio()
    session.feed_text(TAIL)
    session.cut(begin)
    session.feed_audio(PCM)
    session.end_audio()
    again = start(model.session(512))
    again.feed_audio(PCM)
    again.end_audio()
    assert same(session, again)
    session.cut(begin - 1)
    session.feed_text("no sound after all")


def test_a_turn_moves_to_an_earlier_place_as_if_it_had_always_been_there(model: OnnxModel) -> None:
    def turn(session: OnnxSession, text: str, begin: int, end: int) -> tuple[int, int]:
        place = session.position
        session.feed_text(f"<|turn>user\n{text}")
        session.begin_audio()
        session.feed_audio(PCM[begin:end])
        session.end_audio()
        session.feed_text("<turn|>\n<|turn>model\n")
        return place, session.position

    moved, plain = model.session(512), model.session(512)
    for session in (moved, plain):
        session.feed_text("<bos>")
    begin, _ = turn(moved, "first", 0, 9_000)
    kept = [moved.copy(*turn(moved, text, *sound)) for text, sound in (("next", (3_000, 20_000)), ("last", (0, 5_000)))]
    assert [len(stretch) for stretch in kept] == [turn(plain, "next", 3_000, 20_000)[1] - 1, len(kept[1])]
    turn(plain, "last", 0, 5_000)
    moved.cut(begin)
    for stretch in kept:
        moved.paste(stretch)
    assert moved.position == plain.position
    for a, b in zip(keys_of(moved), keys_of(plain), strict=True):
        most = 2 if a.dtype == np.int8 else near(model, 1e-5)
        assert np.allclose(a.astype(np.float32), b, rtol=1e-5, atol=most)
    assert [token.id for token in answer(moved)] == [token.id for token in answer(plain)]
    with pytest.raises(ValueError, match="in part"):  # it still knows where the clips lie
        moved.copy(begin, begin + 20)
    copied = moved.copy(begin, moved.position)  # what was pasted can be copied again
    moved.cut(begin)
    moved.paste(copied)
    assert moved.position == plain.position
    assert np.allclose(moved.logits(), plain.logits(), atol=near(model, 1e-4))


def test_a_clip_is_copied_whole_or_not_at_all(model: OnnxModel) -> None:
    session = start(model.session(512))
    inside = session.position
    with pytest.raises(ValueError, match="in part"):
        session.copy(0, inside)
    session.feed_audio(PCM)
    session.end_audio()
    with pytest.raises(ValueError, match="in part"):
        session.copy(inside, session.position)


def test_nothing_of_a_forgotten_branch_comes_back(session: OnnxSession) -> None:
    session.feed_text("<bos>hello" + TAIL)
    mark = session.position
    session.feed_text("xyz")
    session.cut(mark)
    first = answer(session)
    session.cut(mark + 3)  # where the forgotten text ended
    again = answer(session, Sampling(max_tokens=9))
    assert [(token.id, token.probability) for token in again] == [(token.id, token.probability) for token in first[3:]]


def test_many_looks_forget_old_places_but_not_the_beginning(model: OnnxModel) -> None:
    session = start(model.session(512))
    begin = session.position
    places = []
    for at in range(0, 3 * 32_000, 2_560):
        session.feed_audio(np.resize(PCM, 32_000 * 3)[at : at + 2_560])
        places.append(session.position)
    assert len(set(places)) > 33
    session.cut(places[-20])
    with pytest.raises(ValueError, match="nobody stood there"):
        session.cut(places[1])
    session.cut(begin)
    session.feed_audio(PCM)
    session.end_audio()
    fresh = start(model.session(512))
    fresh.feed_audio(PCM)
    fresh.end_audio()
    assert same(session, fresh)


def test_it_cannot_be_cut_inside_a_clip_where_nobody_stood(model: OnnxModel) -> None:
    session = start(model.session(512))
    begin = session.position
    session.feed_audio(PCM)
    with pytest.raises(ValueError, match="nobody stood there"):
        session.cut(begin + 1)
    session.end_audio()
    with pytest.raises(ValueError, match="nobody stood there"):
        session.cut(begin + 1)


def test_a_deep_cut_is_exact(model: OnnxModel) -> None:
    """Far beyond the window of the sliding layers."""
    plain, long = model.session(512), model.session(512)
    for session in (plain, long):
        session.feed_text("<bos>" + "a prefix that stays " * 3)
    mark = long.position
    long.feed_text("something else entirely, " * 15)
    answer(long)
    long.cut(mark)
    for session in (plain, long):
        session.feed_text(TAIL)
    assert same(plain, long)
    assert answer(plain) == answer(long)


def test_prefill_in_pieces_of_any_size_agrees(model: OnnxModel) -> None:
    whole, pieces = model.session(512), model.session(512)
    ids = whole.encode("<bos>" + "some rather long text, " * 12)
    whole.feed_ids(ids)
    for begin in range(0, len(ids), 7):
        pieces.feed_ids(ids[begin : begin + 7])
    assert np.abs(whole.logits() - pieces.logits()).max() < near(model)
    assert [t.id for t in answer(whole)] == [t.id for t in answer(pieces)]


def test_decoding_can_be_left_at_any_token(model: OnnxModel) -> None:
    whole = model.session(512)
    whole.feed_text("<bos>" + TAIL)
    expected = answer(whole)
    for count in range(1, 6):
        left = model.session(512)
        left.feed_text("<bos>" + TAIL)
        before = left.position
        tokens = left.decode(GREEDY)
        got = [next(tokens) for _ in range(count)]
        tokens.close()  # type: ignore[attr-defined]
        assert left.position == before + count
        assert got + answer(left, Sampling(max_tokens=12 - count)) == expected


def test_the_pieces_of_an_answer_are_its_text(session: OnnxSession) -> None:
    session.feed_text("<bos>" + TAIL)
    tokens = answer(session, Sampling(max_tokens=40))
    text = session._model.tokens.decode([token.id for token in tokens])
    joined = "".join(token.text for token in tokens)
    assert text.startswith(joined)
    assert all(0 < token.probability <= 1 for token in tokens)


def test_a_stop_token_ends_the_answer_and_is_in_the_cache(session: OnnxSession) -> None:
    session.feed_text("<bos>" + TAIL)
    stops = session._model.tokens.control.stops
    for seed in range(200):
        mark = session.position
        tokens = answer(session, Sampling(temperature=4.0, seed=seed, max_tokens=40))
        assert session.position == mark + len(tokens)
        assert not any(token.stop for token in tokens[:-1])
        if tokens[-1].stop:
            assert tokens[-1].id in stops
            return
        session.cut(mark)
    pytest.fail("no answer ended")


def test_sampling_is_repeatable_and_bounded() -> None:
    logits = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    best = int(logits.argmax())

    def many(**how: float) -> set[int]:
        random = np.random.default_rng(1)
        return {choose(logits, Sampling(**how), random)[0] for _ in range(400)}  # type: ignore[arg-type]

    assert many() == {best}
    assert many(temperature=1.0, top_k=1) == {best}
    assert many(temperature=1.0, top_p=1e-6) == {best}
    assert many(temperature=1.0, top_k=3) == set(np.argsort(-logits)[:3].tolist())
    assert len(many(temperature=2.0)) > 30
    p = np.exp(logits) / np.exp(logits).sum()
    kept = np.argsort(-p)[: int(np.searchsorted(np.cumsum(np.sort(p)[::-1]), 0.5)) + 1]
    assert many(temperature=1.0, top_p=0.5) == set(kept.tolist())
    assert choose(logits, Sampling(temperature=3.0, top_k=1), np.random.default_rng(0))[1] == pytest.approx(p[best], rel=1e-5)


def test_a_full_context_says_so_and_changes_nothing(model: OnnxModel) -> None:
    session = model.session(24)
    session.feed_text("<bos>0123456789")
    with pytest.raises(ContextFull, match="14 more do not fit"):
        session.feed_ids([30] * 14)
    assert session.position == 11
    session.begin_audio()
    with pytest.raises(ContextFull):
        session.feed_audio(PCM)
    assert session.position == 24
    with pytest.raises(ContextFull):
        session.end_audio()
    session.cut(11)
    session.feed_ids([30] * 12)
    tokens = session.decode(GREEDY)
    next(tokens)
    with pytest.raises(ContextFull):
        next(tokens)


def test_a_clip_too_short_for_a_token_is_nothing(model: OnnxModel) -> None:
    for samples in (0, 100, 160):
        session = start(model.session(64))
        before = session.position
        session.feed_audio(PCM[:samples])
        session.end_audio()
        assert session.position == before + 1


def test_misuse_is_an_error_that_names_it(session: OnnxSession) -> None:
    with pytest.raises(ValueError, match="nothing to answer"):
        session.decode(GREEDY)
    with pytest.raises(ValueError, match="no clip is open"):
        session.feed_audio(PCM)
    with pytest.raises(ValueError, match="no clip is open"):
        session.end_audio()
    with pytest.raises(ValueError, match="token ids"):
        session.feed_ids([100_000])
    session.begin_audio()
    for call in (session.begin_audio, lambda: session.feed_text("x"), lambda: session.decode(GREEDY)):
        with pytest.raises(ValueError, match="a clip is open"):
            call()
    with pytest.raises(ValueError, match="cannot cut to 99"):
        session.cut(99)


def test_a_prefix_comes_back_to_the_bit(model: OnnxModel, tmp_path: Path) -> None:
    first, second = model.session(512), model.session(300)
    first.feed_text("<bos><|turn>system\nbe brief" + "and kind " * 5 + "<turn|>\n")
    first.save_prefix(tmp_path / "prefix")
    assert not list(tmp_path.glob(".*"))
    second.feed_text("rubbish that goes away")
    assert second.load_prefix(tmp_path / "prefix")
    assert same(first, second)
    for session in (first, second):
        session.begin_audio()
        session.feed_audio(PCM)
        session.end_audio()
    assert same(first, second)
    assert answer(first) == answer(second)


def test_a_prefix_of_something_else_is_not_taken(model: OnnxModel, checkpoint: Path, tmp_path: Path) -> None:
    session = model.session(512)
    session.feed_text("<bos>hello there")
    session.save_prefix(tmp_path / "prefix")
    export(checkpoint, tmp_path / "other")
    fresh = model.session(512)
    fresh.feed_text("kept")
    assert not OnnxModel.open(tmp_path / "other").session(512).load_prefix(tmp_path / "prefix")
    assert not fresh.load_prefix(tmp_path / "absent")
    assert not model.session(8).load_prefix(tmp_path / "prefix")
    content = (tmp_path / "prefix").read_bytes()
    half = len(content) // 2
    for broken in (b"", content[:half], b"not a zip at all", content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]):
        (tmp_path / "prefix").write_bytes(broken)
        assert not fresh.load_prefix(tmp_path / "prefix")
    assert fresh.position == 4


def test_a_prefix_is_text(session: OnnxSession, tmp_path: Path) -> None:
    start(session)
    with pytest.raises(ValueError, match="cannot hold sound"):
        session.save_prefix(tmp_path / "prefix")


@pytest.mark.parametrize("chunk", [4, 5, 12, 25])
def test_larger_chunks_say_the_same(model: OnnxModel, chunk: int) -> None:
    expected, other = start(model.session(512)), start(OnnxModel.open(model.bundle.folder, chunk=chunk).session(512))
    for session in (expected, other):
        session.feed_audio(PCM)
        session.end_audio()
    assert np.abs(expected.logits() - other.logits()).max() < near(model)


@pytest.mark.parametrize("how", [{"threads": 2}, {"threads": 2, "spin": True}])
def test_threads_change_nothing(model: OnnxModel, how: dict[str, bool]) -> None:
    expected, other = model.session(64), OnnxModel.open(model.bundle.folder, **how).session(64)  # type: ignore[arg-type]
    for session in (expected, other):
        session.feed_text("<bos>hello there, " + TAIL)
    assert np.abs(expected.logits() - other.logits()).max() < near(model)


@pytest.mark.parametrize(("bits", "cache_bits"), [(8, 32), (8, 8), (4, 32), (4, 8)])
def test_quantised_bundles_hear_and_answer(checkpoint: Path, tmp_path: Path, bits: int, cache_bits: int) -> None:
    export(checkpoint, tmp_path / "b", decoder_bits=bits, table_bits=bits, cache_bits=cache_bits)
    model = OnnxModel.open(tmp_path / "b", threads=2, spin=True)
    sessions = [start(model.session(512)) for _ in range(2)]
    for session, size in zip(sessions, (16_000, 777), strict=True):
        for at in range(0, len(PCM), size):
            session.feed_audio(PCM[at : at + size])
        session.end_audio()
        session.feed_text(TAIL)
    assert np.array_equal(sessions[0].logits(), sessions[1].logits())
    assert answer(sessions[0]) == answer(sessions[1])


@pytest.fixture
def damaged(checkpoint: Path, tmp_path: Path) -> Path:
    """A bundle with one scale that is NaN, and hashes that know it so."""
    bundle = export(checkpoint, tmp_path / "damaged", prompting=Prompting(system=False))
    name, file = "model.language_model.layers.5.mlp.down_proj.weight.scales", bundle.path("upper.bin")
    graph = onnx.load(bundle.path("upper.onnx"), load_external_data=False).graph
    place = {entry.key: entry.value for entry in next(one for one in graph.initializer if one.name == name).external_data}
    with file.open("r+b") as out:
        out.seek(int(place["offset"]))
        out.write(np.array(np.nan, np.float32).tobytes())
    files = bundle.manifest.files | {file.name: FileEntry(file.stat().st_size, sha256(file))}
    bundle.path(MANIFEST).write_text(replace(bundle.manifest, files=files).to_json())
    seal(bundle.folder)
    return bundle.folder


def test_numbers_that_are_not_finite_are_no_answer(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = OnnxModel.open(damaged).session(64)
    session.feed_text("<bos>hello there, " + TAIL)
    with pytest.raises(BundleError, match="not finite"):
        answer(session)
    with pytest.raises(BundleError, match="not finite"):
        answer(session, Sampling(max_tokens=2, temperature=0.7))


@pytest.mark.parametrize("pace", ["fast", "realtime"])
def test_asked_a_model_of_such_numbers_says_so(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    demo = Path(__file__).parents[2] / "assets" / "demo" / "timer.wav"
    assert main(["ask", str(demo), "--model", str(damaged), "--pace", pace, "--say", str(tmp_path / "said.wav"), "--quiet"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "not finite" in lines[0]
    assert "models verify" in lines[0]


def test_a_graph_that_onnxruntime_refuses(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "b")
    (tmp_path / "b" / "lower.onnx").write_bytes(b"nonsense")
    from edge_assistant.runtimes.engine import Threads, open_graph

    with pytest.raises(BundleError, match="cannot be opened"):
        open_graph(tmp_path / "b" / "lower.onnx", Threads())
