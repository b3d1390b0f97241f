"""The hashes of n-grams against plain Python. About 4 s, most of it compiling once."""

import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.ngrams import distinct_hashes, ngram_hashes
from components.tables import text_buffers


def _buffers(texts):
    return text_buffers(pa.record_batch([pa.array(texts, pa.large_string())], names=["content"]))


def _tokens(text, empty_tokens=False):
    """BigCode's near-deduplication splits at each other character; without the empty strings words are left."""
    pieces = re.split("[^A-Za-z_0-9]", text)
    return pieces if empty_tokens else [piece for piece in pieces if piece]


def _ngrams(text, size, empty_tokens=False):
    tokens = _tokens(text, empty_tokens)
    return [tuple(tokens[first : first + size]) for first in range(len(tokens) - size + 1)]


def _agree(texts, size, **options):
    """Whether there is a hash per n-gram, in order, and hashes are equal exactly where n-grams are."""
    hashes, firsts = ngram_hashes(*_buffers(texts), size, **options)
    if options.get("lowercase"):
        texts = [re.sub("[A-Z]", lambda letter: letter[0].lower(), text) for text in texts]
    ngrams = [_ngrams(text, size, options.get("empty_tokens", False)) for text in texts]
    flat = [ngram for of_text in ngrams for ngram in of_text]
    assert np.diff(firsts).tolist() == [len(of_text) for of_text in ngrams]
    assert len(set(hashes.tolist())) == len(set(flat)) == len(set(zip(hashes.tolist(), flat, strict=True)))


some_texts = st.lists(st.text(st.sampled_from("abAB_ .(\n\t\u00e9\u65e5\U0001f6007"), max_size=60), max_size=6)


@settings(deadline=None)  # the first call compiles
@given(texts=some_texts, size=st.integers(1, 6), lowercase=st.booleans(), empty_tokens=st.booleans())
def test_hashes_are_equal_exactly_where_the_ngrams_are_equal(texts, size, lowercase, empty_tokens):
    _agree(texts, size, lowercase=lowercase, empty_tokens=empty_tokens)


# Around the 8 and 16 bytes that are hashed at once, and the 2,048 bytes that are cut at once.
some_lengths = st.lists(
    st.sampled_from([1, 7, 8, 9, 15, 16, 17, 32, 33, 48, 2047, 2048, 2049, 5000]), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=40)
@given(
    lengths=some_lengths,
    gap=st.sampled_from([" ", "  ", "\u65e5", " " * 2048, "\n" * 2047]),
    empty_tokens=st.booleans(),
)
def test_long_tokens_and_long_gaps_change_nothing(lengths, gap, empty_tokens):
    tokens = [f"{number % 3}" * length for number, length in enumerate(lengths)]
    _agree([gap.join(tokens), gap + gap.join(tokens[1:]) + gap, ""], 2, empty_tokens=empty_tokens)


@settings(deadline=None)
@given(token=st.text(st.sampled_from("ab"), min_size=1, max_size=40), place=st.integers(0, 39))
def test_tokens_that_differ_in_one_byte_have_different_hashes(token, place):
    changed = token[: place % len(token)] + "c" + token[place % len(token) + 1 :]
    hashes, _ = ngram_hashes(*_buffers([f"{token} {changed} {token}"]), 1)
    assert hashes[0] == hashes[2] != hashes[1]


@pytest.mark.parametrize("empty_tokens", [False, True])
def test_similarities_of_real_files_are_those_of_the_sets_of_strings(library_files, empty_tokens):
    """With `empty_tokens` the sets are those of BigCode's first version, else those of its words."""
    texts = [row["content"] for row in library_files]
    hashes, firsts = distinct_hashes(*ngram_hashes(*_buffers(texts), 5, empty_tokens=empty_tokens))
    ours = [set(hashes[first:end].tolist()) for first, end in pairwise(firsts)]
    theirs = [set(_ngrams(text, 5, empty_tokens)) for text in texts]
    assert [len(of_text) for of_text in ours] == [len(of_text) for of_text in theirs]
    shared_by_us = [len(left & right) for left, right in pairwise(ours)]
    assert shared_by_us == [len(left & right) for left, right in pairwise(theirs)]
    assert max(shared_by_us) > 100


def test_a_sliced_column_is_hashed_like_a_column_of_its_own():
    texts = ["one two three", "four five six seven", "eight nine"]
    whole = pa.record_batch([pa.array(texts, pa.large_string())], names=["content"])
    sliced, _ = ngram_hashes(*text_buffers(whole.slice(1, 1)), 2)
    alone, _ = ngram_hashes(*_buffers(texts[1:2]), 2)
    assert sliced.tolist() == alone.tolist()
    assert len(alone) == 3


@pytest.mark.parametrize("empty_tokens", [False, True])
def test_no_texts_have_no_hashes(empty_tokens):
    hashes, firsts = ngram_hashes(*_buffers([]), 5, empty_tokens=empty_tokens)
    assert hashes.tolist() == []
    assert firsts.tolist() == [0]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=40), max_size=4))
def test_distinct_hashes_are_those_of_each_text_in_ascending_order(texts):
    firsts = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    hashes = np.array([value for text in texts for value in text], dtype=np.uint64)
    distinct, firsts_of_sets = distinct_hashes(hashes, firsts)
    found = [distinct[first:end].tolist() for first, end in pairwise(firsts_of_sets)]
    assert found == [sorted(set(text)) for text in texts]
