"""What a reviewer sees of a file: its beginning, with nothing unseen in it, at the price of what is shown."""

import tracemalloc
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.inspection.shown_text import (
    MAX_CHARS,
    MAX_LINE_CHARS,
    MAX_LINES,
    ShownText,
    printable,
    shown_text,
)
from data_contracts.columns import CODE_FILES

CONTENT = pa.schema([CODE_FILES.field("content")])


def shown(content: str, num_lines: int = 1) -> ShownText:
    batch = pa.RecordBatch.from_pydict({"content": ["before", content, "after"]}, CONTENT)
    return shown_text(batch, 1, num_lines)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a\nb\n", "a\nb"),
        ("a\nb", "a\nb"),
        ("a\r\nb\r\n", "a\nb"),
        ("a\rb\r", "a\nb"),
        ("a\n\n", "a\n"),
        ("", ""),
        ("\ta\u00e9\U0001f40d", "\ta\u00e9\U0001f40d"),
        ("a\x00b\x1b[0m", "a⟦U+0000⟧b⟦U+001B⟧[0m"),
        ("a\u202eb\u2066c\u200bd\ufeff", "a⟦U+202E⟧b⟦U+2066⟧c⟦U+200B⟧d⟦U+FEFF⟧"),
        ("a\u2028b\x0bc", "a⟦U+2028⟧b⟦U+000B⟧c"),
    ],
)
def test_a_short_file_is_shown_whole_with_what_is_unseen_told(content: str, text: str) -> None:
    assert shown(content) == ShownText(text, "", has_cut_lines=False)


def test_of_many_lines_the_first_are_shown() -> None:
    whole = "x\n" * MAX_LINES
    assert shown(whole).note == ""

    cut = shown(whole + "more\n", MAX_LINES + 1)
    assert cut.text.count("\n") == MAX_LINES - 1
    assert cut.note == f"The first {MAX_LINES} of {MAX_LINES + 1} lines."


def test_a_long_line_is_cut_with_a_mark() -> None:
    at_limit = shown("é" * MAX_LINE_CHARS)
    assert (at_limit.note, at_limit.has_cut_lines) == ("", False)

    cut = shown("é" * (MAX_LINE_CHARS + 1) + "\nb")
    assert cut == ShownText("é" * MAX_LINE_CHARS + " …\nb", "Lines end after 2,000 characters.", has_cut_lines=True)


def test_a_long_file_of_few_lines_is_cut_between_characters() -> None:
    line = "\U0001f40d" * 1_999 + "\n"
    cut = shown(line * 11)
    assert cut.note == f"The first {MAX_CHARS:,} characters."
    assert cut.text == (line * 10)[:MAX_CHARS].removesuffix("\n")


def test_a_huge_line_costs_no_more_than_what_is_shown() -> None:
    batch = pa.RecordBatch.from_pydict({"content": ["x" * 100_000_000]}, CONTENT)
    tracemalloc.start()
    try:
        told = shown_text(batch, 0, 1)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told.note == "Lines end after 2,000 characters. The first 20,000 characters."
    assert peak_bytes < 2_000_000


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_unseen_is_left_and_nothing_seen_is_lost(text: str) -> None:
    told = printable(text)
    assert all(char in "\n\t" or unicodedata.category(char)[0] not in "C" for char in told)
    seen = [char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cn", "Co")]
    assert [char for char in seen if unicodedata.category(char) not in ("Zl", "Zp")] == [
        char for char in _without_codes(told, text)
    ]
    assert printable(told) == told


def _without_codes(told: str, text: str) -> str:
    for char in set(text) - set("\n\t"):
        if printable(char) != char:
            told = told.replace(printable(char), "")
    return told
