"""What is drawn depends on seed and files alone: neither on their order, nor on shards, nor on other files."""

import random
from pathlib import Path
from typing import Any

import pytest

from components.corpus.inspection_table import Inspection, write_inspections
from components.errors import CorruptArtifactError
from components.inspection.sample_files import MAX_MEASURED, EndingSample, Sample

NOTES = [
    {"path": f"notes/{number}.md", "language": "markdown", "extension": ".md", "content": f"note {number}\n" * 9}
    for number in range(60)
]
CODE = [{"path": f"src/{number}.py", "content": f"value_{number} = {number}\n" * (number + 1)} for number in range(120)]
STUBS = [{"path": f"src/{number}.pyi", "extension": ".pyi", "content": f"v_{number}: int\n"} for number in range(5)]
FOREIGN = [{"path": "a.adb", "language": "ada", "extension": ".adb", "content": "begin null; end;\n" * 999}]
UNKNOWN = [{"path": f"q.{number}", "language": None, "extension": f".{number}", "content": "?"} for number in range(3)]
ALL = [*NOTES, *CODE, *STUBS, *FOREIGN, *UNKNOWN]


def paths_of(ending: EndingSample) -> list[str]:
    return [file.path for file in ending.shown]


def ending(sample: Sample, extension: str) -> EndingSample:
    [found] = [ending for ending in sample.endings if ending.extension == extension]
    return found


@pytest.mark.parametrize("shard_bytes", [1 << 20, 2_000])
@pytest.mark.parametrize("order", [1, 2])
def test_neither_order_nor_shards_change_what_is_drawn(
    table_of: Any, order: int, shard_bytes: int, sample_of: Any
) -> None:
    expected = sample_of(table_of(ALL), files=7)
    shuffled = random.Random(order).sample(ALL, len(ALL))
    table = table_of(shuffled, shard_bytes)

    assert len(list(table.iterdir())) >= (4 if shard_bytes == 2_000 else 1)
    assert sample_of(table, files=7) == expected


def test_a_seed_draws_its_own_files(table_of: Any, sample_of: Any) -> None:
    table = table_of(ALL)
    first, second = (ending(sample_of(table, files=10, seed=seed), ".py") for seed in (1, 2))

    assert paths_of(first) != paths_of(second)
    assert first.ranges == second.ranges  # all 120 are measured, whatever is shown
    assert len(set(paths_of(first))) == len(first.shown) == 10


def test_fewer_files_are_the_first_of_more(table_of: Any, sample_of: Any) -> None:
    table = table_of(ALL)
    few, many = (paths_of(ending(sample_of(table, files=files), ".py")) for files in (5, 20))
    assert few == many[:5]


def test_a_file_that_joins_moves_no_others_rank(table_of: Any, sample_of: Any) -> None:
    before = paths_of(ending(sample_of(table_of(CODE), files=30), ".py"))
    joined = [*CODE, *({"path": f"new/{number}.py", "content": f"new_{number}\n"} for number in range(20))]
    after = paths_of(ending(sample_of(table_of(joined), files=30), ".py"))

    kept = [path for path in after if path.startswith("src/")]
    assert kept == before[: len(kept)]
    assert 10 < len(kept) < 30


def test_the_files_shown_are_no_particular_ones(table_of: Any, sample_of: Any) -> None:
    """Of the 120 each has the same chance: over many seeds the mean place in the table is the middle."""
    table = table_of(CODE)
    numbers = [
        int(path.removeprefix("src/").removesuffix(".py"))
        for seed in range(40)
        for path in paths_of(ending(sample_of(table, files=10, seed=seed), ".py"))
    ]
    assert sum(numbers) / len(numbers) == pytest.approx(59.5, abs=6)  # 35 / sqrt(400) = 1.7 is the standard error


def test_taken_languages_come_first_and_larger_ones_in_these(table_of: Any, sample_of: Any) -> None:
    sample = sample_of(table_of(ALL))

    told = [(ending.language, ending.extension, ending.is_taken) for ending in sample.endings]
    assert told == [
        ("python", ".py", True),
        ("python", ".pyi", True),
        ("markdown", ".md", True),
        ("ada", ".adb", False),
    ]
    assert sample.unknown_files == 3


def test_totals_are_those_of_all_files(table_of: Any, sample_of: Any) -> None:
    python = ending(sample_of(table_of(ALL), files=3), ".py")

    assert (python.files, python.measured, len(python.shown)) == (120, 120, 3)
    assert python.bytes == sum(len(row["content"]) for row in CODE)
    assert not python.is_estimate


def test_only_the_languages_that_are_wanted_are_drawn(table_of: Any, sample_of: Any) -> None:
    assert {e.language for e in sample_of(table_of(ALL), languages=["python"]).endings} == {"python"}
    assert sample_of(table_of(ALL), languages=["haskell"]).endings == ()


def test_of_a_large_ending_so_many_are_measured(table_of: Any, sample_of: Any) -> None:
    rows = [{"path": f"{number}.py", "content": f"x = {number}\n"} for number in range(MAX_MEASURED + 5)]
    python = ending(sample_of(table_of(rows)), ".py")

    assert (python.files, python.measured) == (MAX_MEASURED + 5, MAX_MEASURED)
    assert not python.is_estimate


def test_an_excluded_ending_is_shown_with_the_limits_that_stand(table_of: Any, sample_of: Any) -> None:
    table = table_of(ALL)
    write_inspections(table.parent / "inspection.csv", [Inspection("python", ".pyi", "exclude", max_line_chars=7)])
    stubs = ending(sample_of(table), ".pyi")

    assert (stubs.is_taken, stubs.dropped, len(stubs.shown)) == (True, 5, 5)
    assert [(rule.rule, rule.files) for rule in stubs.rules] == [("max_line_length", 5)]
    assert stubs.limits.max_line_chars == 7


def test_notebooks_are_told_who_reads_them(table_of: Any, sample_of: Any) -> None:
    row = {"path": "a.ipynb", "language": "jupyter-notebook", "extension": ".ipynb", "content": "{}"}
    notebooks = ending(sample_of(table_of([row])), ".ipynb")
    assert (notebooks.is_taken, notebooks.reason) == (False, "notebooks are read by convert_notebooks")


def test_what_only_the_content_tells_is_reckoned_from_the_sample(
    table_of: Any, library_files: Any, sample_of: Any
) -> None:
    """Names that leave the language open: magika looks into the files that are drawn."""
    code = [row["content"] for row in library_files if 2_000 < len(row["content"]) < 20_000][:6]
    rows = [
        {"path": f"tool-{number}", "language": None, "extension": "", "content": content}
        for number, content in enumerate(code)
    ]
    sample = sample_of(table_of(rows), content_model="magika", languages=["python"])

    [python] = sample.endings
    assert (python.language, python.extension) == ("python", "")
    assert python.files >= 4
    assert python.files + sample.unknown_files <= 6


def test_hostile_files_are_drawn_as_text_that_acts_on_nothing(
    table_of: Any, sample_of: Any, hostile_files: Any
) -> None:
    sample = sample_of(table_of(hostile_files))
    shown = {file.path: file for e in sample.endings for file in e.shown}

    assert len(shown) == len(hostile_files)
    [reversed_name] = [path for path in shown if "⟦U+202E⟧gnp" in path]
    assert "onmouseover" in shown[reversed_name].repository
    assert shown["bidi.py"].numbers.num_bidi_controls == 4
    assert "\x1b" not in shown["bidi.py"].shown.text
    assert len(shown["line.py"].shown.text) < 2_010
    assert shown["many.py"].shown.note == "The first 200 of 3,000 lines."


def test_a_damaged_table_is_told(table_of: Any, sample_of: Any) -> None:
    table: Path = table_of(ALL)
    shard = next(table.glob("files-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-30])
    with pytest.raises(CorruptArtifactError, match="make its artifact anew"):
        sample_of(table)
