"""Which files give a benchmark problem away. About 4 s, of which most is compiling once."""

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import pytest

from components.corpus import decontaminate
from components.corpus.config import DecontaminateConfig
from components.errors import EmptyArtifactError
from components.evaluation import collect_problems
from components.evaluation.config import CollectProblemsConfig
from components.evaluation.problem_table import Problem, read_problems, write_problems
from components.tables import read_dropped, read_files

HUMAN_EVAL = Path("../shared/data/human-eval/HumanEval.jsonl.gz")
REPOSITORY = Path(__file__).resolve().parents[3]

PROMPT = '''def crossing_time(lengths, speed):
    """Return how many minutes the slowest of the caravans needs to cross the desert at the given speed."""
'''
SOLUTION = """    longest = max(lengths, default=0)
    whole_minutes, rest = divmod(longest, speed)
    return whole_minutes + (1 if rest else 0)
"""
PROBLEM = Problem(
    "Desert/0", "Desert", "python", PROMPT, SOLUTION, "def check(candidate):\n    pass\n", "crossing_time"
)
INNOCENT = "def area(radius):\n    return 3.14159 * radius ** 2\n"


@pytest.fixture
def config() -> DecontaminateConfig:
    return DecontaminateConfig(recipe=1, min_match_chars=40, ngram_tokens=13)


@pytest.fixture
def cleaned(tmp_path, table_of, config):
    """Call it with contents and problems: it returns the kept contents, the dropped rows and the summary."""

    def run(contents, problems=(PROBLEM,), config=config):
        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        benchmark, out = place / "eval_problems", place / "out"
        benchmark.mkdir(parents=True)
        out.mkdir()
        write_problems(list(problems), benchmark)
        table = table_of([{"content": content} for content in contents])
        summary = decontaminate.run(config, unique_files=table, eval_problems=benchmark, out=out)
        kept = [row["content"] for batch in read_files(out) for row in batch.to_pylist()]
        return kept, [row for batch in read_dropped(out) for row in batch.to_pylist()], summary

    return run


DOCSTRING = PROMPT.split('"""')[1]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (f"# {DOCSTRING}\n", "docstring"),
        (f"# {DOCSTRING.upper()}\n", "docstring"),
        ("#   " + DOCSTRING.replace(" ", "\n  \t"), "docstring"),
        (f"def f(lengths, speed):\n{SOLUTION}", "canonical_solution"),
        ("if True:\n" + SOLUTION.replace("    ", "\t\t").replace("\n", "\r\n"), "canonical_solution"),
        (json.dumps({"a": SOLUTION}), "canonical_solution"),
        (json.dumps(json.dumps({"a": f"x = 1\n{DOCSTRING}"})), "docstring"),
        ("how many minutes, the slowest of the caravans, needs to cross: the desert at the", "ngram"),
    ],
)
def test_a_copy_is_found_whatever_its_layout_and_quoting(cleaned, content, kind):
    kept, dropped, summary = cleaned([INNOCENT, content])
    assert kept == [INNOCENT]
    (row,) = dropped
    assert (row["rule"], row["value"]) == ("benchmark_overlap", kind)
    assert row["detail"].startswith("Desert Desert/0: ")
    assert row["threshold"] == ("13 tokens" if kind == "ngram" else "40 characters")
    assert summary.dropped_by_kind == {kind: 1}
    assert summary.dropped_by_benchmark == {"Desert": 1}


def test_the_matched_text_is_cut_to_120_characters(cleaned):
    long_line = " ".join(f"stone{number}" for number in range(60))
    problem = Problem("Long/0", "Long", "python", f'def f():\n    """{long_line}"""\n', "    return 1\n", "", "f")
    _, dropped, _ = cleaned([INNOCENT, long_line], [problem])
    assert dropped[0]["detail"] == f"Long Long/0: {long_line[:120]}"


def test_strings_below_the_limit_and_shorter_runs_of_tokens_stay(cleaned, config):
    twelve = "minutes the slowest of the caravans needs to cross the desert at"
    assert cleaned([twelve])[0] == [twelve]
    trivial = Problem("T/0", "T", "python", "def f(x):\n", "    return sorted(x)\n", "", "f")
    content = "def g(x):\n    return sorted(x)\n"
    assert cleaned([content], [trivial])[0] == [content]
    short_matches = config.model_copy(update={"min_match_chars": 10})
    assert cleaned([INNOCENT, content], [trivial], short_matches)[0] == [INNOCENT]


def test_counting_to_thirteen_gives_no_problem_away(cleaned):
    numbers = ", ".join(str(number) for number in range(30))
    problem = Problem("N/0", "N", "python", f'def f():\n    """Count: {numbers}."""\n', "    return 1\n", "", "f")
    table = f"TABLE = [{numbers}]\n"
    assert cleaned([table], [problem])[0] == [table]


def test_a_file_of_another_language_is_searched_too(cleaned):
    content = f"/* {DOCSTRING} */\nint main(void) {{ return 0; }}\n"
    assert cleaned([INNOCENT, content])[0] == [INNOCENT]


def test_without_problems_every_file_stays(cleaned):
    kept, dropped, summary = cleaned([INNOCENT, SOLUTION], [])
    assert kept == [INNOCENT, SOLUTION]
    assert dropped == []
    assert summary.problems == 0


def test_when_nothing_is_left_the_step_fails_and_says_why(cleaned):
    with pytest.raises(EmptyArtifactError, match=r"left none of 2 files.*problem_files"):
        cleaned([f"# {DOCSTRING}", SOLUTION])


def test_the_same_input_gives_the_same_bytes(tmp_path, table_of, config, library_files):
    benchmark = tmp_path / "eval_problems"
    benchmark.mkdir()
    write_problems([PROBLEM], benchmark)
    table = table_of([*library_files, {"content": SOLUTION}])
    outs = [tmp_path / name for name in ("first", "second")]
    for out in outs:
        out.mkdir()
        decontaminate.run(config, unique_files=table, eval_problems=benchmark, out=out)
    names = sorted(path.name for path in outs[0].iterdir())
    assert all((outs[0] / name).read_bytes() == (outs[1] / name).read_bytes() for name in names)


def _collected(out, *problem_files):
    out.mkdir()
    config = CollectProblemsConfig(recipe=1, problem_files=problem_files)
    collect_problems.run(config, workspace=REPOSITORY, out=out)
    return read_problems(out)


def test_our_own_repository_does_not_teach_the_model_its_own_benchmark(tmp_path, cleaned):
    """Its Git history is a source of the real run: the benchmark itself, a solved problem and the tests around it."""
    problems = _collected(tmp_path / "eval_problems")
    benchmark = resources.files("components.evaluation").joinpath("problems.jsonl").read_text(encoding="utf-8")
    solved = [problem.prompt + problem.canonical_solution for problem in problems]
    pretty = [json.dumps(asdict(problem), indent=2) for problem in problems]
    kept, dropped, summary = cleaned([INNOCENT, benchmark, *solved, *pretty], problems)
    assert kept == [INNOCENT]
    assert len(dropped) == 1 + 2 * len(problems)
    named = [row["detail"].split(": ")[0] for row in dropped[1:]]
    assert named == 2 * [f"starloom {problem.task_id}" for problem in problems]
    assert summary.dropped_by_benchmark == {"starloom": 1 + 2 * len(problems)}


@pytest.mark.skipif(not (REPOSITORY / HUMAN_EVAL).exists(), reason=f"{HUMAN_EVAL} is not beside the repository")
def test_humaneval_solutions_are_caught_and_the_library_is_not(tmp_path, cleaned, library_files):
    problems = [
        problem for problem in _collected(tmp_path / "p", HUMAN_EVAL.as_posix()) if problem.benchmark != "starloom"
    ]
    library = [row["content"] for row in library_files]
    solved = [problem.prompt + problem.canonical_solution for problem in problems]
    kept, dropped, _ = cleaned([*library, *solved], problems)
    assert kept == library
    assert len(dropped) == 164
