import json

import pytest

from data_contracts.contract import Column, JsonRecords, ListSum
from data_contracts.expectations import HasColumns, Severity
from data_contracts.json_records import found_type, read_document, records_in, rows_of


def view(records, *columns, **changes):
    return JsonRecords(
        name="v",
        file="a.json",
        records=records,
        columns=tuple(Column(name=name, type=kind) for name, kind in columns),
        expectations=(HasColumns(severity=Severity.BLOCK, why="w"),),
        **changes,
    )


def test_the_way_enters_members_and_items_and_captures_keys():
    document = {"splits": {"train": {"shards": [{"n": 1}, {"n": 2}]}, "test": {"shards": []}, "odd": 7}}
    assert records_in(document, ("splits", "{split}", "shards", "[]")) == [
        ({"split": "train"}, {"n": 1}),
        ({"split": "train"}, {"n": 2}),
    ]
    assert records_in(document, ()) == [({}, document)]
    assert records_in([1], ("splits",)) == []


def test_members_of_an_object_are_summed_as_items_of_a_list_are(tmp_path):
    there = view((), sums=(ListSum(name="total", items="parts", field="n"),))
    assert rows_of(there, tmp_path, {"parts": {"a": {"n": 2}, "b": {"n": 3}}})["total"] == [5]
    assert rows_of(there, tmp_path, {"parts": {"a": {"n": 2}, "b": 3}})["total"] == [None]


def test_columns_reach_into_inner_objects_and_sum_lists(tmp_path):
    document = {"held_out": {"bytes": 5}, "parts": [{"n": 2}, {"n": 3}]}
    rows = rows_of(
        view((), ("held_out.bytes", "int64"), sums=(ListSum(name="total", items="parts", field="n"),)),
        tmp_path,
        document,
    )
    assert rows == {"document": ["a.json"], "held_out.bytes": [5], "total": [5]}


@pytest.mark.parametrize("parts", [[{"n": 2}, {}], [{"n": "2"}], {"n": 2}, None, [2**62, 7], [{"n": 2**63}]])
def test_a_sum_of_anything_but_integers_is_null(tmp_path, parts):
    there = view((), sums=(ListSum(name="total", items="parts", field="n"),))
    assert rows_of(there, tmp_path, {"parts": parts})["total"] == [None]


@pytest.mark.parametrize(
    ("kind", "value", "kept", "found"),
    [
        ("int64", 3, 3, "int64"),
        ("int64", None, None, "int64"),
        ("int64", 3.5, None, "float"),
        ("int64", True, None, "bool"),
        ("int64", 2**64, None, "int"),
        ("double", 3, 3.0, "double"),
        ("double", "3", None, "str"),
        ("double", 10**400, None, "int"),
        ("string", "x", "x", "string"),
        ("string", ["x"], None, "list"),
        ("string", "\ud800", "\\ud800", "string"),
    ],
)
def test_a_value_of_another_type_becomes_null_and_is_told(tmp_path, kind, value, kept, found):
    there = view((), ("a", kind))
    assert rows_of(there, tmp_path, {"a": value})["a"] == [kept]
    assert found_type(there, {"a": value}, there.columns[0]) == found


def test_a_column_that_no_record_has_is_absent(tmp_path):
    there = view(("[]",), ("a", "int64"))
    assert found_type(there, [{"b": 1}], there.columns[0]) == "absent"
    assert found_type(there, [], there.columns[0]) == "int64"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "", "a\0b", "x" * 300, "sub", None])
def test_only_a_file_beside_the_document_has_a_size(tmp_path, name):
    inner = tmp_path / "artifact"
    (inner / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"12345")
    (inner / "shard").write_bytes(b"1234")
    there = view(("[]",), ("file", "string"), sized="file", key=("file",))
    rows = rows_of(there, inner, [{"file": "shard"}, {"file": name}])
    assert rows["file_bytes"] == [4, None]


@pytest.mark.parametrize(
    ("text", "fault"), [("{", "unreadable"), ("[" * 200_000, "unreadable"), ("\xff", "unreadable"), (None, "absent")]
)
def test_a_document_that_cannot_be_read_says_why(tmp_path, text, fault):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert read_document(path) == (None, fault)


def test_numbers_that_json_does_not_have_are_null(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a": float("nan"), "b": float("inf")}), "utf-8")
    assert read_document(tmp_path / "a.json") == ({"a": None, "b": None}, None)
