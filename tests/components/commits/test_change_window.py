"""The changed window: it begins where the change does, holds all of it, and invents nothing around it."""

from collections import Counter
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.commits.change_window import ChangedSpan, changed_span, choose_window, lines_of

FILE_IDS = [f"{number:032x}" for number in range(4000)]

few_lines = st.lists(st.sampled_from(["a", "b", "c", "", "d\r"]), max_size=12).map("\n".join)
any_text = st.text(st.characters(codec="utf-8"), max_size=60)
texts = few_lines | any_text


def window(before, after, file_id=FILE_IDS[0], whole=0.0, context=31, seed=7):
    return choose_window(
        before, after, whole_file_fraction=whole, max_context_lines=context, seed=seed, file_id=file_id
    )


def numbered(count):
    return [f"line {number}\n" for number in range(count)]


def test_the_range_of_a_change_at_line_250_is_250_to_251_and_not_0_to_251():
    before = numbered(500)
    after = [*before[:250], "changed\n", *before[251:]]

    assert changed_span(before, after) == ChangedSpan(start=250, before_end=251, after_end=251)
    assert changed_span(before, after).num_lines == 1


@pytest.mark.parametrize(
    ("before", "after", "span"),
    [
        ("abc", "abXc", (2, 2, 3)),
        ("abXc", "abc", (2, 3, 2)),
        ("abc", "Xabc", (0, 0, 1)),
        ("abc", "abcX", (3, 3, 4)),
        ("", "abc", (0, 0, 3)),
        ("abc", "", (0, 3, 0)),
        ("aa", "a", (1, 2, 1)),
        ("a", "aa", (1, 1, 2)),
        ("abcdefg", "aXcdeYg", (1, 6, 6)),
        ("abc", "abc", (3, 3, 3)),
    ],
)
def test_spans_of_insertions_deletions_and_repeated_lines(before, after, span):
    assert changed_span(before, after) == ChangedSpan(*span)


@given(texts, texts)
def test_outside_the_span_both_are_equal_and_no_shorter_span_will_do(before, after):
    old, new = lines_of(before), lines_of(after)
    span = changed_span(old, new)

    assert old[: span.start] == new[: span.start]
    assert old[span.before_end :] == new[span.after_end :]
    assert span.start <= span.before_end
    assert span.start <= span.after_end
    inside = old[span.start : span.before_end], new[span.start : span.after_end]
    if all(inside):
        assert inside[0][0] != inside[1][0]
        assert inside[0][-1] != inside[1][-1]


@given(texts, texts)
def test_no_diff_of_both_spans_fewer_lines_than_the_window(before, after):
    old, new = lines_of(before), lines_of(after)
    shown = window(before, after, context=0)
    start = changed_span(old, new).start
    changes = [code for code in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if code[0] != "equal"]

    if changes:
        first, last = changes[0], changes[-1]
        assert first[1] <= start
        assert last[2] >= start + len(lines_of(shown.before))
        assert last[4] >= start + len(lines_of(shown.after))


@given(texts, texts, st.sampled_from(FILE_IDS), st.integers(0, 31))
def test_the_window_with_what_both_share_around_it_is_the_file_again(before, after, file_id, context):
    shown = window(before, after, file_id, context=context)
    old, new = lines_of(before), lines_of(after)
    span = changed_span(old, new)

    places = [
        (above, below)
        for above in range(min(context, span.start) + 1)
        for below in range(min(context, len(old) - span.before_end) + 1)
        if shown.before == "".join(old[span.start - above : span.before_end + below])
        and shown.after == "".join(new[span.start - above : span.after_end + below])
    ]
    assert places, "the window is no window of both files with the same lines around the change"
    above, below = places[0]
    head, tail = "".join(old[: span.start - above]), "".join(old[span.before_end + below :])
    assert head + shown.before + tail == before
    assert head + shown.after + tail == after


@given(any_text)
def test_lines_joined_are_the_text_and_only_a_newline_ends_one(text):
    lines = lines_of(text)

    assert "".join(lines) == text
    assert all(line.endswith("\n") for line in lines[:-1])
    assert not any("\n" in line[:-1] for line in lines)


def test_the_lines_above_and_below_are_independent_and_each_number_is_as_likely():
    before = numbered(201)
    after = [*before[:100], "changed\n", *before[101:]]
    seen = Counter()
    for file_id in FILE_IDS:
        shown = lines_of(window("".join(before), "".join(after), file_id).after)
        at = shown.index("changed\n")
        seen[at, len(shown) - at - 1] += 1

    above, below = Counter(), Counter()
    for (lines_above, lines_below), times in seen.items():
        above[lines_above] += times
        below[lines_below] += times
    # 125 of each are expected; six standard deviations are 66.
    for counts in (above, below):
        assert set(counts) == set(range(32))
        assert all(59 <= times <= 191 for times in counts.values())
    # Of 4000 draws out of 1024 pairs 20 are expected to be missed; were both draws one, 992 would be.
    assert len(seen) > 980


def test_a_fifth_is_shown_whole_whoever_asks_and_in_whatever_order():
    before, after = "".join(numbered(300)), "".join([*numbered(299), "changed\n"])
    asked = [window(before, after, file_id, whole=0.2) for file_id in FILE_IDS]
    whole = [shown for shown in asked if shown.is_whole_file]

    assert asked[::-1] == [window(before, after, file_id, whole=0.2) for file_id in reversed(FILE_IDS)]
    assert all((shown.before, shown.after) == (before, after) for shown in whole)
    assert 650 <= len(whole) <= 950
    assert asked != [window(before, after, file_id, whole=0.2, seed=8) for file_id in FILE_IDS]


def test_files_that_a_diff_would_need_hours_for_are_read_once():
    before = "a\nb\n" * 50_000
    after = "b\na\n" * 50_000

    assert window(before, after, context=0).after == after
    assert window("x\n" + before + "y\n", "x\n" + after + "y\n", context=0).before == before
