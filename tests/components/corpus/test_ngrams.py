"""The hashes of n-grams and the folded form, against plain Python. About 3 s, most of it compiling once."""

import json
import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.ngrams import fold_texts, ngram_hashes
from components.tables import text_buffers


def _buffers(texts):
    return text_buffers(pa.record_batch([pa.array(texts, pa.large_string())], names=["content"]))


def _ngrams(text, size):
    tokens = re.findall(r"[A-Za-z0-9_]+", text, re.ASCII)
    return [tuple(tokens[first : first + size]) for first in range(len(tokens) - size + 1)]


def _folded(*texts):
    folded, starts = fold_texts(*_buffers(list(texts)))
    return [folded[first:end].tobytes().decode() for first, end in pairwise(starts)]


some_texts = st.lists(st.text(st.sampled_from("ab_ .(\n\t\u00e97"), max_size=60), max_size=6)


@settings(deadline=None)  # the first call compiles
@given(texts=some_texts, size=st.integers(1, 4))
def test_hashes_are_equal_exactly_where_the_ngrams_are_equal(texts, size):
    hashes, firsts = ngram_hashes(*_buffers(texts), size)
    ngrams = [_ngrams(text, size) for text in texts]
    assert np.diff(firsts).tolist() == [len(of_text) for of_text in ngrams]
    flat = [ngram for of_text in ngrams for ngram in of_text]
    assert len(set(hashes.tolist())) == len(set(flat))
    assert len(set(zip(hashes.tolist(), flat, strict=True))) == len(set(flat))


def test_a_sliced_column_is_hashed_like_a_column_of_its_own():
    texts = ["one two three", "four five six seven", "eight nine"]
    whole = pa.record_batch([pa.array(texts, pa.large_string())], names=["content"])
    sliced, _ = ngram_hashes(*text_buffers(whole.slice(1, 1)), 2)
    alone, _ = ngram_hashes(*_buffers(texts[1:2]), 2)
    assert sliced.tolist() == alone.tolist()
    assert len(alone) == 3


def test_no_texts_have_no_hashes():
    hashes, firsts = ngram_hashes(*_buffers([]), 5)
    assert hashes.tolist() == []
    assert firsts.tolist() == [0]


def test_folding_lowers_letters_and_makes_every_blank_one_space():
    assert _folded("  Def\tF(X):\r\n\n    return\vX  ", "", " \n") == ["def f(x): return x", "", ""]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(st.sampled_from("Ab \n\t\"'#=\u00e9"), max_size=40), max_size=4))
def test_folding_agrees_with_plain_python(texts):
    lowered = [re.sub("[A-Z]", lambda match: match[0].lower(), text) for text in texts]
    assert _folded(*texts) == [re.sub(r"[ \n\t]+", " ", text).strip(" ") for text in lowered]


@settings(deadline=None)  # the first call compiles
@given(st.text(st.sampled_from("Code 'x' \"y\" \n\t\\z\\n"), max_size=60))
def test_a_text_quoted_in_json_folds_like_itself(text):
    quoted = json.dumps(text)[1:-1]
    assert _folded(quoted) == _folded(text)
    assert _folded(json.dumps(quoted)[1:-1]) == _folded(text)
