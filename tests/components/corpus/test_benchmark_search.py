"""Planted problems are found with their exact spans, whatever their layout and quoting. About 4 s."""

import json
from importlib import resources
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.corpus.benchmark_search import BenchmarkSearch
from components.corpus.config import DecontaminateConfig
from components.evaluation.problem_layouts import LAYOUTS, SourceRow
from components.evaluation.problem_table import ProblemRow, ProblemText

CONFIG = DecontaminateConfig(recipe=1, min_match_chars=40, blanks="one_space", ngram_tokens=13, min_ngram_words=5)
BLANKS_REMOVED = CONFIG.model_copy(update={"blanks": "removed"})

LAYOUT_CHANGES = {
    "as it is": str,
    "upper case": str.upper,
    "other indentation": lambda text: text.replace("    ", "\t\t\t"),
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n \n"),
    "in one line": lambda text: " ".join(text.split()),
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "in a Python string": lambda text: repr(text + "'\"")[1:-4],
}


def _own_rows():
    data = resources.files("components.evaluation").joinpath("problems.jsonl").read_text(encoding="utf-8")
    rows = [SourceRow(json.loads(line), "starloom", number) for number, line in enumerate(data.splitlines(), 1)]
    return [LAYOUTS["human_eval"].read(row) for row in rows]


OWN = _own_rows()
WHOLE = [(row.task_id, text.kind, text.text.strip()) for row in OWN for text in row.texts if len(text.text) > 80]


@pytest.fixture(scope="module")
def searches():
    return {config.blanks: BenchmarkSearch(OWN, config) for config in (CONFIG, BLANKS_REMOVED)}


def _batch(contents):
    return pa.record_batch([pa.array(contents, pa.large_string())], names=["content"])


def _found(search, contents):
    found = search.overlaps(_batch(contents))
    columns = (found.rows, found.problems, found.kinds, found.first, found.end)
    return [
        (row, *search.problems[problem], search.kinds[kind], first, end)
        for row, problem, kind, first, end in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _search(*rows, **changes):
    return BenchmarkSearch(rows, CONFIG.model_copy(update=changes))


def _row(benchmark, task_id, text, kind="docstring"):
    return ProblemRow(task_id, benchmark, (ProblemText(kind, text),), None)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    number=st.integers(0, 10_000),
    planted=st.sampled_from(WHOLE),
    change=st.sampled_from(sorted(LAYOUT_CHANGES)),
    blanks=st.sampled_from(["one_space", "removed"]),
)
def test_a_planted_problem_is_found_and_its_span_covers_it_exactly(
    library_files, searches, number, planted, change, blanks
):
    task_id, kind, text = planted
    copy = LAYOUT_CHANGES[change](text)
    host = library_files[number % len(library_files)]["content"]
    lines = host.splitlines(keepends=True)
    before = "".join(lines[: number % (len(lines) + 1)])
    if not before.endswith("\n"):
        before += "\n"
    content = f"{before}{copy}\n{host[len(before) :]}"
    first = len(before.encode())
    found = _found(searches[blanks], ["x = 1\n", content])
    assert (1, "starloom", task_id, kind, first, first + len(copy.encode())) in found
    assert {row for row, *_ in found} == {1}
    for _, _, _, _, start, end in found:
        assert first <= start < end <= first + len(copy.encode())


def test_files_without_a_problem_have_no_overlap(library_files, searches):
    contents = [row["content"] for row in library_files]
    assert [_found(search, contents) for search in searches.values()] == [[], []]


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=4))
def test_how_the_files_are_batched_changes_nothing(library_files, searches, cuts):
    contents = [row["content"] for row in library_files[:30]]
    contents[4:4] = [WHOLE[0][2], "", WHOLE[1][2] + WHOLE[2][2]]
    contents.append(WHOLE[3][2])
    whole = _found(searches["one_space"], contents)
    assert len(whole) > 4
    edges = [0, *sorted(min(cut, len(contents)) for cut in cuts), len(contents)]
    parts = [
        (row + first, *rest)
        for first, end in pairwise(edges)
        for row, *rest in _found(searches["one_space"], contents[first:end])
    ]
    assert parts == whole


def test_a_batch_that_is_a_slice_is_searched_like_one_of_its_own(searches):
    batch = _batch(["first", WHOLE[0][2], "last"])
    found = searches["one_space"].overlaps(batch.slice(1, 1))
    alone = searches["one_space"].overlaps(_batch([WHOLE[0][2]]))
    assert found.first.tolist() == alone.first.tolist()
    assert set(found.rows.tolist()) == {0}


LONG = "Return how many minutes the slowest of the caravans needs to cross the desert at the given speed."


def test_every_occurrence_is_reported_in_the_order_of_the_file():
    search = _search(_row("Desert", "0", LONG))
    spans = [(0, "Desert", "0", "docstring", 0, 97), (0, "Desert", "0", "docstring", 99, 196)]
    runs = [(0, "Desert", "0", "ngram", first, end - 1) for *_, first, end in spans]
    assert _found(search, [f"{LONG}\n\n{LONG}"]) == [*spans, *runs]


def test_a_text_of_several_benchmarks_is_reported_once_for_each_under_its_first_problem():
    rows = [_row("A", "0", LONG), _row("A", "1", LONG.upper()), _row("B", "7", f"  {LONG}\n", kind="question")]
    found = _found(_search(*rows), [LONG])
    assert [(benchmark, task, kind) for _, benchmark, task, kind, _, _ in found] == [
        ("A", "0", "docstring"),
        ("B", "7", "question"),
        ("A", "0", "ngram"),
        ("B", "7", "ngram"),
    ]


def test_runs_of_tokens_that_reach_into_each_other_are_one_overlap():
    tokens = LONG.rstrip(".").split()
    other = ["other"]
    content = " ".join([*other, *tokens[:15], *other, *tokens[3:], *other])
    runs = [content[first:end] for _, _, _, kind, first, end in _found(_search(_row("Desert", "0", LONG)), [content])]
    assert runs == [" ".join(tokens[:15]), " ".join(tokens[3:])]


def test_with_blanks_removed_a_text_without_them_is_found_too():
    crowded = LONG.replace(" ", "")
    assert _found(_search(_row("Desert", "0", LONG)), [crowded]) == []
    found = _found(_search(_row("Desert", "0", LONG), blanks="removed"), [f"#  {crowded}"])
    assert found == [(0, "Desert", "0", "docstring", 3, 3 + len(crowded))]


def test_whole_texts_below_the_limit_are_not_looked_for():
    short = "return sorted(x) and nothing but sorted"
    assert _found(_search(_row("T", "0", short)), [short]) == []
    assert len(_found(_search(_row("T", "0", short), min_match_chars=39), [short])) == 1


def test_the_limit_counts_characters_and_not_bytes():
    short = "\u4e2d\u6587" * 15
    assert _found(_search(_row("T", "0", short)), [short]) == []
    assert _found(_search(_row("T", "0", short * 2)), [short * 2]) == [(0, "T", "0", "docstring", 0, 180)]


def test_rulers_and_columns_of_numbers_are_not_looked_for():
    for text in ("-" * 80, ", ".join(map(str, range(60))), "| a | b | c |" * 9):
        assert _found(_search(_row("T", "0", text)), [text]) == []


@pytest.mark.parametrize(
    "solution", ["    return x + y\n", "    return len(string)\n", "    return n**2\n", "    return ''.join(strings)\n"]
)
def test_the_reference_defect_a_trivial_solution_is_exempt_whatever_its_quotes(solution):
    """BigCode lists four; the last one is written so that Python joins its quotes away, and never matches."""
    assert _found(_search(_row("HumanEval", "28", solution, "canonical_solution")), [f"def f():\n{solution}"]) == []


def test_no_problems_overlap_with_nothing():
    search = _search()
    assert search.overlaps(_batch([LONG])).rows.tolist() == []
    assert _search(_row("Desert", "0", LONG)).overlaps(_batch([])).rows.tolist() == []
    assert np.array_equal(search.overlaps(_batch([])).end, np.zeros(0))
