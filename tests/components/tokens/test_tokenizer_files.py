import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import CorruptArtifactError
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from model.special_tokens import SPECIAL_TOKENS

_TEXTS = ["def f(x):\n    return x + 1  # don't\n", "for i in range(10):\n\tprint('caf\u00e9', i)\r\n"] * 5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_bpe(_TEXTS, 320, 2), place)
    return place


pieces = st.one_of(st.text(), st.sampled_from(SPECIAL_TOKENS), st.sampled_from(_TEXTS))


@settings(deadline=None)
@given(st.lists(pieces).map("".join))
def test_text_comes_back_exactly_and_never_holds_a_special_id(saved: Path, text: str) -> None:
    tokenizer = load_text_tokenizer(saved)
    ids = encode_text(tokenizer, text)
    assert all(token_id >= len(SPECIAL_TOKENS) for token_id in ids)
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
