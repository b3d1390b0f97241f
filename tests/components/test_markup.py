"""Marks: what comes from outside can neither forge nor break one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.markup import CLOSE, OPEN, Mark, between_marks, mark, plain, split_marks, visible

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
TEXTS = st.text() | st.text(alphabet=[OPEN, CLOSE, "a", "<", ">", "_", "1"])


@given(st.lists(TEXTS | NAMES.map(Mark), max_size=12))
def test_a_document_comes_apart_into_what_it_was_laid_out_of(parts: list[Mark | str]):
    content = "".join(mark(part.name) if isinstance(part, Mark) else plain(part) for part in parts)
    pieces = split_marks(content)
    assert [piece for piece in pieces if isinstance(piece, Mark)] == [part for part in parts if isinstance(part, Mark)]
    texts = "".join(piece for piece in pieces if isinstance(piece, str))
    assert texts == "".join(plain(part) for part in parts if isinstance(part, str))


@given(TEXTS)
def test_a_plain_text_holds_no_mark_and_keeps_its_length(text: str):
    assert not any(isinstance(piece, Mark) for piece in split_marks(plain(text)))
    assert len(plain(text)) == len(text)
    assert plain(text) == text or OPEN in text or CLOSE in text


def test_a_reader_sees_the_tokens_spelling():
    assert visible(mark("issue_start") + "Title: a <b>") == "<issue_start>Title: a <b>"


@pytest.mark.parametrize("name", ["", "Issue", "issue-start", "a b", "<x>", "1a"])
def test_what_is_no_tokens_name_is_refused(name: str):
    with pytest.raises(ValueError, match="token's name"):
        mark(name)


def test_a_span_comes_apart_at_its_marks():
    content = f"ab{mark('one')}cd{mark('two')}{mark('three')}{OPEN}ef".encode()
    pieces = [content[start:end].decode() for start, end in between_marks(content, 0, len(content))]
    assert pieces == ["ab", "cd", f"{OPEN}ef"]
    assert between_marks(content, 0, 2) == [(0, 2)]
    assert between_marks(content, 3, 2) == [(3, 2)]
