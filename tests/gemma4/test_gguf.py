"""A GGUF pair and the bundle made of it are the same model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx
import pytest
from gguf_pairs import KINDS, SHAPE, TEMPLATE, Pair, audio_name, make_pair, text_name, tokenizer
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from shapes import SHAPES, Shape, sound, tensors

from edge_assistant.cli import main
from edge_assistant.errors import CheckpointError, EdgeAssistantError, UsageError
from edge_assistant.gemma4.bundle import Bundle
from edge_assistant.gemma4.cache import Blocks
from edge_assistant.gemma4.checkpoint import Checkpoint
from edge_assistant.gemma4.config import Config
from edge_assistant.gemma4.decoder import EMBEDDING, PLE
from edge_assistant.gemma4.export import export
from edge_assistant.gemma4.ggml import QUANTISED, quantised
from edge_assistant.gemma4.gguf import opened
from edge_assistant.gemma4.quantise import restore
from edge_assistant.gemma4.tables import Table
from edge_assistant.gemma4.tokens import Tokens
from edge_assistant.runtime import Sampling
from edge_assistant.runtimes.onnx import OnnxModel


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="module")
def bundle(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(pair.decoder, tmp_path_factory.mktemp("gguf") / "bundle", blocks=Blocks(8, 16))


@pytest.fixture
def copy(pair: Pair, tmp_path: Path) -> Path:
    """The decoder's file in a folder of its own, its projector beside it."""
    return Path(shutil.copytree(pair.decoder.parent, tmp_path / "files")) / pair.decoder.name


@given(st.sampled_from(sorted(QUANTISED)), st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_any_blocks_are_repacked_to_the_bit(kind: str, seed: int, rows: int, across: int) -> None:
    """Every code and every scale that a file can hold, but for infinite ones."""
    random, form = np.random.default_rng(seed), QUANTISED[kind]
    raw = random.integers(0, 256, (rows, across, form.bytes), np.uint8)
    scale = slice(208, 210) if kind == "Q6_K" else slice(0, 2)
    raw[..., scale] = random.uniform(-65504, 65504, (rows, across, 1)).astype(np.float16).view(np.uint8)
    expected = gguf.dequantize(raw.reshape(rows, -1), gguf.GGMLQuantizationType[kind])
    found = quantised(raw.reshape(rows, -1), kind)
    assert found.shape == expected.shape
    assert np.array_equal(found.restored(slice(0, rows)), expected)
    if kind != "Q6_K":  # whose scales are products
        assert np.array_equal(found.part(slice(0, rows))[1].astype(np.float16).view(np.uint8), raw[..., scale].reshape(rows, -1))


def matrices(bundle: Bundle, graph: str) -> dict[str, Any]:
    """What each matrix of a graph computes with, by its name in the checkpoint; of one cut in parts the parts."""
    model = onnx.load(bundle.path(f"{graph}.onnx"))
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    out: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            wish = {attribute.name: attribute.i for attribute in node.attribute}
            assert 1 << wish["bits"] - 1 in (8, 128)  # the zero of a node without zero points
            codes, scales = arrays[node.input[1]], arrays[node.input[2]]
            assert codes.shape[-1] * 8 // wish["bits"] == wish["block_size"]
            values = restore(codes, scales.reshape(codes.shape[:2]), wish["bits"], wish["K"])
            out[node.input[1].removesuffix(".codes")] = values
        elif node.op_type == "MatMul" and node.input[1] in arrays and not node.input[1].endswith(".relative"):
            out[node.input[1]] = arrays[node.input[1]].T
    return out


def test_every_quantised_tensor_has_the_weights_of_the_file(pair: Pair, bundle: Bundle) -> None:
    source, checked = Checkpoint(pair.checkpoint), set[str]()
    for graph in ("encoder", "lower", "upper"):
        for name, values in matrices(bundle, graph).items():
            whole = name if name in source else name.rpartition(".")[0]  # a part is called after its first row
            begin = 0 if whole == name else int(name.rpartition(".")[2])
            expected = source.tensor(whole)[begin : begin + len(values)]
            kind = kind_of(whole)
            if kind in QUANTISED:
                assert np.array_equal(values, expected), name
                checked.add(kind)
            else:
                assert 0 < np.abs(values - expected).max() < 0.02 * np.abs(expected).max(), name
    assert checked == set(QUANTISED)


def kind_of(name: str) -> str:
    hears = "audio" in name
    return KINDS.get(audio_name(name) if hears else text_name(name), "Q8_0" if hears else "Q4_0")


def test_every_tensor_has_the_weights_of_the_file_where_nothing_is_quantised(pair: Pair, tmp_path: Path) -> None:
    source, seen = Checkpoint(pair.checkpoint), set[str]()
    made = export(pair.decoder, tmp_path / "bundle", decoder_bits=None, encoder_bits=None, table_bits=32)
    for graph in ("encoder", "lower", "upper"):
        for name, values in matrices(made, graph).items():
            whole = name if name in source else name.rpartition(".")[0]
            begin = 0 if whole == name else int(name.rpartition(".")[2])
            assert np.array_equal(values, source.tensor(whole)[begin : begin + len(values)]), name
            seen.add(whole)
    assert len(seen) == sum(len(value.shape) == 2 and "relative_k" not in name for name, value in tensors(SHAPE, 7)) - 1


def test_every_vector_has_the_weights_of_the_file(pair: Pair) -> None:
    """And the clamps and convolutions; what went through softplus comes back within rounding."""
    source, found = Checkpoint(pair.checkpoint), opened(pair.decoder)
    for name, value in tensors(SHAPE, 7):
        assert name in found
        if name.endswith("per_dim_scale"):
            assert np.allclose(found.tensor(name), source.tensor(name), rtol=1e-6, atol=1e-6)
        elif value.ndim == 0:
            assert found.scalar(name) == source.scalar(name)
        else:
            assert found.shape(name) == value.shape
            assert np.array_equal(found.tensor(name), source.tensor(name))


def test_the_tables_have_the_weights_of_the_file(pair: Pair, bundle: Bundle) -> None:
    source = Checkpoint(pair.checkpoint)
    for name, file, shape in (
        (EMBEDDING, "embed.bin", bundle.manifest.embed),
        (PLE, "ple.bin", bundle.manifest.ple),
    ):
        assert shape is not None
        assert np.array_equal(Table(bundle.path(file), shape, 1.0).rows(range(shape.rows)), source.tensor(name)), name


def test_the_config_is_the_checkpoints(pair: Pair) -> None:
    found, expected = opened(pair.decoder), Checkpoint(pair.checkpoint)
    assert Config.parse(found.config(), found.features()) == Config.parse(expected.config(), expected.features())


@pytest.mark.parametrize(
    "name", ["no-sharing", "two-key-heads", "keys-are-values", "narrow-shared-mlp", "no-softcap", "untied-head"]
)
def test_the_config_of_other_shapes(name: str, tmp_path: Path) -> None:
    text = {**SHAPE.text, **SHAPES[name].text}
    pair = make_pair(tmp_path, Shape(text, SHAPE.audio, tied=SHAPES[name].tied))
    found, expected = opened(pair.decoder), Checkpoint(pair.checkpoint)
    assert Config.parse(found.config(), found.features()) == Config.parse(expected.config(), expected.features())
    export(pair.decoder, tmp_path / "bundle")


def test_no_per_layer_embedding(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, Shape({**SHAPE.text, "hidden_size_per_layer_input": 0}, SHAPE.audio))
    assert export(pair.decoder, tmp_path / "bundle").manifest.ple is None


def test_the_same_logits_as_the_restored_checkpoint(pair: Pair, tmp_path: Path) -> None:
    """In float32, after text and sound: the files hold the same numbers, so only `per_dim_scale` rounds once more."""
    wish = {"decoder_bits": None, "encoder_bits": None, "table_bits": 32, "blocks": Blocks(8, 16)}
    rows = list[np.ndarray[Any, Any]]()
    for i, source in enumerate((pair.decoder, pair.checkpoint)):
        export(source, tmp_path / str(i), **wish)  # type: ignore[arg-type]
        session = OnnxModel.open(tmp_path / str(i)).session(256)
        session.feed_ids([2, 5, 100, 101, 102])
        session.begin_audio()
        session.feed_audio(sound(7, SHAPE.samples))
        session.end_audio()
        session.feed_ids([6, 30])
        rows.append(session.logits())
    assert np.ptp(rows[0]) > 5
    assert np.abs(rows[0] - rows[1]).max() < 5e-3


def test_the_bundle_answers(bundle: Bundle) -> None:
    session = OnnxModel.open(bundle.folder).session(64)
    session.feed_ids([2, 5, 100, 101])
    assert len(list(session.decode(Sampling(max_tokens=4)))) > 0


def test_the_tokenizer_is_the_files(bundle: Bundle) -> None:
    found, expected = Tokens(bundle.path("tokenizer.json")), tokenizer()
    for text in (
        "ab ab t",
        "  t\n\nab",
        "Grüße, 東京 ☕",
        "<|turn>user\nab<turn|>",
        '<|tool_call>call:a{b:<|"|>t<|"|>}<tool_call|>',
        "",
    ):
        ids = expected.encode(text, add_special_tokens=False).ids
        assert found.encode(text) == ids
        assert found.decode(ids) == text
    spelt = found.encode("<|channel>ab<|tool_call>", control=False)
    assert not set(spelt) & set(found.encode("<|channel><|tool_call>"))


def test_the_template_is_the_files(bundle: Bundle) -> None:
    assert bundle.path("chat_template.jinja").read_text(encoding="utf-8") == TEMPLATE
    assert "chat_template.jinja" in bundle.manifest.files


def test_a_file_of_floats_is_quantised_as_any_checkpoint(tmp_path: Path) -> None:
    names = [text_name(name) for name, value in tensors(SHAPE, 7) if "audio" not in name and value.ndim == 2]
    pair = make_pair(tmp_path, kinds=dict.fromkeys(names, "BF16"))
    made, expected = export(pair.decoder, tmp_path / "a"), export(pair.checkpoint, tmp_path / "b")
    for file in ("lower.bin", "upper.bin", "embed.bin", "ple.bin"):
        assert made.manifest.files[file] == expected.manifest.files[file]


def test_settings_beside_the_files_say_what_they_do_not(copy: Path) -> None:
    beside = {"audio_config": {"attention_logit_cap": 40.0, "hidden_size": 32}, "text_config": {"vocab_size": 288}}
    (copy.parent / "config.json").write_text(json.dumps(beside))
    (copy.parent / "preprocessor_config.json").write_text(json.dumps({"mel_floor": 1e-5}))
    source = opened(copy)
    config = Config.parse(source.config(), source.features())
    assert (config.audio.softcap, config.mel.floor, config.mel.bins) == (40.0, 1e-5, 128)


def test_on_the_command_line(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = Path(shutil.copy(pair.projector, tmp_path / "ears.gguf"))
    alone = Path(shutil.copy(pair.decoder, tmp_path / "model.gguf"))
    assert main(["export", str(alone), str(tmp_path / "bundle"), "--projector", str(elsewhere)]) == 0
    assert Bundle.open(tmp_path / "bundle").manifest.source == "model.gguf"
    assert capsys.readouterr().out.strip() == str(tmp_path / "bundle")


def refused(path: Path, words: str, error: type[EdgeAssistantError] = CheckpointError) -> None:
    """With one clear line, and nothing left behind."""
    with pytest.raises(error, match=words) as caught:
        export(path, path.parent / "out" / "bundle")
    assert "\n" not in str(caught.value)
    assert not (path.parent / "out").exists() or not list((path.parent / "out").iterdir())


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The file with other metadata."""
    reader = gguf.GGUFReader(path)
    values = {key: (field.contents(), field.types) for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    change(values)
    writer = gguf.GGUFWriter(path.with_suffix(".new"), values.pop("general.architecture")[0])
    for key, (value, types) in values.items():
        writer.add_key_value(key, value, types[0], sub_type=types[-1] if len(types) > 1 else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".new").replace(path)


def test_another_architecture(copy: Path) -> None:
    rewritten(copy, lambda values: values.update({"general.architecture": ("gemma4-assistant", [])}))
    refused(copy, "architecture 'gemma4-assistant'")


def test_another_projector(copy: Path) -> None:
    text = [gguf.GGUFValueType.STRING]
    rewritten(copy.parent / "mmproj-model.gguf", lambda values: values.update({"clip.audio.projector_type": ("gemma4ua", text)}))
    refused(copy, "projector type 'gemma4ua'")


def test_a_projector_that_only_sees(copy: Path) -> None:
    flag = [gguf.GGUFValueType.BOOL]
    rewritten(copy.parent / "mmproj-model.gguf", lambda values: values.update({"clip.has_audio_encoder": (False, flag)}))
    refused(copy, "no audio tower")


def test_another_tokenizer(copy: Path) -> None:
    text = [gguf.GGUFValueType.STRING]
    rewritten(copy, lambda values: values.update({"tokenizer.ggml.model": ("llama", text)}))
    refused(copy, "tokenizer of kind 'llama'")


def test_missing_metadata(copy: Path) -> None:
    rewritten(copy, lambda values: values.pop("gemma4.attention.key_length"))
    refused(copy, r"no 'gemma4\.attention\.key_length'")


def test_experts(copy: Path) -> None:
    rewritten(copy, lambda values: values.update({"gemma4.expert_count": (8, [gguf.GGUFValueType.UINT32])}))
    refused(copy, "experts")


def test_one_part_of_several(copy: Path) -> None:
    rewritten(copy, lambda values: values.update({"split.count": (3, [gguf.GGUFValueType.UINT16])}))
    refused(copy, "one of 3 parts")


@pytest.mark.parametrize("kind", ["Q4_1", "Q5_0", "Q5_1"])
def test_a_type_nobody_reads_is_named(kind: str, tmp_path: Path) -> None:
    pair = make_pair(tmp_path, kinds={"token_embd.weight": "F32", "blk.1.ffn_down.weight": kind})
    refused(pair.decoder, rf"blk\.1\.ffn_down\.weight is of type {kind}; only Q4_0, Q8_0, Q6_K, F32, F16, BF16")


@pytest.mark.parametrize("name", ["blk.1.ffn_down.weight", "token_embd.weight", "per_layer_token_embd.weight"])
def test_a_scale_that_is_no_number(copy: Path, name: str) -> None:
    """Of matrices and tables alike, in every type that occurs."""
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(copy).tensors}[name]
    form = QUANTISED[found.tensor_type.name]
    with copy.open("r+b") as file:
        file.seek(int(found.data_offset) + form.bytes * 3 + (208 if found.tensor_type.name == "Q6_K" else 0))
        file.write(np.array(np.nan, np.float16).tobytes())
    refused(copy, "has numbers that are not finite")


def test_no_projector_and_too_many(copy: Path) -> None:
    shutil.copy(copy.parent / "mmproj-model.gguf", copy.parent / "mmproj-other.gguf")
    refused(copy, "several projector files .*--projector", UsageError)
    for path in copy.parent.glob("mmproj*"):
        path.unlink()
    refused(copy, "no projector file .*--projector", UsageError)


def test_the_files_the_wrong_way_round(copy: Path) -> None:
    refused(copy.parent / "mmproj-model.gguf", "architecture 'clip'")


@pytest.mark.parametrize("keep", [0, 3, 100, 5000, -1000])
def test_a_download_cut_short(copy: Path, keep: int) -> None:
    with copy.open("r+b") as file:
        file.truncate(keep if keep >= 0 else copy.stat().st_size + keep)
    refused(copy, "cut short")


def test_a_page_instead_of_a_model(copy: Path) -> None:
    copy.write_text("<html>not found</html>")
    refused(copy, "cannot be read as GGUF")


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "model.gguf", "does not exist")


def test_another_models_config_beside_it(copy: Path) -> None:
    (copy.parent / "config.json").write_text(json.dumps({"text_config": {"hidden_size": 1536}}))
    refused(copy, r"config\.json says hidden_size = 1536, the GGUF file 256")


def test_without_the_package(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    refused(copy, r"needs the package gguf; .*edge-assistant\[gguf\]")


def test_a_projector_for_a_folder(pair: Pair) -> None:
    with pytest.raises(UsageError, match="no GGUF file"):
        opened(pair.checkpoint, pair.projector)
