"""Every resumable step of a corpus gives the same whoever does the work, in whatever order, and after kill -9.

About 35 s of processor time: the whole corpus is made once, of all four kinds of source.
"""

import multiprocessing
import os
import pickle
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.catalog import STEPS, step_named
from components.lineage import published_record
from components.run_step import call_step, run_step
from components.runner import use_runner
from components.step import Step
from components.store import digest_files, digest_of_files

RESUMABLE = [step.name for step in STEPS if step.resumable and step.name != "pretrain"]
ROW_BY_ROW = {
    "filter_quality": "raw_files",
    "convert_notebooks": "raw_files",
    "render_issues": "raw_issues",
    "render_commits": "raw_commits",
    "redact_secrets": "permitted_files",
    "deduplicate": "redacted_files",
    "decontaminate": "unique_files",
    "split_corpus": "clean_files",
}
"""Steps that give a row for a row, and the table that they read."""


class ScatteredRunner:
    """Does the pieces in an order drawn from a seed, on copies as another process has them."""

    num_workers = 3

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def run(self, function: Any, items: Any, *, size_bytes: int | None = None) -> Any:
        for index in self._random.sample(range(len(items)), len(items)):
            copied_function, item = _copied((function, items[index]))
            yield index, _copied(copied_function(item))


def _copied(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - as a pool passes it


def called(corpus: Any, step: Step, place: Path, **other_inputs: Path) -> Path:
    """Run a step on the corpus's artifacts, or on others in their place, without publishing; where its output is."""
    (place / "out").mkdir(parents=True)
    (place / "work").mkdir()
    inputs = {name: corpus.settings.artifacts_dir / name for name in step.inputs} | other_inputs
    places = {"work_dir": place / "work"} | ({"workspace": corpus.settings.workspace} if step.reads_sources else {})
    call_step(step, corpus.config, inputs, place / "out", **places)
    return place / "out"


@pytest.mark.parametrize("name", RESUMABLE)
def test_number_and_order_of_workers_change_no_byte(small_corpus: Any, name: str, tmp_path: Path) -> None:
    step = step_named(name)
    with use_runner(ScatteredRunner(seed=len(name))):
        out = called(small_corpus, step, tmp_path)
    assert digest_of_files(digest_files(out)) == small_corpus.record(step.output).digest


@pytest.mark.parametrize("name", ROW_BY_ROW)
def test_order_and_size_of_shards_change_no_row(small_corpus: Any, name: str, tmp_path: Path) -> None:
    step, artifact = step_named(name), ROW_BY_ROW[name]
    table = small_corpus.settings.artifacts_dir / artifact
    for seed, rows_per_shard in ((1, 7), (2, 64)):
        other = tmp_path / f"{artifact}-{seed}"
        _deal_anew(table, other, rows_per_shard, random.Random(seed))
        out = called(small_corpus, step, tmp_path / f"run-{seed}", **{artifact: other})
        assert _rows(out) == _rows(small_corpus.settings.artifacts_dir / step.output)


def _deal_anew(table: Path, place: Path, rows_per_shard: int, chance: random.Random) -> None:
    """The rows of a table in another order, cut into other shards."""
    place.mkdir()
    (first, *_) = (path for path in sorted(table.glob("*-00000.parquet")) if not path.name.startswith("dropped"))
    prefix = first.name.removesuffix("-00000.parquet")
    rows = pa.concat_tables([pq.read_table(path) for path in sorted(table.glob(f"{prefix}-*.parquet"))])
    rows = rows.take(pa.array(chance.sample(range(rows.num_rows), rows.num_rows)))
    for number, start in enumerate(range(0, max(rows.num_rows, 1), rows_per_shard)):
        pq.write_table(rows.slice(start, rows_per_shard), place / f"{prefix}-{number:05d}.parquet")
    shutil.copy(table / "dropped-00000.parquet", place)


def _rows(artifact: Path) -> dict[str, list[str]]:
    """The rows of each table, however they lie in shards."""
    rows: dict[str, list[str]] = {}
    for path in sorted(artifact.glob("*.parquet")):
        rows.setdefault(path.name.rpartition("-")[0], []).extend(map(str, pq.read_table(path).to_pylist()))
    return {name: sorted(found) for name, found in rows.items() if found}


@pytest.fixture(scope="module")
def start() -> Callable[..., Any]:
    """Call it with a step and a corpus: a process that runs the step, started from one that has all modules loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data_contracts.engine", *(step_named(name).module for name in RESUMABLE)])

    def call(step: Step, corpus: Any) -> Any:
        process = context.Process(target=run_step, args=(step, corpus.config, corpus.settings))
        process.start()
        return process

    return call


@pytest.mark.parametrize("name", ["redact_secrets", "deduplicate", "tokenize_corpus"])
def test_kill_9_at_any_point_and_a_run_afterwards_give_the_same_bytes(
    small_corpus: Any, start: Callable[..., Any], name: str, tmp_path: Path
) -> None:
    step = step_named(name)
    expected = small_corpus.record(step.output)
    corpus = small_corpus.copy(tmp_path / "workspace")
    place = corpus.settings.artifacts_dir / step.output
    shutil.rmtree(place)
    whole_seconds = _timed(step, corpus, start)
    chance = random.Random(os.urandom(8))
    for _ in range(2):
        shutil.rmtree(place)
        for _ in range(2):
            victim, delay = start(step, corpus), chance.uniform(0, whole_seconds)
            victim.join(delay)
            victim.kill()
            victim.join()
            assert victim.exitcode in (-9, 0), f"it failed by itself before it was killed after {delay:.3f} s"
            record = published_record(step.output, corpus.settings)
            assert record is None or digest_of_files(digest_files(place)) == record.digest == expected.digest
        _timed(step, corpus, start)
        assert published_record(step.output, corpus.settings).identity() == expected.identity()
        assert digest_of_files(digest_files(place)) == expected.digest
        assert not list(corpus.settings.staging_dir.iterdir())


def _timed(step: Step, corpus: Any, start: Callable[..., Any]) -> float:
    """Run the step to its end; the seconds it took."""
    started = time.monotonic()
    process = start(step, corpus)
    process.join(120)
    assert process.exitcode == 0
    return time.monotonic() - started
