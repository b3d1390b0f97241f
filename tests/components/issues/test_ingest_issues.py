"""The step that collects conversations: whatever the files look like, the threads are the same."""

import gzip
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import CorruptArtifactError, SourceError
from components.issues import event_runs
from components.issues.config import IngestIssuesConfig
from components.issues.ingest_issues import THREADS, resolve_sources, run
from components.runner import InlineRunner, PoolRunner, use_runner
from components.tables import read_dropped, read_table
from data_contracts.columns import ISSUE_THREADS


@pytest.fixture
def ingest(tmp_path, opt_outs_of):
    """Call it with a config: the summary, the threads, the dropped rows and the bytes of the artifact."""

    def call(config, opt_outs=None):
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        summary = run(config, opt_outs=opt_outs or opt_outs_of(), workspace=tmp_path, out=out)
        threads = [row for batch in read_table(out, THREADS) for row in batch.to_pylist()]
        dropped = [row for batch in read_dropped(out) for row in batch.to_pylist()]
        return summary, threads, dropped, {path.name: path.read_bytes() for path in sorted(out.iterdir())}

    return call


@pytest.fixture
def conversation(event_of):
    """Forty events of nine threads in two repositories."""
    events = []
    for number in range(40):
        kind = ["opened", "comment", "comment", "closed", "reopened"][number % 5]
        moment = f"2021-05-{1 + number % 28:02d}T10:00:{number:02d}Z"
        more = {"repo": f"owner/project-{number % 2}", "number": 1 + number % 9, "author": f"user-{number % 4}"}
        events.append(event_of(kind, id=1000 + number, at=moment, text=f"text {number} \u00e9", **more))
    return events


def names_of(threads):
    return {(thread["repository"], thread["path"]) for thread in threads}


def test_a_thread_is_put_together_from_several_files(tmp_path, event_of, write_archive, ingest, ingest_config):
    write_archive(
        tmp_path / "b/1.json.gz", [event_of("comment", id=3, author="bob", text="Yes.", at="2021-05-01T12:00:00Z")]
    )
    write_archive(tmp_path / "b/2.json.gz", [event_of("opened", id=1, text="Why?", at="2021-05-01T10:00:00Z")])
    write_archive(
        tmp_path / "a/3.json.gz",
        [
            event_of("closed", id=4, author="bob", at="2021-05-01T13:00:00Z"),
            event_of("comment", id=2, text="Anybody?", at="2021-05-01T12:00:00Z"),
        ],
    )
    summary, [thread], dropped, _ = ingest(ingest_config("b", "a"))
    assert [(event["kind"], event["author"], event["text"]) for event in thread["events"]] == [
        ("opened", "alice", "Why?"),
        ("comment", "alice", "Anybody?"),
        ("comment", "bob", "Yes."),
        ("closed", "bob", ""),
    ]
    assert {name: thread[name] for name in ("source", "repository", "path", "commit", "title", "state", "number")} == {
        "source": "source-0",
        "repository": "owner/project",
        "path": "issues/7",
        "commit": None,
        "title": "A title",
        "state": "closed",
        "number": 7,
    }
    assert dropped == []
    assert [(source.name, source.archives, source.lines, source.events) for source in summary.sources] == [
        ("source-0", 2, 2, 2),
        ("source-1", 1, 2, 2),
    ]


def test_no_source_gives_one_shard_without_a_row(ingest, ingest_config):
    summary, threads, dropped, files = ingest(ingest_config())
    assert (threads, dropped, summary.sources) == ([], [], ())
    assert list(files) == ["dropped-00000.parquet", "threads-00000.parquet"]


def test_a_licence_comes_from_the_events_or_from_the_source(tmp_path, event_of, write_archive, ingest):
    pull = event_of("opened", is_pull=True, number=1)
    pull["payload"]["pull_request"]["base"]["repo"]["license"] = {"spdx_id": "MIT"}
    write_archive(tmp_path / "a.json.gz", [pull, event_of("opened", id=2, number=2)])
    config = {"recipe": 1, "max_line_bytes": 2**20, "max_thread_bytes": 2**20, "shard_bytes": 2**20}
    source = {"name": "a", "path": "a.json.gz", "license": "ISC"}
    _, threads, _, _ = ingest(IngestIssuesConfig.model_validate(config | {"sources": [source]}))
    assert {thread["path"]: (thread["license"], thread["stars"]) for thread in threads} == {
        "pull/1": ("MIT", 12),
        "issues/2": ("ISC", None),
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_order_of_files_and_lines_changes_nothing(
    tmp_path, conversation, write_archive, ingest, ingest_config, data
):
    place = tmp_path / f"in-{len(list(tmp_path.iterdir()))}"
    expected = _reference(tmp_path, conversation, write_archive, ingest, ingest_config)
    doubled = data.draw(st.lists(st.sampled_from(conversation), max_size=5))
    lines = data.draw(st.permutations([*conversation, *doubled]))
    files = data.draw(st.lists(st.integers(0, 3), min_size=len(lines), max_size=len(lines)))
    for file in sorted(set(files)):
        chosen = [line for line, its_file in zip(lines, files, strict=True) if its_file == file]
        write_archive(place / f"{file}.json.gz", chosen)
    summary, threads, _, files_written = ingest(ingest_config(place.name))
    assert threads == expected["threads"]
    assert files_written == expected["files"]
    assert summary.repeated_events == len(doubled)


def _reference(tmp_path, conversation, write_archive, ingest, ingest_config):
    write_archive(tmp_path / "reference.json.gz", conversation)
    _, threads, _, files = ingest(ingest_config("reference.json.gz"))
    return {"threads": threads, "files": files}


def test_buckets_runs_and_workers_change_nothing(
    tmp_path, conversation, write_archive, ingest, ingest_config, monkeypatch
):
    for number in range(4):
        write_archive(tmp_path / f"in/{number}.json.gz", conversation[number::4])
    config = ingest_config("in")
    _, _, _, expected = ingest(config)
    with use_runner(PoolRunner(2, inline_bytes=0)):
        assert ingest(config)[3] == expected
    monkeypatch.setattr(event_runs, "RUN_ROWS", 3)
    monkeypatch.setattr(event_runs, "BUCKET_BYTES", 100)
    assert event_runs.num_buckets(1000) == 11
    with use_runner(InlineRunner()):
        assert ingest(config)[3] == expected


def test_each_bad_line_is_dropped_with_its_place_and_the_rest_is_read(
    tmp_path, event_of, write_archive, ingest, ingest_config
):
    bad = [
        b"{",
        b"[" * 10_000 + b"]" * 10_000,
        json.dumps(event_of("opened", id=2, text="a\0b")).encode(),
        json.dumps(event_of("opened", id=3)).replace("alice", "\\ud83d").encode(),
        json.dumps(event_of("opened", id=4, title=5)).encode(),
        b'{"type": "IssuesEvent", "payload": "' + b"x" * 2**21 + b'"}',
    ]
    write_archive(tmp_path / "in/2021-05-01-10.json.gz", [event_of("opened"), *bad, {"type": "WatchEvent"}])
    whole = gzip.compress(
        json.dumps(event_of("opened", id=9, number=8)).encode() + b"\n" + os.urandom(500).replace(b"\n", b"")
    )
    (tmp_path / "in/cut\noff.json.gz").write_bytes(whole[:-100])
    summary, threads, dropped, _ = ingest(ingest_config("in"))
    assert names_of(threads) == {("owner/project", "issues/7"), ("owner/project", "issues/8")}
    assert [(row["path"], row["rule"]) for row in dropped] == [
        ("2021-05-01-10.json.gz:2", "not_json"),
        ("2021-05-01-10.json.gz:3", "not_json"),
        ("2021-05-01-10.json.gz:4", "nul_character"),
        ("2021-05-01-10.json.gz:5", "not_json"),
        ("2021-05-01-10.json.gz:6", "wrong_type"),
        ("2021-05-01-10.json.gz:7", "max_line_bytes"),
        ("cut\noff.json.gz:2", "damaged_gzip"),
    ]
    assert {(row["source"], row["repository"], row["commit"]) for row in dropped} == {("source-0", "source-0", None)}
    assert len({row["file_id"] for row in dropped}) == len(dropped)
    [source] = summary.sources
    assert source.refused == {
        "damaged_gzip": 1,
        "max_line_bytes": 1,
        "not_json": 3,
        "nul_character": 1,
        "wrong_type": 1,
    }
    assert source.ignored == {"WatchEvent": 1}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_line_is_an_event_ignored_or_refused(tmp_path, event_of, write_archive, ingest, ingest_config, data):
    place = tmp_path / f"in-{len(list(tmp_path.iterdir()))}"
    good = [event_of("opened", id=number + 1, number=number + 1) for number in range(data.draw(st.integers(0, 5)))]
    other = [{"type": "PushEvent"}] * data.draw(st.integers(0, 3))
    bad = data.draw(
        st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: line.strip() and b"\n" not in line), max_size=5)
    )
    lines = data.draw(st.permutations([*good, *other, *bad]))
    write_archive(place / "a.json.gz", lines)
    summary, threads, dropped, _ = ingest(ingest_config(place.name))
    [source] = summary.sources
    assert source.lines == len(lines) == source.events + sum(source.ignored.values()) + sum(source.refused.values())
    assert (source.events, sum(source.ignored.values()), len(dropped)) == (len(good), len(other), len(bad))
    assert summary.files.kept_files == len(threads) == len(good)
    assert summary.files.dropped_by_rule == source.refused


def test_who_asked_to_be_left_out_is(tmp_path, event_of, write_archive, ingest, ingest_config, opt_outs_of):
    events = [
        event_of("opened", id=1, repo="owner/secret"),
        event_of("opened", id=2, repo="eve/tool"),
        event_of("opened", id=3, number=3, opener="eve"),
        event_of("comment", id=4, number=4, author="eve", text="I know."),
        event_of("comment", id=5, number=4, author="bob", text="Thanks @eve!"),
    ]
    write_archive(tmp_path / "a.json.gz", events)
    _, [thread], dropped, files = ingest(ingest_config("a.json.gz"), opt_outs_of(["Owner/Secret"], ["Eve"]))
    assert [event["text"] for event in thread["events"]] == ["The first text.", "Thanks @removed-user!"]
    assert {(row["repository"], row["path"], row["rule"]) for row in dropped} == {
        ("owner/secret", "issues/7", "opted_out_repository"),
        ("eve/tool", "issues/7", "opted_out_repository"),
        ("owner/project", "issues/3", "opted_out_user"),
    }
    assert b"I know." not in files["threads-00000.parquet"]


def test_a_thread_that_is_too_large_is_dropped(tmp_path, event_of, write_archive, ingest, ingest_config):
    events = [event_of("comment", id=number, text="x" * 1000, opening=None) for number in range(1, 30)]
    write_archive(tmp_path / "a.json.gz", [*events, event_of("opened", id=99, number=8)])
    _, threads, [row], _ = ingest(ingest_config("a.json.gz", max_thread_bytes=20_000))
    assert names_of(threads) == {("owner/project", "issues/8")}
    assert (row["path"], row["rule"], row["value"], row["threshold"]) == (
        "issues/7",
        "max_thread_bytes",
        str(29 * (1000 + len("alice") + event_runs.EVENT_BYTES)),
        "20000",
    )


def test_sources_are_digested_by_name(tmp_path, event_of, write_archive, ingest_config):
    write_archive(tmp_path / "a.json.gz", [event_of("opened")])
    write_archive(tmp_path / "b.json.gz", [event_of("opened")])
    digests = resolve_sources(ingest_config("a.json.gz", "b.json.gz"), tmp_path)
    assert sorted(digests) == ["source-0", "source-1"]
    assert all(len(digest) == 64 for digest in digests.values())
    with pytest.raises(SourceError, match=r"source 'source-0': .* holds no \.json\.gz file"):
        resolve_sources(ingest_config("missing"), tmp_path)


def test_two_sources_cannot_share_a_name():
    source = {"name": "a", "path": "a", "license": None}
    config = {"recipe": 1, "max_line_bytes": 2**20, "max_thread_bytes": 2**20, "shard_bytes": 2**20}
    with pytest.raises(ValueError, match="share the name 'a'"):
        IngestIssuesConfig.model_validate(config | {"sources": [source, source]})


def test_opt_outs_that_are_no_list_stop_the_step(tmp_path, event_of, write_archive, ingest, ingest_config):
    write_archive(tmp_path / "a.json.gz", [event_of("opened")])
    (tmp_path / "broken").mkdir()
    with pytest.raises(CorruptArtifactError, match="make the artifact anew"):
        ingest(ingest_config("a.json.gz"), tmp_path / "broken")


def test_nothing_but_the_tables_is_left(tmp_path, event_of, write_archive, ingest, ingest_config):
    write_archive(tmp_path / "a.json.gz", [event_of("opened")])
    _, threads, _, files = ingest(ingest_config("a.json.gz"))
    assert list(files) == ["dropped-00000.parquet", "threads-00000.parquet"]
    assert list(threads[0]) == ISSUE_THREADS.names
