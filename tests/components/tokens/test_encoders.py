"""The compiled encoder gives the ids of the library `tokenizers`, whatever the text; what it cannot do it says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from components.tokens import fast_encode
from components.tokens.encoders import (
    HARD_TEXTS,
    CompiledEncoder,
    LibraryEncoder,
    as_text,
    class_table,
    find_difference,
    objection_to_compiled,
)
from components.tokens.tokenizer_files import load_text_tokenizer
from components.tokens.train_tokenizer import train_bpe
from model.special_tokens import STARCODER
from model.text_codec import ByteLevelCodec

TRICKY = "".join(
    (
        "aZ'stmrvled \n\t\r\x0b\x85\u00a0\u2003\u3000\u180e\ufeff09\u0661\u00b2\u00bd\u2167\u3007\U0001d7d9",
        "=_-(<|>\x00\x1b\u00e9\u00df\u4e2d\u0301\u093f\u200d\U0001f600\U00010d40\U000323b0\ufdd0\U0010ffff",
    )
)
"""Of every class, also digits that Unicode knows since lately, an ideograph added after them, and no characters."""


@pytest.fixture(scope="module")
def compiled(tokenizer: Tokenizer) -> CompiledEncoder:
    return CompiledEncoder(tokenizer)


@pytest.fixture(scope="module")
def codec(tokenizer: Tokenizer) -> ByteLevelCodec:
    return ByteLevelCodec(tokenizer)


@pytest.fixture(scope="module")
def library(tokenizer: Tokenizer) -> LibraryEncoder:
    return LibraryEncoder(tokenizer)


def test_real_files_and_hard_texts_are_encoded_alike(
    compiled: CompiledEncoder, library: LibraryEncoder, library_files: list[dict[str, Any]]
) -> None:
    texts = [as_text(text) for text in (*HARD_TEXTS, *(file["content"] for file in library_files[40:120]))]
    assert sum(map(len, texts)) > 1_000_000
    ours, theirs = compiled.encode(texts), library.encode(texts)
    assert np.array_equal(ours.ids, theirs.ids)
    assert np.array_equal(ours.offsets, theirs.offsets)


@settings(deadline=None, max_examples=250)
@given(
    st.lists(
        st.one_of(
            st.text(TRICKY, max_size=12),
            st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
            st.sampled_from(["'ll", "'ve ", " 's", "  ", "\r\n", *STARCODER]),
        ),
        max_size=12,
    ).map("".join)
)
def test_any_text_is_encoded_alike_and_never_to_a_special_id(
    compiled: CompiledEncoder, library: LibraryEncoder, text: str
) -> None:
    ours = compiled.encode([as_text(text)]).ids.tolist()
    assert ours == library.encode([as_text(text)]).ids.tolist()
    assert all(number >= len(STARCODER) for number in ours)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_come_back_from_their_ids_also_if_they_are_no_text(
    compiled: CompiledEncoder, codec: ByteLevelCodec, texts: list[bytes]
) -> None:
    encoded = compiled.encode([np.frombuffer(text, np.uint8) for text in texts])
    for number, text in enumerate(texts):
        assert codec.decode(encoded.of(number).tolist()).encode("utf-8", "surrogateescape") == text


@pytest.mark.parametrize("run", ["a", " ", "\u4e2d", "=", " \n", "ab1"])
def test_a_very_long_run_is_encoded_alike(compiled: CompiledEncoder, library: LibraryEncoder, run: str) -> None:
    text = as_text(run * (300_000 // len(run.encode())))
    assert np.array_equal(compiled.encode([text]).ids, library.encode([text]).ids)


def test_a_run_of_eight_million_letters_is_no_trap(compiled: CompiledEncoder) -> None:
    text = np.full(8_000_000, ord("a"), np.uint8)
    ids = compiled.encode([text]).ids
    assert 0 < len(ids) <= len(text)


def test_what_was_encoded_before_changes_nothing(
    tokenizer: Tokenizer, compiled: CompiledEncoder, library_files: list[dict[str, Any]]
) -> None:
    texts = [as_text(file["content"]) for file in library_files[:30]]
    fresh = CompiledEncoder(tokenizer)
    backward = fresh.encode(texts[::-1])
    for number, text in enumerate(texts):
        expected = backward.of(len(texts) - 1 - number)
        assert np.array_equal(compiled.encode([text]).ids, expected)
        assert np.array_equal(fresh.encode([text]).ids, expected)


def test_pieces_that_push_each_other_out_of_memory_are_encoded_alike(
    compiled: CompiledEncoder, library: LibraryEncoder
) -> None:
    words = [f"w{'abcdefgh'[n % 8]}{'xyz'[n % 3] * (n % 29)}{chr(0x4E00 + n)}" for n in range(20_000)]
    for text in (" ".join(words), " ".join(reversed(words))):
        assert find_difference(compiled, library, [as_text(text)]) is None


def test_no_character_beyond_those_asked_about_is_of_a_class() -> None:
    asked = class_table() != fast_encode.OTHER
    ranges = (
        range(0x33000, 0x3FFFF),
        range(0x40000, 0xE0000, 97),
        range(0xE0000, 0xE1000),
        range(0xE1000, 0x110000, 97),
    )
    codes = [code for part in ranges for code in part if not asked[code]]
    others = "".join(map(chr, codes))
    pattern = pre_tokenizers.Split(Regex(r"[\p{L}\p{N}\s]+"), "isolated")
    assert len(pattern.pre_tokenize_str(others)) == 1
    assert len(pre_tokenizers.Digits().pre_tokenize_str(others)) == 1
    assert asked[[ord(letter) for letter in "a\u00e9\u4e2d \t9\u0661\U000323af"]].all()


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        (("model", "ignore_merges"), True, "its ignore_merges is true, not false"),
        (("model", "dropout"), 0.5, "its dropout is 0.5, not null"),
        (("pre_tokenizer",), {"type": "Digits", "individual_digits": True}, "its pre_tokenizer is"),
        (("normalizer",), {"type": "NFC"}, r'its normalizer is \{"type": "NFC"\}, not null'),
    ],
)
def test_a_tokenizer_of_another_make_is_left_to_the_library(
    tokenizer: Tokenizer, part: tuple[str, ...], value: object, told: str
) -> None:
    said = json.loads(tokenizer.to_str())
    (said if len(part) == 1 else said[part[0]])[part[-1]] = value
    other = Tokenizer.from_str(json.dumps(said))
    with pytest.raises(ValueError, match=told):
        CompiledEncoder(other)
    objection = objection_to_compiled(other, [])
    assert objection is not None
    assert objection.startswith("our encoder cannot do this tokenizer, its ")


def test_a_difference_is_found_and_told(compiled: CompiledEncoder, library_files: list[dict[str, Any]]) -> None:
    text = library_files[0]["content"]
    reference = LibraryEncoder(train_bpe([text], 300, 2))
    told = find_difference(compiled, reference, [as_text("x"), as_text(text)])
    assert told is not None
    assert told.startswith("from token ")
    assert "it encodes b'" in told
    assert find_difference(compiled, compiled, [as_text(text)]) is None


def test_a_tokenizer_of_either_family_is_agreed_upon(
    artifact_of: Callable[[str], Path], library_files: list[dict[str, Any]]
) -> None:
    sample = [as_text(file["content"]) for file in library_files[50:55]]
    for family in ("starcoder", "starcoder2"):
        assert objection_to_compiled(load_text_tokenizer(artifact_of(family)), sample) is None
    bare = train_bpe([""], 275, 2)
    told = objection_to_compiled(bare, sample[:1])
    assert told is not None, "a tokenizer that reads special tokens in text is not one for data"
    assert "<|endoftext|>" in told
    bare.encode_special_tokens = True
    assert objection_to_compiled(bare, sample[:1]) is None, "a vocabulary without a merge"
