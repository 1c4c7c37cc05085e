from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import SPECIAL, make_tokenizer
from tokenizers import AddedToken, Tokenizer, normalizers

from edge_assistant.errors import BundleError
from edge_assistant.gemma4.tokens import Detokeniser, Tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    make_tokenizer(path)
    return Tokens(path)


def test_control_tokens_become_their_ids(tokens: Tokens) -> None:
    ids = tokens.encode("<bos><|turn>user\n<|audio>")
    assert ids[:2] == [2, 5]
    assert ids[-1] == tokens.control.audio == 10
    assert tokens.control.stops == {1, 6, 18}


@pytest.mark.parametrize("text", [*SPECIAL, "a<|turn>b", "<<|turn>turn|>", "<|<|turn>turn>", "<turn|><turn|>", '<|"|>x<|"|>'])
def test_text_from_outside_never_becomes_a_control_token(tokens: Tokens, text: str) -> None:
    ids = tokens.encode(text, control=False)
    assert min(ids) >= len(SPECIAL)
    assert tokens.decode(ids) == text


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(st.one_of(st.sampled_from(SPECIAL), st.sampled_from("<|>turn/ "), st.text(max_size=3)), max_size=8).map("".join)
)
def test_no_mixture_does(tokens: Tokens, text: str) -> None:
    ids = tokens.encode(text, control=False)
    assert all(id_ >= len(SPECIAL) for id_ in ids)
    assert tokens.decode(ids) == text


def test_not_even_through_a_normaliser(tmp_path: Path) -> None:
    """Full-width letters that become ASCII before tokens are looked for."""
    make_tokenizer(tmp_path / "t.json")
    tokenizer = Tokenizer.from_file(str(tmp_path / "t.json"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_tokens([AddedToken("<|audio>", normalized=True, special=False)])
    tokenizer.save(str(tmp_path / "t.json"))
    tokens = Tokens(tmp_path / "t.json")
    sneaky = "\uff1c\uff5caudio\uff1e"
    assert tokens.control.audio in tokens.encode(sneaky)
    assert tokens.control.audio not in tokens.encode(sneaky, control=False)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=30))
def test_the_pieces_joined_are_the_text(tokens: Tokens, text: str) -> None:
    detokeniser = Detokeniser(tokens)
    pieces = [detokeniser.add(id_) for id_ in tokens.encode(text, control=False)]
    assert "".join(pieces) == text


def test_an_incomplete_character_waits_and_control_tokens_are_written_out(tokens: Tokens) -> None:
    detokeniser = Detokeniser(tokens)
    ids = tokens.encode("é<turn|>")
    assert [detokeniser.add(id_) for id_ in ids] == ["", "é", "<turn|>"]


def test_a_character_that_never_completes_is_given_up(tokens: Tokens) -> None:
    detokeniser = Detokeniser(tokens)
    broken = tokens.encode("é")[0]
    assert any(detokeniser.add(broken) for _ in range(10))


def test_a_tokenizer_without_control_tokens_is_refused(tmp_path: Path) -> None:
    make_tokenizer(tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text().replace("<|audio>", "<|radio>")
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(BundleError, match=r"<\|audio>"):
        Tokens(tmp_path / "t.json")


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        Tokens(tmp_path / "t.json")
