"""What became of a file: kept here, dropped there, with the rule and the file that stands in its place."""

import pyarrow as pa
import pytest

from components.errors import CorruptArtifactError, MissingInputError
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


def test_a_file_that_nobody_has_heard_of_is_told(settings):
    with pytest.raises(MissingInputError, match=r"has heard of 'z\.py' in 'owner/project'"):
        trace_file("owner/project", "z.py", settings)


def test_a_damaged_table_is_told_and_not_passed_over(settings):
    shard = settings.artifacts_dir / "unique_files/files-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(CorruptArtifactError, match="unique_files"):
        trace_file("owner/project", "a.py", settings)
