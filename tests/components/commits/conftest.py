"""What tests of commits share: the parameters of both steps, and tables of changes."""

import hashlib
import json

import pyarrow as pa
import pytest

from components.commits.config import IngestCommitsConfig, RenderCommitsConfig
from components.commits.ingest_commits import CHANGES, run
from components.tables import FilesWriter, read_dropped, read_table
from data_contracts.columns import COMMIT_CHANGES


@pytest.fixture(scope="session")
def ingest_config():
    """Call it with what differs, of each history and of the section: commits of one file of the test's repository."""
    return _ingest_config


def _ingest_config(*histories, **changes):
    history = {
        "name": "made-up",
        "path": "repository",
        "repository": "owner/project",
        "license": "Apache-2.0",
        "revision": "HEAD",
        "exclude": [],
    }
    return IngestCommitsConfig.model_validate(
        {
            "recipe": 1,
            "histories": [history | own for own in histories or ({},)],
            "max_files_per_commit": 1,
            "max_file_bytes": 100_000,
            "shard_bytes": 1 << 20,
        }
        | changes
    )


@pytest.fixture
def collected(repository, ingest_config, tmp_path):
    """Call it with a config and names to leave out: the summary, the kept rows and the dropped ones."""

    def call(parameters=None, repositories=(), users=()):
        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        (place / "out").mkdir(parents=True)
        (place / "opt_outs.json").write_text(json.dumps({"repositories": list(repositories), "users": list(users)}))
        summary = run(parameters or ingest_config(), opt_outs=place, workspace=tmp_path, out=place / "out")
        assert {path.suffix for path in (place / "out").iterdir()} == {".parquet"}
        kept = [row for batch in read_table(place / "out", CHANGES) for row in batch.to_pylist()]
        dropped = [row for batch in read_dropped(place / "out") for row in batch.to_pylist()]
        assert (summary.files.kept_files, summary.files.dropped_files) == (len(kept), len(dropped))
        return summary, kept, dropped

    return call


@pytest.fixture(scope="session")
def reasons():
    """Call it with dropped rows: commit, path and rule of each."""
    return lambda dropped: [(row["commit"], row["path"], row["rule"]) for row in dropped]


@pytest.fixture(scope="session")
def render_config():
    """Call it with what differs: the rules of the paper, sparing nothing and showing the change alone."""

    def make(**changes):
        return RenderCommitsConfig.model_validate(
            {
                "recipe": 1,
                "languages": ["python", "java", "markdown", "json", "dockerfile"],
                "max_file_chars": 100_000,
                "small_change_lines": 2,
                "small_change_keep": 1.0,
                "large_change_lines": 200,
                "large_change_keep": 0.0,
                "subject_phrases": ["auto commit", "update contributing", "<?xml"],
                "whole_subjects": ["readme", "update", "update readme.md"],
                "min_subject_words": 5,
                "short_subject_keep": 1.0,
                "max_chars_per_word": 20.0,
                "language_keep": {"java": 1.0},
                "extension_keep": {".json": 1.0},
                "whole_file_fraction": 0.0,
                "max_context_lines": 0,
                "message_last_fraction": 0.0,
                "seed": 11,
            }
            | changes
        )

    return make


@pytest.fixture
def changes_of(tmp_path):
    """Call it with the rows, each a dict with what differs: it writes a table of changes and returns where."""

    def write(rows, shard_bytes=1 << 20):
        place = tmp_path / f"changes-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        with FilesWriter(place, shard_bytes, CHANGES) as writer:
            completed = [_completed(row, number) for number, row in enumerate(rows)]
            writer.keep(pa.RecordBatch.from_pylist(completed, schema=COMMIT_CHANGES))
        return place

    return write


def _completed(row, number):
    row = {
        "source": "made-up",
        "repository": "owner/project",
        "path": f"src/file_{number:04d}.py",
        "commit": f"{number:040x}",
        "license": "MIT",
        "stars": 3,
        "forks": None,
        "updated_at": 1_600_000_000,
        "language": "python",
        "extension": ".py",
        "author": "A",
        "subject": "Say what the change is about",
        "message": "Say what the change is about",
        "before": "x = 1\ny = 2\n",
        "after": "x = 1\ny = 3\n",
        "old_path": None,
        "num_files_in_commit": 1,
    } | row
    identity = "\0".join((row["repository"], row["path"], row["commit"], row["before"], row["after"]))
    size_bytes = len((row["before"] + row["after"]).encode())
    return {"file_id": hashlib.sha256(identity.encode()).hexdigest()[:32], "size_bytes": size_bytes} | row
