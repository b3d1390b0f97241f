"""Colours are right, cover the text, and never cost more than their time: a lexer that hangs or dies is replaced."""

import os
import re
import signal
import time

import psutil
from hypothesis import given, settings
from hypothesis import strategies as st
from pygments.lexers import find_lexer_class_by_name

from components.inspection.highlight_code import LEXERS, PLAIN, CodeText, Highlighter, Marked, mark_text
from components.sources.language_table import LANGUAGES

FUNCTION = CodeText("python", "def f():\n    return 'a'  # b\n")


def runs_of(marked: Marked | None) -> list[tuple[int, str]]:
    assert marked is not None
    found = re.findall(r"(\d+)([a-z_])", marked.runs)
    assert "".join(length + letter for length, letter in found) == marked.runs
    return [(int(length), letter) for length, letter in found]


def parts_of(code: CodeText) -> list[tuple[str, str]]:
    units, parts, at = code.text.encode("utf-16-le"), [], 0
    for length, letter in runs_of(mark_text(code)):
        parts.append((units[2 * at : 2 * (at + length)].decode("utf-16-le"), letter))
        at += length
    assert 2 * at == len(units)
    return parts


def test_each_part_has_the_letter_of_its_kind() -> None:
    parts = dict(parts_of(FUNCTION))
    assert (parts["def"], parts["f"], parts["return"], parts["'a'"], parts["# b"]) == ("k", "f", "k", "s", "c")


def test_lengths_are_those_that_a_browser_counts() -> None:
    parts = parts_of(CodeText("python", "s = '\U0001f40d\U0001f40d'  # \u00e9\n"))
    assert ("'\U0001f40d\U0001f40d'", "s") in parts
    assert ("# \u00e9", "c") in parts


def test_what_is_not_of_the_language_is_counted() -> None:
    assert mark_text(CodeText("json", '{"a": 1}')).num_errors == 0
    assert mark_text(CodeText("json", "{?a: !}")).num_errors > 0


def test_a_language_without_lexer_and_no_text_are_plain() -> None:
    assert mark_text(CodeText("no such language", "x")) is None
    assert mark_text(CodeText("python", "")) == Marked("", 0)


def test_the_table_of_lexers_names_languages_of_ours_and_lexers_of_theirs() -> None:
    assert set(LEXERS) <= {language.name for language in LANGUAGES}
    for name in LEXERS.values():
        assert find_lexer_class_by_name(name)


@settings(max_examples=60)
@given(
    st.sampled_from(["python", "c", "html", "javascript", "markdown", "yaml", "perl", "ruby", "shell"]),
    st.text(st.sampled_from("ab1 \n\t\"'`<>{}()[]#/*\\$@:=;\u00e9\U0001f40d"), max_size=200),
)
def test_every_text_is_covered_to_its_end(language: str, text: str) -> None:
    marked = mark_text(CodeText(language, text))
    if marked is not None:
        assert sum(length for length, _ in runs_of(marked)) == len(text.encode("utf-16-le")) // 2


def test_texts_are_marked_in_their_order_by_several_processes() -> None:
    codes = [CodeText("python", f"x = {'1' * (number % 7)}  # {number}\n") for number in range(40)]
    with Highlighter(2) as highlighter:
        assert list(highlighter.mark_texts(codes)) == [mark_text(code) for code in codes]


def test_a_lexer_that_takes_too_long_is_stopped_and_the_next_text_is_marked() -> None:
    endless = CodeText("python", "f(1, 'a')\n" * 2_000_000)  # 20 MB: a lexer reads 1 or 2 in a second
    with Highlighter(1, max_seconds=1.0) as highlighter:
        list(highlighter.mark_texts([FUNCTION]))
        started = time.monotonic()
        assert list(highlighter.mark_texts([endless])) == [None]
        assert time.monotonic() - started < 10
        assert list(highlighter.mark_texts([FUNCTION])) == [mark_text(FUNCTION)]


def test_a_process_that_dies_costs_one_text_its_colours() -> None:
    before = {process.pid for process in _lexers()}  # other tests' pools, which look the same
    with Highlighter(1) as highlighter:
        list(highlighter.mark_texts([FUNCTION]))
        [lexer] = (process for process in _lexers() if process.pid not in before)
        os.kill(lexer.pid, signal.SIGKILL)
        assert list(highlighter.mark_texts([FUNCTION, FUNCTION])) == [None, mark_text(FUNCTION)]


def test_no_process_outlives_the_highlighter() -> None:
    before = {process.pid for process in _lexers()}
    with Highlighter(2) as highlighter:
        list(highlighter.mark_texts([FUNCTION, FUNCTION]))
        own = {process.pid for process in _lexers()} - before
        assert own
    assert not own & {process.pid for process in _lexers()}


def test_plain_is_a_letter_of_the_marks() -> None:
    assert runs_of(mark_text(CodeText("python", "  \n"))) == [(3, PLAIN)]


def _lexers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
