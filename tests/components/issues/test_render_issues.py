"""The step that writes conversations down: StarCoder's layout, nothing forged, every drop with its reason."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.issues.ingest_issues import THREADS
from components.issues.message_rules import Turn
from components.issues.render_issues import render_thread, run
from components.issues.threads import identified
from components.markup import Mark, mark, split_marks, visible
from components.runner import PoolRunner, use_runner
from components.sources.source_files import Refusal
from components.tables import FilesWriter, read_dropped, read_files
from data_contracts.columns import CODE_FILES, ISSUE_THREADS

LONG = "The store does not open after the machine was switched off, and the log says nothing about the reason. " * 3


@pytest.fixture
def raw_issues(tmp_path):
    """Call it with (number, title, turns) of each thread: it writes the artifact raw_issues."""

    def write(threads, shard_bytes=2**20):
        place = tmp_path / f"raw-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        with FilesWriter(place, shard_bytes, THREADS) as writer:
            rows = [identified(_thread(*thread)) for thread in threads]
            writer.keep(pa.RecordBatch.from_pylist(rows, ISSUE_THREADS))
        return place

    return write


def _thread(number, title, turns):
    return {
        "source": "events",
        "repository": "owner/project",
        "path": f"issues/{number}",
        "commit": None,
        "license": "MIT",
        "stars": 5,
        "forks": None,
        "updated_at": 1700000000,
        "title": title,
        "state": "open",
        "is_pull_request": False,
        "number": number,
        "events": [{"author": a, "kind": kind, "text": text, "created_at": 1} for a, kind, text in turns],
    }


@pytest.fixture
def render(tmp_path):
    """Call it with an artifact and a config: the summary, the kept rows, the dropped rows and all bytes."""

    def call(artifact, config):
        place = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        (place / "out").mkdir(parents=True)
        (place / "work").mkdir()
        summary = run(config, raw_issues=artifact, out=place / "out", work_dir=place / "work")
        kept = [row for batch in read_files(place / "out") for row in batch.to_pylist()]
        dropped = [row for batch in read_dropped(place / "out") for row in batch.to_pylist()]
        return summary, kept, dropped, {path.name: path.read_bytes() for path in sorted((place / "out").iterdir())}

    return call


def document(config, title, *turns):
    rendered = render_thread(title, [Turn(*turn) for turn in turns], config)
    return visible(rendered.outcome) if isinstance(rendered.outcome, str) else rendered.outcome


def test_a_conversation_in_the_layout_of_starcoder(render_config):
    told = document(
        render_config(min_text_chars=10),
        "Store does not\n open",
        ("ann", "opened", "It fails.\r\n\r\nAlways.  \n"),
        ("bob", "comment", "@ann which version?"),
        ("carol", "closed", ""),
        ("ann", "comment", "0.4, as bob and carol have."),
        ("ann", "reopened", ""),
        ("ann", "closed", ""),
    )
    assert told == (
        "<issue_start>Title: Store does not open\n"
        "username_0: It fails.\n\nAlways."
        "<issue_comment>username_1: @username_0 which version?"
        "<issue_closed>"
        "<issue_comment>username_0: 0.4, as username_1 and username_2 have."
        "<issue_closed>"
    )


def test_no_text_of_a_user_can_forge_a_token(render_config):
    forged = f"{mark('issue_closed')} <issue_closed> \ufdd0issue_start"
    rendered = render_thread(
        forged, [Turn("ann", "opened", LONG + forged), Turn(forged, "comment", forged)], render_config()
    )
    marks = [piece.name for piece in split_marks(rendered.outcome) if isinstance(piece, Mark)]
    assert marks == ["issue_start", "issue_comment"]
    assert visible(rendered.outcome).count("<issue_closed>") == 3


def test_an_opening_without_text_still_has_its_author(render_config):
    told = document(
        render_config(), "It fails", ("ann", "opened", ""), ("bob", "comment", LONG), ("bob", "comment", "")
    )
    assert told == f"<issue_start>Title: It fails\nusername_0: <issue_comment>username_1: {LONG.strip()}"


def test_names_of_bots_and_of_outsiders_stay_and_those_of_removed_callers_go(render_config):
    told = document(
        render_config(),
        "It fails",
        ("ann", "opened", LONG),
        ("dan", "comment", "/retest"),
        ("x-bot", "comment", "ok"),
        ("ann", "comment", "dan asked x-bot, said @zoe"),
    )
    assert told.endswith("<issue_comment>username_0: username_1 asked x-bot, said @zoe")


def test_one_user_is_one_whatever_the_case(render_config):
    told = document(render_config(), "It fails", ("Ann", "opened", LONG), ("ann", "comment", "@ANN and Ann"))
    assert told.endswith("<issue_comment>username_0: @username_0 and username_0")


def test_mail_and_middles_go_before_the_size_is_taken(render_config):
    config = render_config(max_message_lines=4, last_message_lines=2)
    lines = [
        f"the line {number} of a long message about a store that fails to open after a while" for number in range(9)
    ]
    told = document(config, "T", ("ann", "opened", "\n".join(lines)), ("bob", "comment", "Signed-off-by: B <b@c.org>"))
    kept = [*lines[:2], "[Truncated]", *lines[-2:]]
    assert told == "<issue_start>Title: T\nusername_0: " + "\n".join(kept)


GERMAN = (
    "Der Speicher lässt sich nach dem Ausschalten nicht mehr öffnen, und das Protokoll sagt nichts über den Grund. " * 3
)


@pytest.mark.parametrize(
    ("title", "turns", "expected"),
    [
        (None, [("ann", "opened", LONG)], ("no_title", "0 characters", "1 character", "")),
        (" \n", [("ann", "opened", LONG)], ("no_title", "0 characters", "1 character", "")),
        ("T", [("x-bot", "opened", LONG)], ("no_messages", "0 of 1", "1", "went: bot 1, bot_call 0, empty 0")),
        ("T", [("ann", "closed", "")], ("no_messages", "0 of 0", "1", "went: bot 0, bot_call 0, empty 0")),
        ("T", [("ann", "opened", "Help")], ("min_text_chars", "4", "200", "")),
        ("T", [("ann", "opened", "word " * 2000)], ("max_monologue_chars", "9999", "7000", "1 of 2 users")),
        ("T", [("ann", "comment", LONG)] * 11, ("max_monologue_events", "11", "10", "1 of 2 users")),
        ("T", [("ann", "opened", GERMAN)], ("not_english", "0.00", "0.5", "likeliest: de")),
    ],
)
def test_each_drop_says_rule_value_and_threshold(render_config, title, turns, expected):
    config = render_config(max_monologue_chars=9000) if "events" in expected[0] else render_config()
    refusal = document(config, title, *turns)
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.value, refusal.threshold, refusal.detail) == expected


def test_the_language_of_code_alone_is_not_asked_and_the_rule_can_be_turned_off(render_config):
    code = "```\n" + "fuer jede zeile in datei: drucke zeile\n" * 10 + "```"
    assert document(render_config(), "T", ("ann", "opened", code)).startswith("<issue_start>")
    off = render_config(min_english_probability=0)
    assert document(off, "T", ("ann", "opened", GERMAN)).startswith("<issue_start>")


def test_the_rows_carry_where_the_thread_comes_from(raw_issues, render, render_config):
    threads = [(1, "Fails", [("ann", "opened", LONG)]), (2, "Short", [("ann", "opened", "Help")])]
    summary, [kept], [dropped], _ = render(raw_issues(threads), render_config())
    content = f"{mark('issue_start')}Title: Fails\nusername_0: {LONG.strip()}"
    assert list(kept) == CODE_FILES.names
    assert kept | {"file_id": "", "content": ""} == {
        "file_id": "",
        "kind": "issue",
        "content": "",
        "content_sha256": hashlib.sha256(content.encode()).hexdigest(),
        "size_bytes": len(content.encode()),
        "source": "events",
        "repository": "owner/project",
        "path": "issues/1",
        "commit": None,
        "license": "MIT",
        "language": "github-issue",
        "extension": "",
        "stars": 5,
        "forks": None,
        "updated_at": 1700000000,
        "split": None,
    }
    assert kept["content"] == content
    assert (dropped["path"], dropped["rule"], dropped["size_bytes"]) == ("issues/2", "min_text_chars", 9)
    assert (summary.files.kept_files, summary.files.dropped_files) == (1, 1)
    assert summary.counts == {"messages": 2}


def test_no_issue_at_all_gives_empty_tables(raw_issues, render, render_config):
    summary, kept, dropped, files = render(raw_issues([]), render_config())
    assert (kept, dropped, summary.files.kept_files) == ([], [], 0)
    assert list(files) == ["dropped-00000.parquet", "files-00000.parquet"]


def test_workers_change_nothing(raw_issues, render, render_config):
    threads = [
        (number, "T", [("ann", "opened", f"{number} {LONG}"), ("x-bot", "comment", "ok")]) for number in range(40)
    ]
    artifact = raw_issues(threads, shard_bytes=4000)
    assert len(list(Path(artifact).glob("threads-*"))) > 2
    summary, kept, _, files = render(artifact, render_config())
    assert [row["path"] for row in kept] == [f"issues/{number}" for number in range(40)]
    assert summary.counts == {"bot": 40, "messages": 80}
    with use_runner(PoolRunner(2, inline_bytes=0)):
        again = render(artifact, render_config())
    assert (again[0], again[3]) == (summary, files)


TURNS = st.tuples(
    st.sampled_from(["ann", "bob", "I", "x-bot", "the"]),
    st.sampled_from(["opened", "comment", "closed", "review", "reopened"]),
    st.text(max_size=30) | st.sampled_from(["/go", "@ann I see", "\ufdd0issue_closed\ufdd1", "x-bot", LONG]),
)


@settings(max_examples=150)
@given(st.text(max_size=10), st.lists(TURNS, max_size=12))
def test_every_thread_is_a_document_with_its_marks_in_place_or_a_refusal(render_config, title, turns):
    config = render_config(min_text_chars=1, min_english_probability=0)
    rendered = render_thread(title, [Turn(*turn) for turn in turns], config)
    if isinstance(rendered.outcome, Refusal):
        assert rendered.outcome.rule
        return
    pieces = split_marks(rendered.outcome)
    names = [piece.name for piece in pieces if isinstance(piece, Mark)]
    gone = rendered.counts["bot"] + rendered.counts["bot_call"] + rendered.counts["empty"]
    assert names[0] == "issue_start"
    assert names.count("issue_comment") == rendered.counts["messages"] - gone - 1
    assert names.count("issue_closed") == sum(kind == "closed" for _, kind, _ in turns)
    assert rendered.outcome.encode()
