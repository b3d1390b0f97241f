import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from components.errors import CorruptArtifactError
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer, save_tokenizer, special_ids
from components.tokens.train_tokenizer import train_bpe
from model.special_tokens import FAMILIES, STARCODER, names_of

_TEXTS = ["def f(x):\n    return x + 1  # don't\n", "for i in range(10):\n\tprint('caf\u00e9', i)\r\n"] * 5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_bpe(_TEXTS, 320, 2), place)
    return place


pieces = st.one_of(st.text(), st.sampled_from(STARCODER), st.sampled_from(_TEXTS))


@settings(deadline=None)
@given(st.lists(pieces).map("".join))
def test_text_comes_back_exactly_and_never_holds_a_special_id(saved: Path, text: str) -> None:
    tokenizer = load_text_tokenizer(saved)
    ids = encode_text(tokenizer, text)
    assert all(token_id >= len(STARCODER) for token_id in ids)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("content", [None, "", "{}", "not json", '{"model": 3}'])
def test_a_missing_or_damaged_file_is_named_with_the_mend(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CorruptArtifactError, match=r"tokenizer\.json is no tokenizer .*; train it again"):
        load_text_tokenizer(tmp_path)


def test_a_tokenizer_with_other_special_tokens_is_refused(saved: Path, tmp_path: Path) -> None:
    raw = json.loads((saved / "tokenizer.json").read_text())
    raw["added_tokens"] = []
    del raw["model"]["vocab"]["<reponame>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(CorruptArtifactError, match="has <reponame> at id None, not 18"):
        load_text_tokenizer(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_vocabulary_says_which_family_it_is_and_every_reader_gets_the_ids_of_the_names(
    tmp_path: Path, family: str
) -> None:
    tokens = FAMILIES[family]
    save_tokenizer(train_bpe(_TEXTS, 320, 2, tokens), tmp_path)
    text_tokenizer = load_text_tokenizer(tmp_path)
    assert special_ids(text_tokenizer) == names_of(tokens)
    for token in tokens:
        assert min(encode_text(text_tokenizer, f"x {token} y")) >= len(tokens)


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_the_special_tokens_of_either_family(tmp_path: Path, family: str) -> None:
    tokens = FAMILIES[family]
    save_tokenizer(train_bpe(_TEXTS, 320, 2, tokens), tmp_path)
    peer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert peer(list(tokens))["input_ids"] == [[number] for number in range(len(tokens))]
    assert set(tokens) == set(peer.all_special_tokens)
    assert (peer.bos_token_id, peer.eos_token_id, peer.unk_token_id) == (0, 0, 0)
    assert peer(_TEXTS[0])["input_ids"] == encode_text(load_text_tokenizer(tmp_path), _TEXTS[0])
    assert peer.decode(list(range(len(tokens)))) == "".join(tokens)
