"""What became of a file: kept here, dropped there, with the rule and the file that stands in its place."""

import re

import pyarrow as pa
import pytest

from components.corpus import decontaminate
from components.corpus.config import DecontaminateConfig
from components.errors import CorruptArtifactError, MissingInputError
from components.evaluation.problem_table import Problem, ProblemRow, ProblemText, write_problems
from components.settings import Settings
from components.tables import FilesWriter, dropped_rows, read_files
from components.trace_file import trace_file


@pytest.fixture
def settings(table_of, tmp_path):
    """A workspace whose unique_files lack a file that raw_files hold, twice."""
    rows = [
        {"content": "a", "path": "a.py", "commit": "c1"},
        {"content": "aa", "path": "a.py", "commit": "c2"},
        {"content": "b", "path": "b.py"},
    ]
    [batch] = read_files(table_of(rows))
    settings = Settings(workspace=tmp_path)
    for name, kept, dropped in (("raw_files", [0, 1, 2], []), ("unique_files", [1, 2], [0])):
        place = settings.artifacts_dir / name
        place.mkdir(parents=True)
        kept_id = batch.column("file_id")[2].as_py()
        with FilesWriter(place) as writer:
            writer.keep(batch.take(pa.array(kept)))
            details = [f"kept {kept_id}, Jaccard 0.8000"] * len(dropped)
            words = ["near_duplicate"] * len(dropped), ["0.8000"] * len(dropped), ["0.7"] * len(dropped)
            writer.drop(
                dropped_rows(batch, dropped, rules=words[0], values=words[1], thresholds=words[2], details=details)
            )
    return settings


def test_each_step_that_met_the_file_says_what_it_did(settings):
    raw, unique = trace_file("owner/project", "a.py", settings)
    assert (raw.step, raw.artifact, raw.kept, raw.dropped) == ("ingest_sources", "raw_files", 2, ())
    assert (unique.artifact, unique.kept) == ("unique_files", 1)
    [reason] = unique.dropped
    assert (reason.commit, reason.rule, reason.value, reason.threshold) == ("c1", "near_duplicate", "0.8000", "0.7")
    assert reason.other == ("owner/project", "b.py")


def test_a_span_of_a_dropped_file_is_told_and_is_no_kept_file(settings, table_of, tmp_path):
    """The table of overlaps names files too: those that are not kept."""
    content = 'def f(numbers):\n    """Return the largest of the numbers, or nothing at all if the list is empty."""\n'
    table = table_of([{"content": content, "path": "leak.py"}, {"content": "x = 1\n", "path": "b.py"}])
    problem = Problem("t/1", "ours", "python", content, "    return max(numbers)\n", "", "f")
    texts = (ProblemText("docstring", "Return the largest of the numbers, or nothing at all if the list is empty."),)
    (tmp_path / "problems").mkdir()
    write_problems([ProblemRow("t/1", "ours", texts, problem)], tmp_path / "problems")
    config = DecontaminateConfig(recipe=1, min_match_chars=40, blanks="one_space", ngram_tokens=13, min_ngram_words=5)
    out = settings.artifacts_dir / "clean_files"
    out.mkdir()
    decontaminate.run(
        config, unique_files=table, eval_problems=tmp_path / "problems", out=out, work_dir=tmp_path / "work"
    )
    assert list(out.glob("overlaps-*"))
    [fate] = trace_file("owner/project", "leak.py", settings)
    assert (fate.step, fate.kept) == ("decontaminate", 0)
    [reason] = fate.dropped
    assert reason.rule == "benchmark_overlap"
    span = re.search(r"ours t/1 docstring bytes (\d+)\.\.(\d+)", reason.detail)
    assert content.encode()[int(span[1]) : int(span[2])].decode() == texts[0].text


def test_a_file_that_nobody_has_heard_of_is_told(settings):
    with pytest.raises(MissingInputError, match=r"has heard of 'z\.py' in 'owner/project'"):
        trace_file("owner/project", "z.py", settings)


def test_a_damaged_table_is_told_and_not_passed_over(settings):
    shard = settings.artifacts_dir / "unique_files/files-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(CorruptArtifactError, match="unique_files"):
        trace_file("owner/project", "a.py", settings)
