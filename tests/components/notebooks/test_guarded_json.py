"""JSON that means harm is measured and refused; the rest is read as Python's own parser reads it."""

import json
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.notebooks.guarded_json import JsonLimits, parse_json
from components.sources.source_files import Refusal

LIMITS = JsonLimits(depth=100, values=10_000)
WANTED = ("a", "b", "c")

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcde") | st.text(), inner, max_size=4)
    ),
    max_leaves=30,
)


def reduced(tree):
    if isinstance(tree, dict):
        return {name: reduced(value) for name, value in tree.items() if name in WANTED}
    return [reduced(item) for item in tree] if isinstance(tree, list) else tree


def depth_of(tree):
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(trees, st.booleans())
def test_what_is_read_is_what_was_written_without_what_is_not_wanted(tree, ascii_only):
    text = json.dumps(tree, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert parse_json(text, LIMITS, WANTED) == reduced(tree)


@given(trees)
def test_the_depth_is_that_of_the_tree_and_brackets_in_strings_are_none(tree):
    text = json.dumps([tree, '[[[{{{\\"[[[', "\\"]).encode()
    depth = 1 + depth_of(tree)
    assert not isinstance(parse_json(text, JsonLimits(depth, 10_000), WANTED), Refusal)
    assert parse_json(text, JsonLimits(depth - 1, 10_000), WANTED) == Refusal("json_depth", str(depth), str(depth - 1))


@given(st.binary(max_size=60) | st.text(alphabet='[]{},:"\\u0de 1tfn', max_size=60).map(str.encode))
def test_no_bytes_are_an_error(data):
    try:
        expected = json.loads(data.decode("utf-8-sig"))
    except ValueError:
        assert isinstance(parse_json(data, LIMITS, WANTED), Refusal)
    else:
        assert parse_json(data, LIMITS, WANTED) == reduced(expected)


@pytest.mark.parametrize(
    "brackets", [b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000, b"[" * 5_000_000]
)
def test_ten_thousand_levels_are_refused_and_five_million_take_no_longer_than_to_count_them(brackets):
    refusal = parse_json(brackets, LIMITS, WANTED)
    assert refusal == Refusal("json_depth", str(brackets.count(b"[") + brackets.count(b"{")), "100")


def test_what_is_refused_does_not_depend_on_how_deep_the_caller_is():
    text = b"[" * 100 + b"]" * 100

    def called_from(depth):
        return called_from(depth - 1) if depth else parse_json(text, LIMITS, WANTED)

    frames = 0
    frame = sys._getframe()
    while frame := frame.f_back:
        frames += 1
    assert called_from(sys.getrecursionlimit() - frames - 150) == called_from(0)


@pytest.mark.parametrize(
    ("data", "rule", "value"),
    [
        (b"", "not_json", "Expecting value at character 0"),
        (b'{"a": [1, 2', "not_json", "Expecting ',' delimiter at character 11"),
        (b'{"a": 1} x', "not_json", "Extra data at character 9"),
        (b'"a\x00b"', "not_json", "Invalid control character at character 2"),
        (b"\x00[]", "not_json", "Expecting value at character 0"),
        (b'["\xff"]', "not_utf8", "byte 0xff at 2"),
        (b"1" * 5000, "not_json", "a number of more than 4300 digits"),
        (b"[" + b"0," * 10_000 + b"0]", "json_values", "10001"),
    ],
)
def test_why_a_text_is_refused(data, rule, value):
    refusal = parse_json(data, LIMITS, WANTED)
    assert (refusal.rule, refusal.value) == (rule, value)


def test_a_mark_of_byte_order_is_no_part_of_the_text():
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', LIMITS, WANTED) == {"a": 1}


def test_of_members_with_one_name_the_last_counts():
    assert parse_json(b'{"a": 1, "a": 2}', LIMITS, WANTED) == {"a": 2}


def test_what_is_not_wanted_is_not_kept_in_memory():
    """Twenty members of 1 MB: the text and its decoded form, but not the strings made of it as well."""
    data = json.dumps([{"image": chr(65 + index) * 2**20, "a": index} for index in range(20)]).encode()
    parse_json(b"[]", LIMITS, WANTED)
    tracemalloc.start()
    try:
        assert parse_json(data, LIMITS, WANTED) == [{"a": index} for index in range(20)]
        assert tracemalloc.get_traced_memory()[1] < 1.25 * len(data)
    finally:
        tracemalloc.stop()
