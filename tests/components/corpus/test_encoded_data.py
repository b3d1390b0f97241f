"""Base64, hexadecimal bytes and escapes: the scanner finds what the regular expressions of its docstring find."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.corpus.encoded_data import find_encoded_data

UNIT = r"(?:(?<!\w)0[xX][0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}|(?<!\w)[0-9A-Fa-f]{2})(?!\w)"
PATTERNS = [
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"[A-Za-z0-9+/=\n]{64,}",
        r"(?:\\u[0-9A-Fa-f]{4}){8,}",
        rf"{UNIT}(?:[, \t\n\r\f\v]*{UNIT}){{7,}}",
    )
]
PIECES = ["41", " ", ",", "0x41", "\\x41", "\\u0041", "\n", "g", "a", "0", "_", "\\", "0x", "\u00e9", "\t"]
RUNS = ["AbC+" * 16, "\\u00e9" * 8, "1f, " * 9, "\\x1f" * 8, "0xFF " * 8]


def found_in(texts):
    batch = pa.RecordBatch.from_pydict({"content": pa.array(texts, pa.large_string())})
    found = find_encoded_data(batch, np.arange(len(texts)))
    return list(zip(found.max_match_chars.tolist(), found.matched_chars.tolist(), strict=True))


def expected(text):
    spans = [match.span() for pattern in PATTERNS for match in pattern.finditer(text)]
    covered = {position for start, end in spans for position in range(start, end)}
    return max((end - start for start, end in spans), default=0), len(covered)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES) | st.sampled_from(RUNS), max_size=40).map("".join))
@example("x" + "41 " * 8)
@example("41 " * 7 + "41g")
@example("\\u0041" * 7 + "\\u004" + "\\u0041" * 8)
def test_the_scanner_agrees_with_the_patterns(text):
    assert found_in([text]) == [expected(text)]


@pytest.mark.parametrize(
    ("text", "longest", "matched"),
    [
        ("QUJD" * 300, 1200, 1200),
        ("x = '" + "QUJD" * 20 + "'\n", 80, 80),
        ("QUJD" * 15 + "abc", 0, 0),
        ("0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07\n", 46, 46),
        ("0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06\n", 0, 0),
        ("'\\x00\\x01\\x02\\x03\\x04\\x05\\x06\\x07'", 32, 32),
        ("'\\u00e9\\u00e8\\u00e9\\u00e8\\u00e9\\u00e8\\u00e9\\u00e8'", 48, 48),
        ("for name in names:\n    print(name)\n" * 9, 0, 0),
    ],
)
def test_examples_of_each_pattern(text, longest, matched):
    assert found_in([text]) == [(longest, matched)]


def test_rows_that_are_left_out_are_not_looked_at():
    batch = pa.RecordBatch.from_pydict({"content": pa.array(["QUJD" * 20] * 3, pa.large_string())})

    assert find_encoded_data(batch.slice(1), np.array([1])).matched_chars.tolist() == [0, 80]


@pytest.mark.parametrize(
    ("unit", "matched"),
    [
        ("41 ", 2_999_999),
        (" ", 0),
        ("\\", 0),
        ("\\x4", 0),
        ("0x", 3_000_000),
        ("a", 3_000_000),
        ("4 4 4 4 4 4 4 4 4 4 4 4 g ", 0),
        ("\\u004", 0),
        ("41 41 41 41 41 41 41 g", 0),
    ],
)
def test_megabytes_of_almost_matches_are_read_to_the_end(unit, matched):
    """A scanner that went back would need hours for each."""
    text = unit * (3_000_000 // len(unit))

    assert found_in([text]) == [(matched, matched)]
