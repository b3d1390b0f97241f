"""Any sequence of ids has a text, and that text loses no byte."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers

from model.special_tokens import STARCODER
from model.text_codec import ByteLevelCodec, TextCodecError

VOCAB_SIZE = 320


@pytest.fixture(scope="module")
def codec(tokenizer):
    return ByteLevelCodec(tokenizer)


@given(ids=st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_ids_come_back_as_ids_of_the_same_text(codec, ids):
    text = codec.decode(ids)
    assert codec.decode(codec.encode(text)) == text


@given(ids=st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=40), data=st.data())
@settings(max_examples=300, deadline=None)
def test_parts_of_a_text_encoded_alone_decode_to_the_whole(codec, ids, data):
    text = codec.decode(ids)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    parts = [codec.encode(part) for part in (text[:start], text[start:end], text[end:])]
    assert "".join(map(codec.decode, parts)) == text
    assert codec.decode([number for part in parts for number in part]) == text


@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_plain_text_is_encoded_as_the_tokenizer_does_and_comes_back(codec, tokenizer, text):
    literal = Tokenizer.from_str(tokenizer.to_str())
    literal.encode_special_tokens = True
    ids = codec.encode(text)
    assert ids == literal.encode(text, add_special_tokens=False).ids
    assert codec.decode(ids) == text


def test_half_a_character_is_a_stray_byte(codec):
    first, second = codec.encode("\u00e9")
    assert codec.decode([first]) == "\udcc3"
    assert codec.decode([second]) == "\udca9"
    assert codec.decode([first, second]) == "\u00e9"
    assert codec.encode("\udcc3") == [first]


def test_a_special_token_is_one_character(codec):
    ids = [18, *codec.encode("python/cpython"), codec.special_ids["filename"], *codec.encode("a.py\nx")]
    text = codec.decode(ids)
    assert len(text) == 2 + len("python/cpython") + len("a.py\nx")
    assert codec.encode(text)[0] == 18


@pytest.mark.parametrize("token", STARCODER)
def test_source_text_that_spells_a_special_token_stays_text(codec, token):
    ids = codec.encode(f"x {token} y")
    assert min(ids) >= len(STARCODER)
    assert codec.decode(ids) == f"x {token} y"


def test_the_callers_tokenizer_is_left_as_it_was(tokenizer):
    ByteLevelCodec(tokenizer)
    assert tokenizer.encode("<fim_pad>").ids == [4]


def test_a_surrogate_that_no_id_decodes_to_is_refused(codec):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        codec.encode("a\ud900b")


def test_an_id_beyond_the_vocabulary_is_named(codec):
    with pytest.raises(TextCodecError, match=f"token id {VOCAB_SIZE} is not in the tokenizer's vocabulary"):
        codec.decode([30, VOCAB_SIZE])


@given(ids=st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_special_tokens_of_the_other_family_are_one_character_each_too(starcoder2_tokenizer, ids):
    codec = ByteLevelCodec(starcoder2_tokenizer)
    assert codec.family == "starcoder2"
    text = codec.decode(ids)
    assert codec.decode(codec.encode(text)) == text
    specials = [number for number in ids if number < 38]
    assert [number for number in codec.encode(text) if number < 38] == specials


def test_an_artifact_is_read(tokenizer, tmp_path, codec):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert ByteLevelCodec.read(tmp_path).encode("return first") == codec.encode("return first")


@pytest.mark.parametrize("content", [None, "", "{}", "\x00"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TextCodecError, match=r"tokenizer\.json is no tokenizer"):
        ByteLevelCodec.read(tmp_path)


def changed(tokenizer, change):
    said = json.loads(tokenizer.to_str())
    change(said)
    return Tokenizer.from_str(json.dumps(said))


def test_special_tokens_elsewhere_are_refused():
    with pytest.raises(TextCodecError, match=r"<\|endoftext\|> at id None, not 0"):
        ByteLevelCodec(Tokenizer(models.BPE()))


def test_a_vocabulary_without_all_bytes_is_refused(tokenizer):
    def drop_merges_and_a_byte(said):
        said["model"]["merges"] = []
        del said["model"]["vocab"]["\u0100"]  # byte 0x00

    with pytest.raises(TextCodecError, match="no token for byte 0x00"):
        ByteLevelCodec(changed(tokenizer, drop_merges_and_a_byte))


def test_a_vocabulary_that_is_not_byte_level_is_refused(tokenizer):
    def add_a_word(said):
        said["model"]["vocab"]["a b"] = VOCAB_SIZE

    with pytest.raises(TextCodecError, match="a token with ' ', so it is not byte-level"):
        ByteLevelCodec(changed(tokenizer, add_a_word))


def test_a_tokenizer_that_changes_text_is_refused(tokenizer):
    normalizing = Tokenizer.from_str(tokenizer.to_str())
    normalizing.normalizer = normalizers.NFC()
    with pytest.raises(TextCodecError, match="does not keep text as it is"):
        ByteLevelCodec(normalizing)
