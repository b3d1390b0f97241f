import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_contracts.expectations import Severity
from data_contracts.report import ContractReport, ExpectationResult, FailingRow, ViewSize, plain, verdict_of


def result(**changes):
    fields = {
        "view": "files",
        "text": "size_bytes must be at least 1",
        "severity": Severity.BLOCK,
        "why": "An empty file teaches nothing.",
        "success": False,
        "observed": "2 of 8 rows of files fail",
        "rows": 8,
        "failing_rows": 2,
        "examples": (FailingRow(key=("python/cpython", "Lib/a|b.py"), value="0"),),
    }
    return ExpectationResult(**(fields | changes))


def report(*results):
    return ContractReport(
        artifact="raw_files",
        contract_digest="ab" * 32,
        verdict=verdict_of(results),
        views=(ViewSize(view="files", rows=8, rows_total=900),),
        results=results,
        unchecked=("against_raw_files",),
    )


def test_only_a_blocking_failure_blocks():
    held = result(success=True)
    warned = result(severity=Severity.WARN)
    assert report(held).verdict == "passed"
    assert report(held, warned).verdict == "warned"
    assert not report(held, warned).blocked
    assert report(warned, result()).blocked


def test_the_sentence_names_the_expectation_and_a_row():
    assert report(result()).sentence() == (
        "contract of raw_files broken: size_bytes must be at least 1: 2 of 8 rows of files fail, "
        "for example python/cpython:Lib/a|b.py (0)"
    )


def test_the_sentence_is_about_the_blocking_failure_and_counts_the_others():
    warned = result(severity=Severity.WARN, text="stars must be at least 0")
    sentence = report(warned, result()).sentence()
    assert "size_bytes must be" in sentence
    assert sentence.endswith("(and 1 more broken)")


def test_a_warning_says_that_the_contract_holds():
    assert report(result(severity=Severity.WARN)).sentence().startswith("contract of raw_files holds with a warning: ")


def test_a_report_survives_json():
    there = report(result(), result(success=True, examples=()))
    assert ContractReport.model_validate_json(there.model_dump_json()) == there


def test_markdown_tells_the_reason_and_keeps_its_table_whole():
    lines = report(result()).to_markdown().splitlines()
    assert lines[0] == "## raw_files: blocked"
    assert any("An empty file teaches nothing." in line for line in lines)
    assert any("Lib/a\\|b.py" in line for line in lines)
    assert any("files 8 of 900" in line for line in lines)
    assert any("against\\_raw\\_files" in line for line in lines)


def test_the_failing_fraction_is_of_the_checked_rows():
    assert result().failing_fraction == 0.25
    assert result(rows=0, failing_rows=0).failing_fraction == 0.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (float("nan"), "null"),
        (12.0, "12"),
        (0.25, "0.25"),
        (float("inf"), "inf"),
        ("a\x1b[31m\n", "a\\x1b[31m\\n"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
    ],
)
def test_values_are_shown_plainly(value, shown):
    assert plain(value) == shown


@given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.binary()))
@example("\ud800")
def test_any_value_is_one_short_printable_line(value):
    assert plain(value).isprintable()
    assert len(plain(value)) <= 123
