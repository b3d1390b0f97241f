"""The numbers of an ending are those of its files, and what they say of the filters is what the filters do."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.corpus.filter_quality import filter_batch, rules_of
from components.corpus.inspection_table import Inspection, write_inspections
from components.corpus.quality_limits import limits_of
from components.inspection.ending_numbers import QUANTILES, FileNumbers, measure_files, ranges_of, rule_counts
from components.tables import read_files
from data_contracts.columns import CODE_FILES

BASE64 = "data = '" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0" * 60 + "'\n"


@pytest.fixture
def measured(table_of: Any, tmp_path: Path, config_of: Any) -> Any:
    """Call it with rows, the standing verdicts and changes of the parameters: the numbers of each row."""

    def measure(rows: list[dict[str, Any]], standing: tuple[Inspection, ...] = (), **changes: Any) -> list[FileNumbers]:
        write_inspections(tmp_path / "inspection.csv", standing)
        table = table_of(rows)
        rules = rules_of(config_of(**changes), table, tmp_path)
        return [numbers for batch in read_files(table) for numbers in measure_files(batch, rules)]

    return measure


def rules_told(numbers: FileNumbers) -> set[str]:
    return {drop.rule for drop in numbers.drops}


def test_a_file_is_measured_as_it_is(measured: Any) -> None:
    [numbers] = measured([{"content": "ab\n1\u202e\x00é\n\n"}])

    assert (numbers.size_bytes, numbers.num_lines, numbers.max_line_chars) == (12, 3, 4)
    assert (numbers.num_bidi_controls, numbers.num_nul) == (1, 1)
    assert numbers.alphanumeric_fraction == pytest.approx(4 / 9)
    assert numbers.alphabetic_fraction == pytest.approx(3 / 9)
    assert not numbers.begins_as_xml
    assert not numbers.is_data


def test_xml_and_encoded_data_are_seen_whatever_the_parameters_say(measured: Any) -> None:
    rows = [
        {"content": '<?xml version="1.0"?>\n<a/>\n'},
        {"content": BASE64},
        {"content": "x;\n" * 60 + "<?xml version="},
    ]
    xml, data, late = measured(rows, xml_declaration_window_chars=0, encoded_data=None)

    assert (xml.begins_as_xml, data.begins_as_xml, late.begins_as_xml) == (True, False, False)
    assert (xml.is_data, data.is_data, late.is_data) == (False, True, False)
    assert "xml_declaration" not in rules_told(xml)


def test_every_failing_rule_is_told_and_not_the_first_alone(measured: Any) -> None:
    [numbers] = measured([{"content": "<?xml version='1.0'?>" + "-" * 2_000 + "\n"}])

    assert rules_told(numbers) == {"max_line_length", "mean_line_length", "alphanumeric_fraction", "xml_declaration"}
    [drop] = [drop for drop in numbers.drops if drop.rule == "max_line_length"]
    assert (drop.value, drop.threshold) == ("2021", "1000")


def test_an_excluded_ending_is_measured_as_any_other_and_with_its_own_limits(measured: Any) -> None:
    long = [{"content": "x" * 1_500 + "\n" + "y\n" * 200}]
    excluded = (Inspection("python", ".py", "exclude"),)
    raised = (Inspection("python", ".py", "exclude", max_line_chars=2_000),)

    assert rules_told(measured(long, excluded)[0]) == {"max_line_length"}
    assert rules_told(measured(long, raised)[0]) == set()


def test_files_that_the_filters_keep_are_those_without_a_rule_against_them(
    measured: Any, table_of: Any, library_files: Any, config_of: Any, tmp_path: Path
) -> None:
    rows = [*library_files, {"content": BASE64}, {"content": "-" * 50}, {"content": "\n"}]
    numbers = measured(rows, max_line_length_chars=120, max_mean_line_length_chars=40)
    table = table_of(rows)
    rules = rules_of(config_of(max_line_length_chars=120, max_mean_line_length_chars=40), table, tmp_path)
    kept = [path for batch in read_files(table) for path in filter_batch(batch, rules).kept.column("path").to_pylist()]

    paths = [path for batch in read_files(table, ["path"]) for path in batch.column("path").to_pylist()]
    assert kept == [path for path, file in zip(paths, numbers, strict=True) if not file.drops]
    assert 0 < len(kept) < len(rows)


def test_no_files_have_no_numbers(table_of: Any, tmp_path: Path, config_of: Any) -> None:
    rules = rules_of(config_of(), table_of([{"content": "x"}]), tmp_path)
    assert measure_files(pa.RecordBatch.from_pylist([], CODE_FILES), rules) == []


def test_ranges_tell_how_a_number_is_spread_and_what_its_limit_lets_pass(measured: Any, config_of: Any) -> None:
    files = measured([{"content": "x" * (10 * number) + "\n-\n"} for number in range(1, 102)])
    ranges = {spread.name: spread for spread in ranges_of(files, limits_of("python", ".py", config_of(), {}))}

    longest = ranges["longest line"]
    assert dict(zip(QUANTILES, longest.quantiles, strict=True)) == {
        0.0: 10, 0.05: 60, 0.25: 260, 0.5: 510, 0.75: 760, 0.95: 960, 1.0: 1010,
    }  # fmt: skip
    assert (longest.limit, longest.beyond, longest.is_fraction) == (1_000, 1, False)
    assert (ranges["lines"].limit, ranges["lines"].beyond) == (None, 0)
    assert (ranges["letters, digits"].limit, ranges["letters, digits"].is_fraction) == (0.25, True)
    assert ranges["bytes"].quantiles[-1] == 1_013


def test_a_fraction_is_beyond_its_limit_below_it(measured: Any, config_of: Any) -> None:
    files = measured([{"content": "----x"}, {"content": "---x"}, {"content": "x"}])
    ranges = {spread.name: spread for spread in ranges_of(files, limits_of("python", ".py", config_of(), {}))}
    assert ranges["letters, digits"].beyond == 1


def test_where_digits_count_as_letters_the_limit_stands_beside_both(measured: Any, config_of: Any) -> None:
    config = config_of(min_alphabetic_fraction=0.4, min_alphanumeric_fraction=0.2, digits_count_as_letters=["python"])
    ranges = {s.name: s for s in ranges_of(measured([{"content": "x"}]), limits_of("python", ".py", config, {}))}
    assert (ranges["letters, digits"].limit, ranges["letters"].limit) == (0.4, None)


def test_rules_are_counted_once_a_file_the_most_frequent_first(measured: Any) -> None:
    files = measured([{"content": "-" * 2_000}, {"content": "-" * 50}, {"content": "x = 1\n"}])
    counts = [(count.rule, count.files) for count in rule_counts(files)]
    assert counts == [("alphanumeric_fraction", 2), ("max_line_length", 1), ("mean_line_length", 1)]
