"""Mapping shards: the same bytes whatever the workers, the shards found again after a kill, nothing lost or doubled."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pytest

from components.runner import InlineRunner, PoolRunner, use_runner
from components.shard_map import Mapped, map_shards
from components.tables import TableFormat, dropped_rows, read_dropped, read_files, read_table
from model.reporting import ListSink, reporting_to

LENGTHS = pa.schema([pa.field("file_id", pa.string()), pa.field("length", pa.int64())])


def keep_even(batch: pa.RecordBatch, calls: Path | None = None, dies_at: str | None = None) -> Mapped:
    """Keeps every other file, by its number; notes that it was called, and may die before it is done."""
    paths: list[str] = batch.column("path").to_pylist()
    if calls is not None:
        with calls.open("a") as stream:
            stream.write(f"{paths[0]}\n")
    if dies_at in paths:
        raise KeyboardInterrupt
    odd = [row for row, path in enumerate(paths) if int(path[-4]) % 2]
    mask = pa.array([row not in odd for row in range(batch.num_rows)])
    lengths = [batch.column("file_id"), batch.column("size_bytes")]
    return Mapped(
        kept=batch.filter(mask),
        dropped=dropped_rows(
            batch, odd, rules=["odd"] * len(odd), values=["odd"] * len(odd), thresholds=["even"] * len(odd)
        ),
        counts={"seen": batch.num_rows},
        tables={"lengths": pa.RecordBatch.from_arrays(lengths, schema=LENGTHS)},
    )


@pytest.fixture
def files(table_of):
    """Sixty files in some twelve shards."""
    return table_of([{"content": f"x = {number}\n" * 40, "path": f"f_{number:04d}.py"} for number in range(60)], 1500)


def mapped(function, artifacts, place):
    (place / "out").mkdir(parents=True)
    (place / "work").mkdir(exist_ok=True)
    outcome = map_shards(function, artifacts, place / "out", place / "work")
    return outcome, {path.name: path.read_bytes() for path in sorted((place / "out").iterdir())}


def test_the_rows_are_those_of_the_function_in_their_order(files, tmp_path):
    outcome, _ = mapped(keep_even, [files], tmp_path / "a")
    kept = [path for batch in read_files(tmp_path / "a/out") for path in batch.column("path").to_pylist()]
    dropped = [path for batch in read_dropped(tmp_path / "a/out") for path in batch.column("path").to_pylist()]
    assert kept == [f"f_{number:04d}.py" for number in range(0, 60, 2)]
    assert dropped == [f"f_{number:04d}.py" for number in range(1, 60, 2)]
    lengths = read_table(tmp_path / "a/out", TableFormat("lengths", LENGTHS))
    assert sum(batch.num_rows for batch in lengths) == 60
    assert outcome.counts == {"seen": 60}
    assert (outcome.files.kept_files, outcome.files.dropped_by_rule) == (30, {"odd": 30})


def test_workers_change_no_byte(files, tmp_path):
    with use_runner(InlineRunner()):
        inline = mapped(keep_even, [files, files], tmp_path / "inline")
    with use_runner(PoolRunner(2, inline_bytes=0)):
        pooled = mapped(keep_even, [files, files], tmp_path / "pooled")
    assert pooled == inline


def test_after_a_kill_only_the_missing_shards_are_computed(files, tmp_path):
    whole = mapped(keep_even, [files], tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        mapped(partial(keep_even, dies_at="f_0031.py"), [files], tmp_path / "killed")
    (tmp_path / "killed/out").rmdir()
    done = len(list((tmp_path / "killed/work").glob("*/result.json")))
    calls = tmp_path / "calls"
    assert mapped(partial(keep_even, calls=calls), [files], tmp_path / "killed") == whole
    assert done > 2
    assert len(calls.read_text().splitlines()) == len(list(files.glob("files-*"))) - done


@pytest.mark.parametrize("harm", ["truncate", "remove", "no_result"])
def test_a_finished_shard_that_was_harmed_is_computed_again(files, tmp_path, harm):
    whole = mapped(keep_even, [files], tmp_path / "a")
    shard = sorted((tmp_path / "a/work").iterdir())[3]
    victim = shard / ("result.json" if harm == "no_result" else "files.parquet")
    # The artifact shares its file with the working directory, so the harmed one is a new file.
    content = victim.read_bytes()
    victim.unlink()
    if harm == "truncate":
        victim.write_bytes(content[:-9])
    for path in (tmp_path / "a/out").iterdir():
        path.unlink()
    (tmp_path / "a/out").rmdir()
    assert mapped(keep_even, [files], tmp_path / "a") == whole


def drop_all(batch: pa.RecordBatch) -> Mapped:
    rows = range(batch.num_rows)
    reasons = ["none"] * batch.num_rows
    return Mapped(batch.slice(0, 0), dropped_rows(batch, rows, rules=reasons, values=reasons, thresholds=reasons))


def test_where_nothing_is_kept_there_is_still_an_empty_table(files, tmp_path):
    outcome, written = mapped(drop_all, [files], tmp_path / "a")
    assert [name for name in written if name.startswith("files-")] == ["files-00000.parquet"]
    assert sum(batch.num_rows for batch in read_files(tmp_path / "a/out")) == 0
    assert outcome.files.dropped_files == 60


def test_progress_is_told_in_files_and_ends_with_all(files, tmp_path):
    sink = ListSink()
    with reporting_to(sink):
        mapped(keep_even, [files], tmp_path / "a")
    assert sink.progresses[-1][:2] == (60, 60)
    assert [done for done, *_ in sink.progresses] == sorted(done for done, *_ in sink.progresses)
