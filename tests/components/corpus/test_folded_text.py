"""The folded form against plain Python, and the way back to the original. About 4 s, most of it compiling once."""

import json
import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.folded_text import fold, original_offsets, without_blanks
from components.tables import text_buffers


def _buffers(texts):
    return text_buffers(pa.record_batch([pa.array(texts, pa.large_string())], names=["content"]))


def _rows(texts, starts):
    return [texts[first:end].tobytes().decode() for first, end in pairwise(starts)]


def _folded(*texts):
    return _rows(*fold(*_buffers(list(texts))))


def _plainly_folded(text):
    text = re.sub(r"\\+([nrt]?)", lambda found: " " if found[1] else "", text)
    text = re.sub("[A-Z]", lambda found: found[0].lower(), text)
    return re.sub(r"[ \t\n\v\f\r]+", " ", text).strip(" ")


some_texts = st.lists(st.text(st.sampled_from("Antr \n\t\v\"'#=\\\u00e9\u4e2d\0"), max_size=40), max_size=4)


def test_folding_lowers_letters_and_makes_every_blank_one_space():
    assert _folded("  Def\tF(X):\r\n\n    return\vX  ", "", " \n") == ["def f(x): return x", "", ""]


@settings(deadline=None)  # the first call compiles
@given(some_texts)
def test_folding_agrees_with_plain_python(texts):
    assert _folded(*texts) == [_plainly_folded(text) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(st.text(st.sampled_from("Code 'x' \"y\" \n\t\\z\\n"), max_size=60))
def test_a_text_quoted_in_json_folds_like_itself(text):
    quoted = json.dumps(text)[1:-1]
    assert _folded(quoted) == _folded(text)
    assert _folded(json.dumps(quoted)[1:-1]) == _folded(text)


def test_a_sliced_column_folds_like_a_column_of_its_own():
    batch = pa.record_batch([pa.array(["one", " Two\n2", "three"], pa.large_string())], names=["content"])
    assert _rows(*fold(*text_buffers(batch.slice(1, 1)))) == ["two 2"]


@settings(deadline=None)  # the first call compiles
@given(some_texts)
def test_blanks_can_be_removed_altogether(texts):
    squeezed = _rows(*without_blanks(*fold(*_buffers(texts))))
    assert squeezed == [_plainly_folded(text).replace(" ", "") for text in texts]


@settings(deadline=None)  # the first call compiles
@given(some_texts, st.booleans())
def test_every_folded_byte_is_traced_to_where_it_came_from(texts, blanks):
    data, starts = _buffers(texts)
    folded, folded_starts = fold(data, starts) if blanks else without_blanks(*fold(data, starts))
    lengths = np.diff(folded_starts)
    rows = np.repeat(np.arange(len(texts)), lengths)[::-1]  # any order will do
    offsets = np.concatenate([np.arange(length) for length in lengths] or [np.zeros(0, np.int64)])[::-1]
    origins = original_offsets(data, starts, rows, offsets, blanks=blanks)
    for row, text in enumerate(texts):
        of_row = origins[rows == row][::-1]
        assert (np.diff(of_row) > 0).all()
        sources = text.encode()
        for origin, byte in zip(of_row, folded[folded_starts[row] : folded_starts[row + 1]], strict=True):
            is_escape = bytes([byte]) == b" " and sources[origin : origin + 1] in (b"n", b"r", b"t")
            assert is_escape or _plainly_folded(chr(sources[origin])) == chr(byte).strip(" ")
