"""Many strings at once, against one after the other and against an Aho-Corasick automaton. About 5 s."""

import random

import ahocorasick
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.string_search import StringSearch


def _buffers(texts):
    texts = [text.encode() for text in texts]
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)], dtype=np.int64)


def _found(strings, texts):
    found = StringSearch(*_buffers(strings)).occurrences(*_buffers(texts))
    return list(zip(*(column.tolist() for column in (found.rows, found.first, found.indices, found.end)), strict=True))


def _one_by_one(strings, texts):
    found = []
    for row, text in enumerate(texts):
        for index, string in enumerate(strings):
            first = text.find(string)
            while first >= 0:
                found.append((row, first, index, first + len(string)))
                first = text.find(string, first + 1)
    return sorted(found)


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.text("ab", min_size=1, max_size=30), max_size=8),
    st.lists(st.text("ab", max_size=200), max_size=4),
)
def test_every_occurrence_is_found_and_nothing_else(strings, texts):
    assert _found(strings, texts) == _one_by_one(strings, texts)


@settings(deadline=None)  # the first call compiles
@given(st.integers(20, 120), st.text("abc", min_size=300, max_size=300), st.lists(st.integers(0, 250), max_size=5))
def test_long_strings_are_found_wherever_they_stand(length, text, places):
    """With long strings few places of a text are looked at."""
    strings = list(dict.fromkeys(text[place : place + length] for place in places if place + length <= len(text)))
    assert _found(strings, [text, text[1:], text[:-1]]) == _one_by_one(strings, [text, text[1:], text[:-1]])


def test_strings_of_the_same_beginning_are_told_apart():
    strings = ["the same beginning for all, then one", "the same beginning for all, then two"]
    assert [index for _, _, index, _ in _found(strings, [f"{strings[1]} {strings[0]}"])] == [1, 0]


def test_nothing_to_look_for_is_found_nowhere():
    assert _found([], ["some text"]) == []
    assert _found(["some text"], []) == []


def test_real_files_hold_what_an_automaton_finds_in_them(library_files):
    """3,000 pieces of the library's files, looked for in all of them."""
    texts = [row["content"] for row in library_files if row["content"].isascii()]
    draw = random.Random(1)
    strings = set()
    while len(strings) < 3_000:
        text = draw.choice(texts)
        place, length = draw.randrange(len(text) + 1), draw.randrange(40, 400)
        strings.add(text[place : place + length].ljust(40, "~"))
    strings = sorted(strings)
    automaton = ahocorasick.Automaton()
    for index, string in enumerate(strings):
        automaton.add_word(string, (index, len(string)))
    automaton.make_automaton()
    expected = [
        (row, last + 1 - length, index, last + 1)
        for row, text in enumerate(texts)
        for last, (index, length) in automaton.iter(text)
    ]
    assert len(expected) > 2_000
    assert _found(strings, texts) == sorted(expected)
    assert all(texts[row][first:end] == strings[index] for row, first, index, end in expected)
