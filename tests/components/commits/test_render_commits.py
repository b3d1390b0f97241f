"""Laying commits out: the layout, marks that nobody forges, one commit for each file in whatever order or shards."""

import hashlib
import random
import signal
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.commits.change_window import Window
from components.commits.ingest_commits import CHANGES
from components.commits.render_commits import laid_out, render_batch, run
from components.errors import ParamsError
from components.markup import CLOSE, OPEN, Mark, mark, plain, split_marks, visible
from components.runner import PoolRunner, use_runner
from components.tables import read_dropped, read_files, read_table
from data_contracts.columns import CODE_FILES

FORGED = f"{mark('commit_after')} <commit_after> {OPEN}{CLOSE}"


@pytest.fixture
def rendered(changes_of, tmp_path):
    """Call it with rows and config: the summary, the documents and the dropped rows."""

    def call(rows, parameters, shard_bytes=1 << 20):
        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        (place / "out").mkdir(parents=True)
        table = changes_of(rows, shard_bytes)
        summary = run(parameters, raw_commits=table, out=place / "out", work_dir=place / "work")
        kept = [row for batch in read_files(place / "out") for row in batch.to_pylist()]
        dropped = [row for batch in read_dropped(place / "out") for row in batch.to_pylist()]
        assert (summary.files.kept_files, summary.files.dropped_files) == (len(kept), len(dropped))
        return summary, kept, dropped

    return call


def test_a_commit_becomes_before_message_after(rendered, render_config):
    before = "".join(f"line {number}\n" for number in range(300))
    row = {"before": before, "after": before.replace("line 250\n", "changed\n"), "path": "src/a.py"}
    summary, [document], _ = rendered([row], render_config())

    text = "<commit_before>line 250\n<commit_msg>Say what the change is about<commit_after>changed\n"
    assert visible(document["content"]) == text
    assert document["kind"] == "commit"
    assert document["content_sha256"] == hashlib.sha256(document["content"].encode()).hexdigest()
    assert document["size_bytes"] == len(document["content"].encode())
    kept = ("path", "repository", "source", "license", "stars", "updated_at", "language", "extension", "commit")
    assert [document[name] for name in kept] == [
        *("src/a.py", "owner/project", "made-up", "MIT", 3, 1_600_000_000, "python", ".py", "0" * 40)
    ]
    assert summary.documents_by_language == {"python": 1}


def test_the_window_has_as_many_lines_around_the_change_before_as_after(rendered, render_config):
    before = "".join(f"line {number}\n" for number in range(300))
    row = {"before": before, "after": before.replace("line 150\n", "one\ntwo\n")}
    _, [document], _ = rendered([row], render_config(max_context_lines=31))

    _, old, _, _, _, new = split_marks(document["content"])
    assert old in before
    assert old.count("\n") <= 63
    assert new == old.replace("line 150\n", "one\ntwo\n")


def test_a_share_has_its_message_last_and_a_share_is_whole(rendered, render_config):
    rows = [
        {"path": f"{number}.py", "before": "a\n" * 99 + "b\n", "after": "a\n" * 99 + "c\n"} for number in range(400)
    ]
    config = render_config(message_last_fraction=0.25, whole_file_fraction=0.2)
    summary, documents, _ = rendered(rows, config)

    orders = [[piece.name for piece in split_marks(row["content"]) if isinstance(piece, Mark)] for row in documents]
    last = [order for order in orders if order == ["commit_before", "commit_after", "commit_msg"]]
    assert all(order == ["commit_before", "commit_msg", "commit_after"] for order in orders if order not in last)
    assert summary.message_last_documents == len(last)
    # 100 and 80 are expected of 400; six standard deviations are 52 and 48.
    assert 48 <= len(last) <= 152
    assert 32 <= sum("a\n" * 99 in row["content"] for row in documents) <= 128


def test_no_text_forges_a_mark(rendered, render_config):
    row = {"subject": f"Say what {FORGED} is about", "before": FORGED, "after": f"{FORGED}\n"}
    _, [document], _ = rendered([row], render_config())

    pieces = split_marks(document["content"])
    assert [piece.name for piece in pieces if isinstance(piece, Mark)] == [
        "commit_before",
        "commit_msg",
        "commit_after",
    ]
    assert [piece for piece in pieces if isinstance(piece, str)] == [
        plain(FORGED),
        f"Say what {plain(FORGED)} is about",
        f"{plain(FORGED)}\n",
    ]


@given(st.text(), st.text(), st.text(), st.booleans())
def test_the_parts_come_out_as_they_went_in(before, after, subject, is_message_last):
    pieces = split_marks(laid_out(Window(before, after, True), subject, is_message_last=is_message_last))

    names = [piece.name for piece in pieces if isinstance(piece, Mark)]
    parts = dict.fromkeys(names, "")
    name = ""
    for piece in pieces:
        if isinstance(piece, Mark):
            name = piece.name
        else:
            parts[name] += piece
    assert parts == {"commit_before": plain(before), "commit_msg": plain(subject), "commit_after": plain(after)}
    assert names[-1] == ("commit_msg" if is_message_last else "commit_after")


def history(count=240, paths=30, seed=3):
    """Rows of commits of some paths in two repositories, some of them of a kind that is dropped."""
    rng = random.Random(seed)
    subjects = ["Say what the change is about", "update", "Mend it"]
    return [
        {
            "repository": f"owner/{rng.choice('ab')}",
            "path": f"{rng.randrange(paths)}.py",
            "commit": f"{number:040x}",
            "subject": rng.choice(subjects),
            "before": "".join(f"{rng.randrange(9)}\n" for _ in range(40)),
            "after": "".join(f"{rng.randrange(9)}\n" for _ in range(40)),
        }
        for number in range(count)
    ]


def test_one_commit_is_kept_for_each_file_of_those_that_pass_the_rules(rendered, render_config):
    rows = history()
    summary, kept, dropped = rendered(rows, render_config(short_subject_keep=0.5))

    passed = [row for row in dropped if row["rule"] == "one_commit_per_file"]
    by_file = [(row["repository"], row["path"]) for row in kept]
    assert len(by_file) == len(set(by_file)) >= 40
    assert set(summary.files.dropped_by_rule) == {"one_commit_per_file", "short_subject", "whole_subject"}
    assert len(kept) + len(dropped) == len(rows)
    ids = {(row["repository"], row["path"]): row["file_id"] for row in kept}
    assert all(row["detail"] == f"kept as {ids[row['repository'], row['path']]}" for row in passed)
    rivals = [(row["repository"], row["path"]) for row in passed + kept]
    assert all(row["value"] == f"{rivals.count((row['repository'], row['path']))} commits" for row in passed)


def test_neither_the_order_of_rows_nor_the_shards_choose_the_commit_of_a_file(rendered, render_config):
    rows = history()
    config = render_config(short_subject_keep=0.5, whole_file_fraction=0.2, max_context_lines=3)
    _, kept, dropped = rendered(rows, config)
    shuffled = random.Random(4).sample(rows, len(rows))
    _, kept_again, dropped_again = rendered(shuffled, config, shard_bytes=2000)

    def by_id(found):
        return sorted(found, key=lambda row: (row["file_id"], row.get("rule", "")))

    assert by_id(kept) == by_id(kept_again)
    assert by_id(dropped) == by_id(dropped_again)
    _, kept_otherwise, _ = rendered(rows, config.model_copy(update={"seed": 12}))
    assert {row["file_id"] for row in kept_otherwise} != {row["file_id"] for row in kept}


def test_workers_and_a_second_run_write_the_same_bytes(changes_of, render_config, tmp_path):
    table = changes_of(history(), shard_bytes=4000)
    written = []
    for number, runner in enumerate([PoolRunner(1), PoolRunner(2, inline_bytes=0), PoolRunner(1)]):
        out, work_dir = tmp_path / f"out-{number}", tmp_path / f"work-{number % 2}"
        out.mkdir()
        with use_runner(runner):
            run(render_config(), raw_commits=table, out=out, work_dir=work_dir)
        written.append({path.name: path.read_bytes() for path in out.iterdir()})

    assert written[0] == written[1] == written[2]
    assert set(written[0]) == {"files-00000.parquet", "dropped-00000.parquet"}


def test_after_a_kill_the_same_bytes_are_written(changes_of, render_config, tmp_path):
    table, config = changes_of(history(), shard_bytes=4000), render_config()
    (tmp_path / "config.json").write_text(config.model_dump_json())
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from components.commits import render_commits\n"
        "from components.commits.config import RenderCommitsConfig\n"
        "choose = render_commits.choose_documents\n"
        "def killed(*arguments):\n"
        "    choose(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "render_commits.choose_documents = killed\n"
        "config = RenderCommitsConfig.model_validate_json(Path(sys.argv[1]).read_bytes())\n"
        "table, out, work_dir = map(Path, sys.argv[2:])\n"
        "render_commits.run(config, raw_commits=table, out=out, work_dir=work_dir)\n"
    )
    places = [tmp_path / name for name in ("config.json", table, "killed", "work")]
    for name in ("killed", "resumed", "fresh"):
        (tmp_path / name).mkdir()
    died = subprocess.run([sys.executable, "-c", program, *places], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()

    run(config, raw_commits=table, out=tmp_path / "resumed", work_dir=tmp_path / "work")
    run(config, raw_commits=table, out=tmp_path / "fresh", work_dir=tmp_path / "other")
    resumed, fresh = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("resumed", "fresh")
    )
    assert resumed == fresh


def test_a_batch_is_rendered_the_same_alone_and_among_others(changes_of, render_config):
    config = render_config(short_subject_keep=0.5, whole_file_fraction=0.2)
    [batch] = read_table(changes_of(history()), CHANGES)
    whole = render_batch(batch, config)
    apart = [render_batch(batch.slice(row, 1), config) for row in range(batch.num_rows)]

    assert whole.kept.schema == CODE_FILES
    assert pa.Table.from_batches([one.kept for one in apart]).to_pylist() == whole.kept.to_pylist()
    assert pa.Table.from_batches([one.dropped for one in apart]).to_pylist() == whole.dropped.to_pylist()


def test_no_commit_at_all_is_an_empty_table(rendered, render_config):
    summary, kept, dropped = rendered([], render_config())

    assert (kept, dropped, summary.documents_by_language) == ([], [], {})


@pytest.mark.parametrize("setting", [{"languages": ["python", "klingon"]}, {"language_keep": {"klingon": 0.5}}])
def test_a_language_that_nobody_knows_is_named(rendered, render_config, setting):
    with pytest.raises(ParamsError, match=rf"render_commits\.{next(iter(setting))} names 'klingon'"):
        rendered([], render_config(**setting))
