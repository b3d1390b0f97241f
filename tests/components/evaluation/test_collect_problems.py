"""Collecting benchmarks, and starloom's own: every solution is run against its tests. About 5 s."""

import ast
import gzip
import hashlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.errors import CorruptArtifactError, SourceError
from components.evaluation import collect_problems
from components.evaluation.config import CollectProblemsConfig, KnownProblemFile, MappedProblemFile
from components.evaluation.problem_table import EVAL_PROBLEMS, read_problems, read_rows

BENCHMARKS = Path("../shared/data")
REPOSITORY = Path(__file__).resolve().parents[3]

PROBLEM = {
    "task_id": "Made/0",
    "prompt": "def double(x):\n",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
    "entry_point": "double",
}


def _own():
    data = resources.files("components.evaluation").joinpath("problems.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in data.splitlines()]


def _config(*files):
    return CollectProblemsConfig(recipe=1, problem_files=files)


def _collected(workspace, out, *files):
    out.mkdir()
    summary = collect_problems.run(_config(*files), workspace=workspace, out=out)
    return read_problems(out), summary


def _passes(problem, solution):
    """Run a solution of our own benchmark in a process of its own."""
    program = f"{problem['prompt']}{solution}\n\n{problem['test']}\n\ncheck({problem['entry_point']})\n"
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_our_benchmark_has_24_problems_in_humaneval_layout():
    problems = _own()
    assert [problem["task_id"] for problem in problems] == [f"starloom/{number}" for number in range(24)]
    assert len({problem["entry_point"] for problem in problems}) == 24
    for problem in problems:
        (function,) = ast.parse(problem["prompt"] + problem["canonical_solution"]).body
        assert function.name == problem["entry_point"]
        assert ">>> " + function.name in ast.get_docstring(function)


@pytest.mark.parametrize("problem", _own(), ids=lambda problem: problem["entry_point"])
def test_our_solution_passes_its_tests_and_a_wrong_one_fails(problem):
    assert _passes(problem, problem["canonical_solution"])
    assert not _passes(problem, "    return None\n")


def test_our_problems_come_without_any_configuration(tmp_path):
    problems, summary = _collected(tmp_path, tmp_path / "out")
    assert [problem.canonical_solution for problem in problems] == [row["canonical_solution"] for row in _own()]
    assert {(problem.benchmark, problem.language) for problem in problems} == {("starloom", "python")}
    assert summary.problems_by_benchmark == {"starloom": 24}
    assert summary.evaluable_problems == 24
    table = pq.read_table(tmp_path / "out" / "problems.parquet")
    assert table.schema.equals(EVAL_PROBLEMS)
    assert table.column("uses").to_pylist() == [["evaluate", "search"]] * 24


@pytest.mark.parametrize(("name", "pack"), [("Made.jsonl", bytes), ("Made.jsonl.gz", gzip.compress)])
def test_a_further_file_follows_plain_or_gzipped(tmp_path, name, pack):
    other = PROBLEM | {"task_id": "Made/1", "language": "java", "prompt": "\u00fc", "author": "ignored"}
    text = f"{json.dumps(PROBLEM)}\n\n{json.dumps(other)}"
    (tmp_path / name).write_bytes(pack(text.encode()))
    problems, summary = _collected(tmp_path, tmp_path / "out", name)
    assert summary.problems_by_benchmark == {"starloom": 24, "Made": 2}
    first, second = problems[-2:]
    assert (first.benchmark, first.task_id, first.language, first.test) == ("Made", "Made/0", "python", PROBLEM["test"])
    assert (second.language, second.prompt) == ("java", "\u00fc")


def _line(**changes):
    return json.dumps({key: value for key, value in (PROBLEM | changes).items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_line() + b"\n{broken", ["Made.jsonl, line 2", "not JSON"]),
        (b"[1, 2]", ["Made.jsonl, line 1", "not a JSON object"]),
        (b"\xff\xfe", ["Made.jsonl, line 1", "not JSON"]),
        (b"[" * 100_000, ["Made.jsonl, line 1", "not JSON"]),
        (_line() + b"\n" + _line(task_id="b", test=None), ["Made.jsonl, line 2", "'test' is missing, not a string"]),
        (b"\n" + _line(test=None), ["line 2", "canonical_solution, entry_point, prompt", "no layout", "`fields`"]),
        (b"{}", ["line 1", "the fields (none) are of no layout"]),
        (_line(prompt=3), ["line 1", "'prompt' is a int"]),
        (_line(language=["python"]), ["line 1", "'language' is a list"]),
        (_line(prompt="\ud800"), ["line 1", "'prompt'", "surrogate"]),
        (_line(prompt="\0"), ["line 1", "'prompt' holds a NUL"]),
        (b'{"a": "\0"}', ["line 1", "not JSON"]),
        (b'{"a": ' + b"9" * 5000 + b"}", ["line 1", "not JSON"]),
        (_line() + b"\n" + _line(), ["line 2", "'Made/0'", "line 1"]),
        (b"\n\n", ["Made.jsonl", "no problem"]),
        (gzip.compress(_line())[:-9], ["Made.jsonl", "damaged"]),
        (b"\x1f\x8bnot gzip at all", ["Made.jsonl", "damaged"]),
        (b"x" * (2**24 + 1), ["line 1", "longer"]),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_line(tmp_path, data, words):
    (tmp_path / "Made.jsonl").write_bytes(data)
    with pytest.raises(SourceError) as refusal:
        _collected(tmp_path, tmp_path / "out", "Made.jsonl")
    assert all(word in str(refusal.value) for word in words)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(SourceError, match=r"no problem file .*nowhere\.jsonl; correct"):
        collect_problems.resolve_sources(_config("nowhere.jsonl"), tmp_path)
    with pytest.raises(SourceError, match="cannot be read"):
        collect_problems.resolve_sources(_config("."), tmp_path)


def test_two_files_may_be_one_benchmark_but_not_with_the_same_task(tmp_path):
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Made.jsonl").write_bytes(_line(task_id=f"Made/{number}"))
    _, summary = _collected(tmp_path, tmp_path / "out", "a/Made.jsonl", "b/Made.jsonl")
    assert summary.problems_by_benchmark == {"starloom": 24, "Made": 2}
    (tmp_path / "b" / "Made.jsonl").write_bytes(_line())
    with pytest.raises(SourceError, match=r"b/Made.jsonl, line 1: task_id 'Made/0' of Made was used in a/Made.jsonl"):
        _collected(tmp_path, tmp_path / "again", "a/Made.jsonl", "b/Made.jsonl")


def test_a_file_of_any_layout_is_read_by_its_stated_fields(tmp_path):
    lines = [{"q": "Which way?", "a": ["North.", "South."], "key": 7}, {"q": "How far?", "a": "Far.", "key": "last"}]
    (tmp_path / "odd.jsonl").write_text("\n".join(map(json.dumps, lines)))
    fields = {"task_id": "key", "description": "q", "solution": "a"}
    file = MappedProblemFile(path="odd.jsonl", benchmark="Odd", fields=fields)
    _, summary = _collected(tmp_path, tmp_path / "out", file)
    rows = read_rows(tmp_path / "out")[24:]
    assert [(row.benchmark, row.task_id, row.problem) for row in rows] == [("Odd", "7", None), ("Odd", "last", None)]
    texts = [[(text.kind, text.text) for text in row.texts] for row in rows]
    assert texts[0] == [("description", "Which way?"), ("solution", "North."), ("solution", "South.")]
    assert (summary.problems, summary.evaluable_problems) == (26, 24)


def test_a_stated_field_that_a_row_lacks_is_told(tmp_path):
    (tmp_path / "odd.jsonl").write_text('{"q": "Which way?"}\n{"question": "How far?"}')
    file = MappedProblemFile(path="odd.jsonl", benchmark="Odd", fields={"description": "q"})
    with pytest.raises(SourceError, match=r"odd.jsonl, line 2: 'q' is missing, not a string; mend it or correct"):
        _collected(tmp_path, tmp_path / "out", file)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"path": "a.jsonl", "benchmark": "A"}, "layout"),
        ({"path": "a.jsonl", "benchmark": "A", "layout": "human_evil"}, "human_eval_x"),
        ({"path": "a.jsonl", "benchmark": "A", "layout": "mbpp", "fields": {"a": "b"}}, "layout"),
        ({"path": "a.jsonl", "benchmark": "A", "fields": {}}, "at least 1 item"),
        (3, "valid dictionary"),
    ],
)
def test_a_problem_file_that_is_stated_wrongly_is_refused(file, words):
    with pytest.raises(ValidationError, match=words) as refusal:
        CollectProblemsConfig.model_validate({"recipe": 1, "problem_files": [file]})
    assert refusal.value.error_count() == 1


def test_problem_files_are_stated_by_path_by_layout_or_by_fields():
    stated = [
        "a.jsonl",
        {"path": "b", "benchmark": "B", "layout": "mbpp"},
        {"path": "c", "benchmark": "C", "fields": {"a": "b"}},
    ]
    config = CollectProblemsConfig.model_validate({"recipe": 1, "problem_files": stated})
    assert [type(file) for file in config.problem_files] == [str, KnownProblemFile, MappedProblemFile]
    assert CollectProblemsConfig.model_validate_json(config.model_dump_json()) == config


def test_sources_are_digested_by_their_bytes(tmp_path):
    (tmp_path / "Made.jsonl").write_bytes(_line())
    own = resources.files("components.evaluation").joinpath("problems.jsonl").read_bytes()
    assert collect_problems.resolve_sources(_config("Made.jsonl"), tmp_path) == {
        "starloom": hashlib.sha256(own).hexdigest(),
        "Made.jsonl": hashlib.sha256(_line()).hexdigest(),
    }


def test_the_same_input_gives_the_same_bytes(tmp_path):
    _collected(tmp_path, tmp_path / "first")
    _collected(tmp_path, tmp_path / "second")
    first, second = (tmp_path / name / "problems.parquet" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_a_damaged_table_is_told_from_a_missing_one(tmp_path):
    _collected(tmp_path, tmp_path / "out")
    path = tmp_path / "out" / "problems.parquet"
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CorruptArtifactError, match="damaged"):
        read_problems(tmp_path / "out")
    path.unlink()
    with pytest.raises(CorruptArtifactError, match=r"lacks its problems\.parquet"):
        read_problems(tmp_path / "out")


def _needs(path):
    return pytest.mark.skipif(not (REPOSITORY / path).exists(), reason=f"{path} is not beside the repository")


@_needs(BENCHMARKS / "human-eval/HumanEval.jsonl.gz")
def test_humaneval_is_read_whole(tmp_path):
    file = (BENCHMARKS / "human-eval/HumanEval.jsonl.gz").as_posix()
    problems, summary = _collected(REPOSITORY, tmp_path / "out", file)
    assert summary.problems_by_benchmark == {"starloom": 24, "HumanEval": 164}
    assert summary.evaluable_problems == 188
    assert problems[24].task_id == "HumanEval/0"
    assert problems[24].entry_point == "has_close_elements"


@_needs(BENCHMARKS / "humaneval-x")
@_needs(BENCHMARKS / "human-eval-infilling")
def test_other_published_files_are_told_by_their_fields_and_only_searched(tmp_path):
    names = [f"humaneval-x/humaneval_{language}" for language in ("cpp", "go", "java", "js", "python", "rust")]
    names += [f"human-eval-infilling/HumanEval-{name}Infilling" for name in ("SingleLine", "RandomSpan")]
    files = [(BENCHMARKS / f"{name}.jsonl.gz").as_posix() for name in names]
    problems, summary = _collected(REPOSITORY, tmp_path / "out", *files)
    assert len(problems) == summary.evaluable_problems == 24
    assert list(summary.problems_by_benchmark.values()) == [24, *[164] * 6, 1033, 1640]
    assert all(text.text.strip() for row in read_rows(tmp_path / "out") for text in row.texts)
