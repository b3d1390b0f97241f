"""N-grams in texts, against plain Python. About 5 s, most of it compiling once."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.ngram_search import NgramSearch


def _buffers(texts):
    texts = [text.encode() for text in texts]
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)], dtype=np.int64)


def _ngrams(text, size):
    tokens = list(re.finditer("[a-z0-9_]+", text, re.ASCII))
    for first in range(len(tokens) - size + 1):
        window = tokens[first : first + size]
        yield tuple(token[0] for token in window), window[0].start(), window[-1].end()


def _words(ngram):
    return len({token for token in ngram if re.search("[a-z_]{2}", token)})


def _found(sought, texts, size, min_words=1):
    search = NgramSearch(*_buffers(sought), size, min_words)
    found = search.occurrences(*_buffers(texts))
    texts_of = {}
    for ngram, text in search.origins.tolist():
        texts_of.setdefault(ngram, set()).add(text)
    assert len(texts_of) == search.num_ngrams
    columns = (found.rows, found.first, found.end, found.indices)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(row, first, end, texts_of[ngram]) for row, first, end, ngram in rows]


def _plainly_found(sought, texts, size, min_words=1):
    texts_of = {}
    for number, text in enumerate(sought):
        for ngram, _, _ in _ngrams(text, size):
            if _words(ngram) >= min_words:
                texts_of.setdefault(ngram, set()).add(number)
    return [
        (row, first, end, texts_of[ngram])
        for row, text in enumerate(texts)
        for ngram, first, end in _ngrams(text, size)
        if ngram in texts_of
    ]


some_texts = st.lists(st.text(st.sampled_from("ab_7 .(;"), max_size=60), max_size=5)


@settings(deadline=None)  # the first call compiles
@given(some_texts, some_texts, st.integers(1, 4), st.integers(0, 3))
def test_every_shared_run_of_tokens_is_found_and_nothing_else(sought, texts, size, min_words):
    assert _found(sought, texts, size, min_words) == _plainly_found(sought, texts, size, min_words)


def test_what_stands_between_the_tokens_is_of_no_account():
    (found,) = _found(["one, two: three four"], ["# -- one\n# two (three) \u00e9 four!"], 4)
    assert found == (0, 5, 30, {0})


@pytest.mark.parametrize(
    ("text", "num_words"),
    [("1 2 3 4 5", 0), ("for i in range 10", 3), ("aa aa aa aa aa", 1), ("a b c d e", 0), ("x_1 x_2 __ a7b 9ab", 4)],
)
def test_words_are_different_tokens_with_two_letters_in_a_row(text, num_words):
    assert len(_found([text], [text], 5, num_words)) == 1
    assert _found([text], [text], 5, num_words + 1) == []


def test_real_files_hold_what_plain_python_finds_in_them(library_files):
    texts = [row["content"].lower() for row in library_files[:40] if row["content"].isascii()]
    sought = [text[1000:3000] for text in texts[::3]]
    expected = _plainly_found(sought, texts, 13, 5)
    assert len(expected) > 500
    assert _found(sought, texts, 13, 5) == expected
