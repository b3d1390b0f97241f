"""Collecting benchmarks, and starloom's own: every solution is run against its tests. About 5 s."""

import ast
import gzip
import hashlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from components.errors import CorruptArtifactError, SourceError
from components.evaluation import collect_problems
from components.evaluation.config import CollectProblemsConfig
from components.evaluation.problem_table import EVAL_PROBLEMS, read_problems

HUMAN_EVAL = Path("../shared/data/human-eval/HumanEval.jsonl.gz")
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
    assert EVAL_PROBLEMS.names == list(vars(problems[0]))


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
        (b"\n" + _line(test=None), ["Made.jsonl, line 2", "'test' is missing"]),
        (_line(prompt=3), ["line 1", "'prompt' is a int"]),
        (_line(language=["python"]), ["line 1", "'language' is a list"]),
        (_line(prompt="\ud800"), ["line 1", "'prompt'", "surrogate"]),
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


def test_two_files_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Made.jsonl").write_bytes(_line())
    with pytest.raises(SourceError, match="two problem files are called 'Made'"):
        _collected(tmp_path, tmp_path / "out", "a/Made.jsonl", "b/Made.jsonl")


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


@pytest.mark.skipif(not (REPOSITORY / HUMAN_EVAL).exists(), reason=f"{HUMAN_EVAL} is not beside the repository")
def test_humaneval_is_read_whole(tmp_path):
    problems, summary = _collected(REPOSITORY, tmp_path / "out", HUMAN_EVAL.as_posix())
    assert summary.problems_by_benchmark == {"starloom": 24, "HumanEval": 164}
    assert problems[24].task_id == "HumanEval/0"
    assert problems[24].entry_point == "has_close_elements"
