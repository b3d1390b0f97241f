"""The contracts between collection and release: each holds on good tables, and each breach is named."""

import pyarrow.parquet as pq
import pytest

from data_contracts.catalog import contract_for
from data_contracts.columns import CODE_FILES
from data_contracts.engine import check


@pytest.fixture
def audit(tmp_path, artifacts):
    """Call it with an artifact's name, its rows, its dropped rows and the rows of those upstream: the report."""

    def call(name, rows, dropped=(), **upstream):
        places = {}
        for table, its_rows in ({name: rows} | upstream).items():
            places[table] = tmp_path / table
            artifacts.write_files(places[table], its_rows, list(dropped) if table == name else [])
            if not its_rows:  # a step that keeps nothing leaves one empty shard
                pq.write_table(CODE_FILES.empty_table(), places[table] / "files-00000.parquet")
        standing = {table: place for table, place in places.items() if table != name}
        return check(contract_for(name), places[name], tmp_path / "docs", upstream=standing)

    return call


def files(artifacts, first, last, **changes):
    return [artifacts.code_file(number, **changes) for number in range(first, last)]


@pytest.mark.parametrize("name", ["notebook_files", "issue_files", "commit_files"])
def test_a_corpus_may_lack_a_kind_of_text(audit, name):
    assert not audit(name, []).blocked


def test_a_good_table_passes_and_every_row_is_accounted_for(audit, artifacts):
    report = audit(
        "quality_files", files(artifacts, 0, 120), [artifacts.dropped_file(1)], raw_files=files(artifacts, 0, 121)
    )
    assert not report.blocked, report.sentence()
    assert report.unchecked == ()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("quality_files", {"kind": "issue"}),
        ("quality_files", {"language": None}),
        ("notebook_files", {"kind": "file"}),
        ("issue_files", {"kind": "commit"}),
        ("commit_files", {"kind": "commit", "commit": None}),
        ("unique_files", {"content_sha256": "0" * 64}),
        ("corpus_splits", {"split": None}),
        ("corpus_splits", {"split": "dev"}),
    ],
)
def test_a_row_that_breaks_its_steps_promise_blocks(audit, artifacts, name, changes):
    report = audit(name, files(artifacts, 0, 120, **changes))
    assert report.blocked
    told = " ".join(result.text for result in report.failures)
    assert any(column in told for column in changes), told


def test_a_row_that_got_lost_on_the_way_blocks(audit, artifacts):
    report = audit("redacted_files", files(artifacts, 0, 119), permitted_files=files(artifacts, 0, 120))
    assert report.blocked


def test_rows_are_counted_over_all_tables_that_one_was_made_from(audit, artifacts):
    parts = {
        "quality_files": files(artifacts, 0, 100),
        "notebook_files": files(artifacts, 100, 110, kind="notebook"),
        "issue_files": files(artifacts, 110, 120, kind="issue"),
        "commit_files": [],
    }
    together = [row for rows in parts.values() for row in rows]
    whole = audit("permitted_files", together, **parts)
    assert not whole.blocked, whole.sentence()


def test_a_shard_of_which_every_file_is_a_copy_may_be_empty(artifacts, audit, tmp_path):
    place = tmp_path / "unique_files"
    place.mkdir()
    pq.write_table(CODE_FILES.empty_table(), place / "files-00003.parquet")  # after the three of 50 rows
    assert not audit("unique_files", files(artifacts, 0, 120)).blocked


def test_a_corpus_may_not_be_without_a_row(audit):
    assert "sum of rows" in audit("unique_files", []).sentence()


@pytest.mark.parametrize("name", ["unique_files", "clean_files"])
def test_a_notebooks_script_may_equal_a_file(artifacts, audit, name):
    paired = {"content_sha256": "0" * 64}
    rows = [artifacts.code_file(0, **paired), artifacts.code_file(1, kind="notebook_script", **paired)]
    assert not audit(name, [*rows, *files(artifacts, 2, 120)]).blocked
