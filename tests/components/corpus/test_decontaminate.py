"""Which files give a benchmark problem away, through the step. About 8 s."""

import json
import pickle
from dataclasses import asdict, replace
from functools import partial
from importlib import resources
from pathlib import Path

import pytest

from components.corpus import decontaminate
from components.corpus.config import DecontaminateConfig
from components.corpus.decontaminate import OVERLAPS
from components.errors import EmptyArtifactError
from components.evaluation import collect_problems
from components.evaluation.config import CollectProblemsConfig, KnownProblemFile
from components.evaluation.problem_layouts import LAYOUTS, SourceRow
from components.evaluation.problem_table import digest_of, read_rows, write_problems
from components.tables import read_dropped, read_files, read_table, shards_of
from data_contracts.columns import CODE_FILES

BENCHMARKS = Path("../shared/data")
REPOSITORY = Path(__file__).resolve().parents[3]

PROMPT = '''def crossing_time(lengths, speed):
    """Return how many minutes the slowest of the caravans needs to cross the desert at the given speed."""
'''
SOLUTION = """    longest = max(lengths, default=0)
    whole_minutes, rest = divmod(longest, speed)
    return whole_minutes + (1 if rest else 0)
"""
DOCSTRING = PROMPT.split('"""')[1]
INNOCENT = "def area(radius):\n    return 3.14159 * radius ** 2\n"


def _problem(task_id="Desert/0", prompt=PROMPT, solution=SOLUTION):
    values = {"task_id": task_id, "prompt": prompt, "canonical_solution": solution, "test": "", "entry_point": "f"}
    return LAYOUTS["human_eval"].read(SourceRow(values, task_id.split("/")[0], 1))


PROBLEM = _problem()


@pytest.fixture
def config():
    return DecontaminateConfig(recipe=1, min_match_chars=40, blanks="one_space", ngram_tokens=13, min_ngram_words=5)


class Cleaned:
    """What a run left."""

    def __init__(self, out, summary):
        self.summary = summary
        self.out = out
        self.kept = [row["content"] for batch in read_files(out) for row in batch.to_pylist()]
        self.dropped = [row for batch in read_dropped(out) for row in batch.to_pylist()]
        has_overlaps = OVERLAPS.path(out, 0).exists()
        self.overlaps = (
            [row for batch in read_table(out, OVERLAPS) for row in batch.to_pylist()] if has_overlaps else []
        )


@pytest.fixture
def clean(tmp_path, table_of, config):
    """Call it with contents (or rows) and problems: it runs the step."""

    def run(contents, problems=(PROBLEM,), config=config, shard_bytes=1 << 20):
        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        benchmark, out = place / "eval_problems", place / "out"
        benchmark.mkdir(parents=True)
        out.mkdir()
        write_problems(problems, benchmark)
        table = table_of(
            [{"content": content} if isinstance(content, str) else content for content in contents], shard_bytes
        )
        work_dir = place / "work"
        summary = decontaminate.run(config, unique_files=table, eval_problems=benchmark, out=out, work_dir=work_dir)
        return Cleaned(out, summary)

    return run


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
        (PROMPT + SOLUTION, "program"),
        ("how many minutes, the slowest of the caravans, needs to cross: the desert at the", "ngram"),
        ("# " + DOCSTRING.replace(" caravans ", " caravans\n# "), "ngram"),
    ],
)
def test_a_copy_is_found_whatever_its_layout_and_quoting(clean, content, kind):
    cleaned = clean([INNOCENT, content])
    assert cleaned.kept == [INNOCENT]
    (row,) = cleaned.dropped
    assert (row["rule"], row["value"]) == ("benchmark_overlap", kind)
    assert row["detail"].startswith(f"Desert Desert/0 {kind} bytes ")
    assert row["threshold"] == ("13 tokens" if kind == "ngram" else "40 characters")
    assert cleaned.summary.dropped_by_kind == {kind: 1}
    assert cleaned.summary.dropped_by_benchmark == {"Desert": 1}


def test_the_dropped_row_tells_where_the_copy_lies_in_the_file(clean):
    content = f"# \u00e9 \u4e2d\n{PROMPT}    pass\n"
    (row,) = clean([INNOCENT, content]).dropped
    first = content.encode().index(DOCSTRING.encode())
    assert row["detail"] == f"Desert Desert/0 docstring bytes {first}..{first + len(DOCSTRING)}: {DOCSTRING}"


def test_every_overlap_is_a_row_with_the_file_the_problem_and_the_span(clean):
    content = f"{DOCSTRING}\n\nx = 1\n{SOLUTION}"
    cleaned = clean([INNOCENT, {"content": content, "path": "a/copy.txt", "commit": "c0ffee"}])
    assert cleaned.summary.overlaps == len(cleaned.overlaps) == 4
    assert [row["kind"] for row in cleaned.overlaps] == ["docstring", "canonical_solution", "ngram", "ngram"]
    for row in cleaned.overlaps:
        assert (row["benchmark"], row["task_id"]) == ("Desert", "Desert/0")
        assert {name: row[name] for name in cleaned.dropped[0] if name in row} == {
            name: value for name, value in cleaned.dropped[0].items() if name in row
        }
    assert [content[row["start_byte"] : row["end_byte"]] for row in cleaned.overlaps] == [
        DOCSTRING,
        SOLUTION.strip(),
        DOCSTRING.rstrip("."),
        SOLUTION.strip().rstrip(")"),
    ]


def test_of_a_file_that_repeats_a_text_without_end_the_first_thousand_overlaps_are_written_down(clean):
    cleaned = clean([INNOCENT, f"{DOCSTRING}\n" * 3_000, SOLUTION])
    assert cleaned.summary.overlaps == len(cleaned.overlaps) == 1_000 + 2
    assert cleaned.overlaps[999]["start_byte"] == 999 * (len(DOCSTRING) + 1)


def test_a_file_counts_for_each_benchmark_that_it_overlaps_with(clean):
    cleaned = clean([INNOCENT, DOCSTRING, SOLUTION], [PROBLEM, _problem("Oasis/3", solution="    return 0\n")])
    assert cleaned.summary.dropped_by_benchmark == {"Desert": 2, "Oasis": 1}
    assert cleaned.summary.dropped_by_kind == {"canonical_solution": 1, "docstring": 1}


def test_the_text_in_the_detail_is_cut_to_120_characters_on_one_line(clean):
    long_text = "\n".join(f"\u00e9st\u00f6ne{number}" for number in range(60))
    problem = _problem("Long/0", f'def f():\n    """{long_text}"""\n', "    return 1\n")
    (row,) = clean([INNOCENT, long_text], [problem]).dropped
    shown = row["detail"].split(": ", 1)[1]
    assert shown == " ".join(long_text[:120].split())


def test_texts_below_the_limit_and_shorter_runs_of_tokens_stay(clean, config):
    twelve = "minutes the slowest of the caravans needs to cross the desert at"
    assert clean([twelve]).kept == [twelve]
    trivial = _problem("T/0", "def f(x):\n", "    return sorted(x)\n")
    content = "def g(x):\n    return sorted(x)\n"
    assert clean([content], [trivial]).kept == [content]
    short_matches = config.model_copy(update={"min_match_chars": 10})
    assert clean([INNOCENT, content], [trivial], short_matches).kept == [INNOCENT]


def test_counting_and_loops_give_no_problem_away(clean):
    numbers = ", ".join(str(number) for number in range(30))
    loops = "for (int i = 0; i < n; i++) { for (int j = 0; j < n; j++) { if (a[i] == b[j]) return i;"
    problem = _problem(
        "N/0", f'def f():\n    """Count: {numbers}."""\n', f"    {loops} }} }} return answer_that_is_ours\n"
    )
    files = [f"TABLE = [{numbers}]\n", loops]
    assert clean(files, [problem]).kept == files


def test_a_file_of_another_language_is_searched_too(clean):
    content = f"/* {DOCSTRING} */\nint main(void) {{ return 0; }}\n"
    assert clean([INNOCENT, content]).kept == [INNOCENT]


def test_without_problems_every_file_stays(clean):
    cleaned = clean([INNOCENT, SOLUTION], [])
    assert cleaned.kept == [INNOCENT, SOLUTION]
    assert (cleaned.dropped, cleaned.overlaps, cleaned.summary.problems) == ([], [], 0)


def test_when_nothing_is_left_the_step_fails_and_says_why(clean):
    with pytest.raises(EmptyArtifactError, match=r"left none of 2 files.*problem_files"):
        clean([f"# {DOCSTRING}", SOLUTION])


def test_how_the_files_are_cut_into_shards_changes_no_row(clean, library_files):
    files = [*library_files[:40], {"content": SOLUTION}, *library_files[40:80], {"content": PROMPT, "path": "b.py"}]
    few, many = clean(files), clean(files, shard_bytes=1 << 17)
    assert len(shards_of(few.out)) < len(shards_of(many.out))
    assert (few.kept, few.dropped, few.overlaps) == (many.kept, many.dropped, many.overlaps)
    assert few.summary == many.summary
    assert few.kept == [row["content"] for row in library_files[:80]]


def test_the_same_input_gives_the_same_bytes(clean, library_files):
    outs = [clean([*library_files, {"content": SOLUTION}]).out for _ in range(2)]
    names = sorted(path.name for path in outs[0].iterdir())
    assert names == [
        "dropped-00000.parquet",
        *sorted(path.name for path in shards_of(outs[0])),
        "overlaps-00000.parquet",
    ]
    assert all((outs[0] / name).read_bytes() == (outs[1] / name).read_bytes() for name in names)


def test_the_function_of_a_batch_can_be_sent_to_a_worker_and_sees_new_problems(tmp_path, table_of, config):
    """The search is made once per process, for these problems and no others in the same place."""
    (batch,) = read_files(table_of([{"content": INNOCENT}, {"content": SOLUTION}]))
    for problem, num_kept in ((PROBLEM, 1), (_problem("Other/0", "def f():\n", "    return 0\n"), 2)):
        write_problems([problem], tmp_path)
        digest = digest_of(tmp_path)
        function = partial(decontaminate.drop_overlaps, config=config, eval_problems=tmp_path, digest=digest)
        mapped = pickle.loads(pickle.dumps(function))(batch)  # noqa: S301 - our own bytes
        assert mapped.kept.num_rows == num_kept
        assert mapped.kept.schema == CODE_FILES
        assert mapped.tables["overlaps"].schema == OVERLAPS.schema


def _collected(out, *problem_files):
    out.mkdir()
    config = CollectProblemsConfig(recipe=1, problem_files=problem_files)
    collect_problems.run(config, workspace=REPOSITORY, out=out)
    return read_rows(out)


def test_our_own_repository_does_not_teach_the_model_its_own_benchmark(tmp_path, clean):
    """Its Git history is a source of the real run: the benchmark itself, a solved problem and the tests around it."""
    rows = _collected(tmp_path / "eval_problems")
    problems = [row.problem for row in rows]
    benchmark = resources.files("components.evaluation").joinpath("problems.jsonl").read_text(encoding="utf-8")
    solved = [problem.prompt + problem.canonical_solution for problem in problems]
    pretty = [json.dumps(asdict(problem), indent=2) for problem in problems]
    cleaned = clean([INNOCENT, benchmark, *solved, *pretty], rows)
    assert cleaned.kept == [INNOCENT]
    named = [row["detail"].split(" bytes ")[0] for row in cleaned.dropped[1:]]
    assert named[:24] == [f"starloom {problem.task_id} program" for problem in problems]
    assert named[24:] == [f"starloom {problem.task_id} docstring" for problem in problems]
    assert cleaned.summary.dropped_by_benchmark == {"starloom": 1 + 2 * len(problems)}


def _needs(path):
    return pytest.mark.skipif(not (REPOSITORY / path).exists(), reason=f"{path} is not beside the repository")


PUBLISHED = [
    ("human-eval/HumanEval.jsonl.gz", "human_eval", 164),
    ("humaneval-x/humaneval_cpp.jsonl.gz", "human_eval_x", 164),
    ("humaneval-x/humaneval_go.jsonl.gz", "human_eval_x", 164),
    ("humaneval-x/humaneval_java.jsonl.gz", "human_eval_x", 164),
    ("humaneval-x/humaneval_js.jsonl.gz", "human_eval_x", 164),
    ("humaneval-x/humaneval_python.jsonl.gz", "human_eval_x", 164),
    ("humaneval-x/humaneval_rust.jsonl.gz", "human_eval_x", 164),
    ("human-eval-infilling/HumanEval-SingleLineInfilling.jsonl.gz", "infilling", 1033),
    ("human-eval-infilling/HumanEval-RandomSpanInfilling.jsonl.gz", "infilling", 1640),
]


@pytest.mark.parametrize(
    ("name", "layout", "num_problems"),
    [pytest.param(*case, marks=_needs(BENCHMARKS / case[0]), id=case[0]) for case in PUBLISHED],
)
def test_every_program_of_a_published_benchmark_is_caught_and_the_library_is_not(
    tmp_path, clean, library_files, name, layout, num_problems
):
    file = KnownProblemFile(path=(BENCHMARKS / name).as_posix(), benchmark="Published", layout=layout)
    rows = [row for row in _collected(tmp_path / "p", file) if row.benchmark == "Published"]
    assert len(rows) == num_problems
    programs = list(dict.fromkeys(text.text for row in rows for text in row.texts if text.kind == "program"))
    cleaned = clean([*library_files, *programs], rows)
    assert cleaned.kept == [row["content"] for row in library_files]
    assert len(cleaned.dropped) == len(programs)
    assert {row["value"] for row in cleaned.dropped} == {"program"}


@_needs(BENCHMARKS / "human-eval/HumanEval.jsonl.gz")
def test_humaneval_strings_that_the_reference_exempts_are_not_looked_for_here_either(tmp_path, clean):
    """Its four trivial solutions are of the problems 23, 28, 41 and 53."""
    file = (BENCHMARKS / "human-eval/HumanEval.jsonl.gz").as_posix()
    rows = [row for row in _collected(tmp_path / "p", file) if row.benchmark == "HumanEval"]
    trivial = [rows[number].problem.canonical_solution for number in (23, 28, 41, 53)]
    assert [" ".join(solution.split()) for solution in trivial] == [
        "return len(string)",
        "return ''.join(strings)",
        "return n**2",
        "return x + y",
    ]
    files = [f"def f():\n{solution}" for solution in trivial]
    assert clean(files, rows).kept == files


def test_a_problem_without_texts_is_looked_for_nowhere(clean):
    assert clean([SOLUTION], [replace(PROBLEM, texts=())]).kept == [SOLUTION]
