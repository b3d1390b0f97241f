"""Lines and characters: the machine code agrees with Python's own reading of the text."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.measure_text import BIDI_CONTROLS, HEAD_LINES, measure_text

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\n\r\0\u202e\u2068\u00e9\u4e2d\U0001f600 a1")
)


def batch_of(texts):
    return pa.RecordBatch.from_pydict({"content": pa.array(texts, pa.large_string())})


def expected(text):
    """Longest line, mean line, lines, characters, shares of letters and digits and of letters, controls, NUL."""
    lines = re.split("\r\n|\r|\n", text)
    if not lines[-1]:
        lines.pop()
    lengths = [len(line) for line in lines] or [0]
    shares = [sum(map(kind, text)) / max(1, len(text)) for kind in (str.isalnum, str.isalpha)]
    controls = sum(ord(character) in BIDI_CONTROLS for character in text)
    return max(lengths), sum(lengths) / len(lengths), len(lines), len(text), *shares, controls, text.count("\0")


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_the_measures_are_those_of_pythons_strings(texts):
    measures = measure_text(batch_of(texts))
    told = zip(
        measures.max_line_chars.tolist(),
        measures.mean_line_chars.tolist(),
        measures.num_lines.tolist(),
        measures.num_chars.tolist(),
        measures.alphanumeric_fraction.tolist(),
        measures.alphabetic_fraction.tolist(),
        measures.num_bidi_controls.tolist(),
        measures.num_nul.tolist(),
        strict=True,
    )

    assert list(told) == [expected(text) for text in texts]


@given(st.lists(TEXTS, max_size=4))
def test_the_head_is_the_first_lines_with_their_ends(texts):
    for text, head_bytes in zip(texts, measure_text(batch_of(texts)).head_bytes.tolist(), strict=True):
        lines = re.findall("[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)
        assert text.encode()[:head_bytes].decode() == "".join(lines[:HEAD_LINES])


@given(st.lists(TEXTS, min_size=1, max_size=6), st.data())
def test_only_the_rows_that_are_named_are_measured(texts, data):
    rows = data.draw(st.sets(st.integers(0, len(texts) - 1)).map(sorted))
    some, all_rows = measure_text(batch_of(texts), np.array(rows, np.int64)), measure_text(batch_of(texts))

    expected_chars = [all_rows.num_chars[row] if row in rows else 0 for row in range(len(texts))]
    assert some.num_chars.tolist() == expected_chars


@pytest.mark.parametrize(
    ("text", "longest", "mean"),
    [
        ("", 0, 0.0),
        ("abc", 3, 3.0),
        ("abc\n", 3, 3.0),
        ("abc\r\nd", 3, 2.0),
        ("abc\rd", 3, 2.0),
        ("a\n\r\n\rb", 1, 0.5),
        ("\n\n", 0, 0.0),
        ("\u4e2d\u4e2d\n\U0001f600\n", 2, 1.5),
    ],
)
def test_lengths_are_in_characters_without_line_ends(text, longest, mean):
    measures = measure_text(batch_of([text]))

    assert measures.max_line_chars.tolist() == [longest]
    assert measures.mean_line_chars.tolist() == [mean]


def test_a_slice_is_measured_as_its_rows():
    batch = batch_of(["ignored line", "ab\n\u00e9", "xyz", "ignored"])

    assert measure_text(batch.slice(1, 2)).max_line_chars.tolist() == [2, 3]
    assert measure_text(batch.slice(4)).max_line_chars.tolist() == []


def test_bytes_that_are_no_utf8_are_counted_and_never_read_past_the_row():
    data = pa.array([b"ab\xf0", b"\xff\xff", b"\x80x", b"\xf7\xbf\xbf\xbf"], pa.large_binary())
    text = pa.LargeStringArray.from_buffers(4, *data.buffers()[1:])
    measures = measure_text(pa.RecordBatch.from_arrays([text], ["content"]))

    assert measures.max_line_chars.tolist() == [3, 1, 2, 1]
    assert np.isfinite(measures.alphanumeric_fraction).all()
