"""The sample that the project ships: read by the real steps, it gives what it was written to give."""

import gzip
from pathlib import Path

import pytest

from components.issues import ingest_issues, render_issues
from components.markup import visible
from components.tables import read_dropped, read_files
from data_contracts.columns import ISSUE_THREADS
from data_contracts.contract import columns_of
from data_contracts.parquet_files import read_footers

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "samples/issues").glob("*.json.gz"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, ingest_config, render_config):
    """The summaries, documents by place and dropped rows by place, of both steps."""
    place = tmp_path_factory.mktemp("samples")
    for name in ("opt_outs", "raw", "files", "work"):
        (place / name).mkdir()
    (place / "opt_outs/opt_outs.json").write_text(
        '{"repositories": ["brinework/quiet-cove"], "users": ["ottilie-r"]}', "utf-8"
    )
    config = ingest_config("samples/issues")
    first = ingest_issues.run(config, opt_outs=place / "opt_outs", workspace=ROOT, out=place / "raw")
    second = render_issues.run(render_config(), raw_issues=place / "raw", out=place / "files", work_dir=place / "work")
    documents = {
        f"{row['repository']}/{row['path']}": visible(row["content"])
        for batch in read_files(place / "files")
        for row in batch.to_pylist()
    }
    dropped = {
        f"{row['repository']}/{row['path']}": row["rule"]
        for name in ("raw", "files")
        for batch in read_dropped(place / name)
        for row in batch.to_pylist()
    }
    [footer] = read_footers(place / "raw", "threads-*.parquet")
    assert footer.type_of == {column.name: column.type for column in columns_of(ISSUE_THREADS)}
    return first, second, documents, dropped


def test_the_files_are_small_and_do_not_tell_when_they_were_made():
    assert sum(path.stat().st_size for path in SAMPLES) < 100_000
    for path in SAMPLES:
        with gzip.open(path) as stream:
            stream.read(1)
            assert stream.mtime == 0


def test_most_of_the_threads_survive_and_each_rule_has_its_example(made):
    first, second, documents, dropped = made
    assert (first.files.kept_files, first.pull_requests, first.repeated_events) == (65, 6, 1)
    assert second.files.kept_files == len(documents) == 56
    assert first.files.dropped_by_rule == {"not_json": 1, "opted_out_repository": 1, "opted_out_user": 1}
    assert second.files.dropped_by_rule == {
        "max_monologue_chars": 1,
        "min_text_chars": 4,
        "no_messages": 1,
        "no_title": 1,
        "not_english": 2,
    }
    assert dropped["brinework/tidechart/pull/36"] == "no_messages"
    assert dropped["lanternfish/kelp/issues/110"] == "not_english"
    assert {name for name in second.counts if second.counts[name]} >= {"bot", "bot_call", "mail", "truncated", "names"}


def test_nobody_in_it_is_named(made):
    _, _, documents, _ = made
    for login in ("ottilie-r", "@tobiasw", "@mara-lindqvist", "@jkowalczyk", "annelies-k", "notifications@github.com"):
        assert [place for place, text in documents.items() if login in text] == []


def test_a_pull_request_of_2026_has_its_title_from_a_comment(made):
    _, _, documents, _ = made
    assert documents["brinework/tidechart/pull/44"].startswith(
        "<issue_start>Title: Draw gaps where the gauge was silent\nusername_0: When the gauge sends nothing"
    )


def test_an_issue_that_was_opened_before_the_first_file_has_its_beginning(made):
    _, _, documents, _ = made
    assert documents["lanternfish/kelp/issues/30"].startswith(
        "<issue_start>Title: Question: can two processes share a store?\nusername_0: I would like to have one process"
    )
