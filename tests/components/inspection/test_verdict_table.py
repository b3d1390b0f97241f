"""How verdicts enter the table: checked, one at a time whoever writes, and never at the price of what stands in it."""

import csv
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from components.corpus.inspection_table import Inspection, read_inspections, write_inspections
from components.errors import SourceError
from components.inspection.verdict_table import FORM, MAX_COMMENT_CHARS, VerdictTable, cells_of

DAY = date(2026, 11, 24)
FORM_OF_PYTHON = {"language": "python", "extension": ".py", "verdict": "include"}
ROW = Inspection("python", ".py", "unsure", "Ada", "2026-11-20", "hm", max_line_chars=2_000, near_duplicate_ngram=3)


@pytest.fixture
def table(tmp_path: Path) -> VerdictTable:
    """A table that nobody has written yet."""
    return VerdictTable(tmp_path / "inspection.csv", tmp_path / "state" / "inspection.lock")


def test_a_verdict_makes_the_table(table: VerdictTable) -> None:
    assert table.rows() == ()
    row = table.record(FORM_OF_PYTHON | {"comment": "fine", "max_line_chars": "off"}, "Ada", DAY)

    assert row == Inspection("python", ".py", "include", "Ada", "2026-11-24", "fine", max_line_chars="off")
    assert table.rows() == (row,)


def test_a_new_verdict_replaces_the_old_and_lifts_limits_but_those_that_no_form_shows(table: VerdictTable) -> None:
    write_inspections(table.path, [ROW, Inspection("c", ".c", "include")])
    row = table.record(FORM_OF_PYTHON, "Grace", DAY)

    assert row == Inspection("python", ".py", "include", "Grace", "2026-11-24", near_duplicate_ngram=3)
    assert table.rows() == (Inspection("c", ".c", "include"), row)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mood": "good"}, "has the field 'mood', which the table does not know"),
        ({"reviewer": "Mallory"}, "has the field 'reviewer'"),
        ({"near_duplicate_ngram": "3"}, "has the field 'near_duplicate_ngram'"),
        ({"verdict": "maybe"}, "has the verdict 'maybe'; write include, exclude, unsure"),
        ({"verdict": None}, "has verdict None, which is no text"),
        ({"max_line_chars": 2000}, "has max_line_chars 2000, which is no text"),
        ({"max_line_chars": "long"}, "has max_line_chars 'long'; write off, 1 to"),
        ({"min_alphanumeric_fraction": "1.5"}, "'1.5'; write off, 0 to 1 or nothing"),
        ({"min_alphabetic_fraction": "nan"}, "'nan'"),
        ({"xml_declaration": "on"}, "xml_declaration 'on'; write off or nothing"),
        ({"language": "klingon"}, "names the language 'klingon'"),
        ({"extension": "py"}, "names the ending 'py'"),
        ({"comment": "x" * (MAX_COMMENT_CHARS + 1)}, "a comment of 1001 characters; 1000 fit"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(table: VerdictTable, changes: dict[str, Any], told: str) -> None:
    write_inspections(table.path, [ROW])
    before = table.path.read_bytes()
    with pytest.raises(SourceError, match=rf"^the verdict .*{told}"):
        table.record(FORM_OF_PYTHON | changes, "Ada", DAY)
    assert table.path.read_bytes() == before


def test_a_comment_is_one_line_of_things_that_are_seen(table: VerdictTable) -> None:
    hostile = '  "a, b"\r\n=cmd()\x1b[2J\u202e <script>\ud800 '
    row = table.record(FORM_OF_PYTHON | {"comment": hostile}, "Ada\n\x1b[0m", DAY)

    assert row.comment == '"a, b" =cmd()\ufffd[2J\ufffd <script>\ufffd'
    assert row.reviewer == "Ada \ufffd[0m"
    with table.path.open(encoding="utf-8", newline="") as file:
        assert [cells["comment"] for cells in csv.DictReader(file)] == [row.comment]


def test_the_form_is_what_the_cells_of_a_row_hold(table: VerdictTable) -> None:
    row = table.record(FORM_OF_PYTHON | {"min_alphabetic_fraction": "0.125"}, "Ada", DAY)
    again = table.record({name: cells_of(row)[name] for name in FORM}, "Ada", DAY)
    assert again == row


def test_verdicts_of_many_threads_all_arrive(table: VerdictTable) -> None:
    endings = [("cpp", f"{e}") for e in (".cpp", ".cc", ".hpp", ".hh", ".cxx", ".hxx", ".h++", ".c++")] * 3
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda e: table.record({"language": e[0], "extension": e[1], "verdict": "unsure"}, "", DAY), endings
            )
        )
    assert {row.key for row in table.rows()} == set(endings)


def test_verdicts_of_several_processes_all_arrive(table: VerdictTable) -> None:
    context = multiprocessing.get_context("fork")
    names = ["ada", "agda", "awk", "c"]
    processes = [context.Process(target=_judge_endings, args=(table, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert {row.key for row in table.rows()} == {(name, f".{number}") for name in names for number in range(6)}


def _judge_endings(table: VerdictTable, language: str) -> None:
    for number in range(6):
        table.record({"language": language, "extension": f".{number}", "verdict": "include"}, language, DAY)


def test_a_damaged_table_is_told_and_left_alone(table: VerdictTable) -> None:
    table.path.write_text("language,extension,verdict\npython,.py,perhaps\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"inspection\.csv line 2 has the verdict 'perhaps'"):
        table.record(FORM_OF_PYTHON, "Ada", DAY)
    assert "perhaps" in table.path.read_text(encoding="utf-8")


def test_a_downloaded_file_is_merged_by_day(table: VerdictTable, tmp_path: Path) -> None:
    standing = Inspection("c", ".c", "exclude", "Ada", "2026-11-23")
    write_inspections(table.path, [ROW, standing])
    found = [
        Inspection("c", ".c", "include", "Bob", "2026-11-22"),
        Inspection("html", ".html", "unsure", "Bob", "2026-11-22"),
        Inspection("python", ".py", "exclude", "Bob", "2026-11-22"),
    ]
    write_inspections(tmp_path / "bob.csv", found)
    taken = table.take(tmp_path / "bob.csv")

    merged = replace(found[2], max_line_chars=2_000, near_duplicate_ngram=3)
    assert taken.taken == (found[1], merged)
    assert taken.passed_over == (found[0],)
    assert table.rows() == (standing, found[1], merged)


def test_what_a_file_brings_is_cleaned_as_what_a_form_brings(table: VerdictTable, tmp_path: Path) -> None:
    write_inspections(tmp_path / "bob.csv", [replace(ROW, reviewer="B\x1b[0m", comment="two\nlines\u202e")])
    [row] = table.take(tmp_path / "bob.csv").taken
    assert (row.reviewer, row.comment) == ("B\ufffd[0m", "two lines\ufffd")


def test_taking_a_file_twice_is_taking_it_once(table: VerdictTable, tmp_path: Path) -> None:
    write_inspections(tmp_path / "bob.csv", [ROW])
    table.take(tmp_path / "bob.csv")
    before = table.path.read_bytes()
    table.take(tmp_path / "bob.csv")
    assert table.path.read_bytes() == before


def test_a_file_that_is_missing_or_wrong_gives_nothing(table: VerdictTable, tmp_path: Path) -> None:
    write_inspections(table.path, [ROW])
    with pytest.raises(SourceError, match=r"there is no file .*nobody\.csv; give the one that the page"):
        table.take(tmp_path / "nobody.csv")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("language,extension,verdict\nc,.c,include\nc,.h,no\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"wrong\.csv line 3 has the verdict 'no'"):
        table.take(wrong)
    assert read_inspections(table.path) == (ROW,)
