"""The table of verdicts: what it holds, what is refused with a sentence, and how a reviewer's findings enter it."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.inspection_table import (
    COLUMNS,
    Inspection,
    digest_inspections,
    merge_inspections,
    parse_inspections,
    read_inspections,
    starcoder_inspections,
    write_inspections,
)
from components.errors import SourceError

HEADER = ",".join(COLUMNS)
ROW = Inspection(
    "python", ".py", "include", "ada", "2026-11-24", 'looks good, "mostly"\nso far', 2000, "off", 0.5, "off"
)
LIMIT = st.none() | st.just("off")
FRACTION = LIMIT | st.floats(0, 1)
DAYS = st.dates().map(str) | st.just("")
ROWS = st.lists(
    st.builds(
        Inspection,
        st.sampled_from(["python", "c", "cpp", "dockerfile"]),
        st.sampled_from(["", ".py", ".c", ".h++"]),
        st.sampled_from(["include", "exclude", "unsure"]),
        st.sampled_from(["", "ada", "\u00e9mile"]),
        DAYS,
        st.text(st.sampled_from("ab, \"'\n;\u00e9"), max_size=12).map(str.strip),
        LIMIT | st.integers(1, 10**9),
        FRACTION,
        FRACTION,
        LIMIT,
        st.none() | st.integers(1, 20),
        st.none() | st.floats(0, 1),
    ),
    max_size=6,
    unique_by=lambda row: row.key,
)


@given(ROWS)
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "inspection.csv"
    write_inspections(path, rows)

    assert read_inspections(path) == tuple(sorted(rows, key=lambda row: row.key))
    assert os.listdir(path.parent) == [path.name]


def test_a_file_that_is_not_there_holds_nothing(tmp_path):
    assert read_inspections(tmp_path / "none.csv") == ()
    assert digest_inspections(tmp_path / "none.csv") == "absent"


def test_the_digest_is_of_the_bytes(tmp_path):
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    write_inspections(first, [ROW])
    write_inspections(second, [replace(ROW, verdict="exclude")])

    assert len({digest_inspections(first), digest_inspections(second), "absent"}) == 3


def test_columns_at_the_end_may_be_missing():
    assert parse_inspections(b"language,extension,verdict\nc,.h,unsure\n", "t") == (Inspection("c", ".h", "unsure"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("extension,verdict\n.py,include\n", r"line 1 has the columns it should and lacks \['language'\]"),
        (f"{HEADER},mood\n", r"line 1 has the columns \['mood'\] and lacks none"),
        ("language,extension,verdict\npython,.py,maybe\n", "line 2 has the verdict 'maybe'; write include, exclude"),
        ("language,extension,verdict\npython9,.py,include\n", "line 2 names the language 'python9'"),
        ("language,extension,verdict\npython,py,include\n", "line 2 names the ending 'py'; write it in lower case"),
        ("language,extension,verdict\npython,.PY,include\n", "line 2 names the ending '.PY'"),
        ("language,extension,verdict\nc,.c,include\nc,.c,exclude\n", "line 3 judges c .c again"),
        ("language,extension,verdict,date\nc,.c,include,9.5.23\n", "line 2 has the date '9.5.23'; write it as 2023"),
        ("language,extension,verdict,max_line_chars\nc,.c,include,0\n", "max_line_chars '0'; write off, 1 to"),
        ("language,extension,verdict,min_alphabetic_fraction\nc,.c,include,2\n", "fraction '2'; write off, 0 to 1 or"),
        ("language,extension,verdict,min_alphabetic_fraction\nc,.c,include,nan\n", "fraction 'nan'"),
        ("language,extension,verdict,xml_declaration\nc,.c,include,1\n", "xml_declaration '1'; write off or nothing"),
        (
            "language,extension,verdict,near_duplicate_ngram\nc,.c,include,off\n",
            "ngram 'off'; write 1 to 20 or nothing",
        ),
        ("language,extension,verdict\nc,.c\n", "line 2 has not the cells of its header"),
        ("language,extension,verdict\nc,.c,include,more\n", "line 2 has not the cells of its header"),
        ('language,extension,verdict\nc,.c,"include\n', "is not CSV"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, told):
    with pytest.raises(SourceError, match=rf"^table\.csv .*{told}"):
        parse_inspections(text.encode(), "table.csv")


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "inspection.csv").write_bytes(b"language\xff")
    with pytest.raises(SourceError, match="is not UTF-8 at byte 8"):
        read_inspections(tmp_path / "inspection.csv")
    with pytest.raises(SourceError, match="cannot be read"):
        read_inspections(tmp_path)


def test_a_later_verdict_replaces_and_leaves_the_limits_it_does_not_name():
    earlier = replace(ROW, verdict="unsure")
    found = Inspection("python", ".py", "exclude", "grace", "2026-11-25", min_alphabetic_fraction=0.1)
    other = Inspection("c", ".c", "include")

    merged = merge_inspections([earlier], [found, other])
    assert merged == (
        other,
        replace(found, max_line_chars=2000, min_alphanumeric_fraction="off", xml_declaration="off"),
    )


def test_an_older_verdict_changes_nothing():
    assert merge_inspections([ROW], [replace(ROW, verdict="exclude", date="2026-11-23")]) == (ROW,)


@given(ROWS, ROWS)
def test_merging_twice_is_merging_once(before, found):
    once = merge_inspections(before, found)

    assert merge_inspections(once, found) == once
    assert {row.key for row in once} == {row.key for row in (*before, *found)}


def test_nothing_is_written_that_could_not_be_read(tmp_path):
    write_inspections(tmp_path / "inspection.csv", [ROW])
    with pytest.raises(SourceError, match="names the language 'klingon'"):
        write_inspections(tmp_path / "inspection.csv", [replace(ROW, language="klingon")])

    assert read_inspections(tmp_path / "inspection.csv") == (ROW,)


def test_starcoders_own_table_is_sound():
    rows = starcoder_inspections()

    assert [row.key for row in rows] == sorted(row.key for row in rows)
    assert {row.reviewer for row in rows} == {"StarCoder"}
    # The paper's 36, but for .rkt: see test_quality_limits.py.
    assert sum(row.verdict == "exclude" for row in rows) == 35
