"""Deduplication gives the same whoever does the work, however it is cut, and after a kill. About 8 s."""

import pickle
import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.corpus import deduplicate, key_join, linked_rows
from components.corpus.config import DeduplicateConfig
from components.runner import PoolRunner, use_runner
from components.tables import read_dropped, read_files

CONFIG = DeduplicateConfig(
    recipe=1,
    kinds=("file",),
    lowercase=False,
    empty_tokens=False,
    num_permutations=64,
    ngram_tokens=3,
    jaccard_threshold=0.7,
    num_bands=16,
    rows_per_band=4,
    overrides={".pyi": {"ngram_tokens": 2}},
    seed=42,
)


class KilledError(Exception):
    """The process is no more."""


class ScatteredRunner:
    """Does the work in an order drawn from a seed, on copies as another process has them; dies after some pieces."""

    num_workers = 3

    def __init__(self, seed, lives=10**9):
        self._random = random.Random(seed)
        self._lives = lives

    def run(self, function, items, *, size_bytes=None):
        for index in self._random.sample(range(len(items)), len(items)):
            if self._lives == 0:
                raise KilledError
            self._lives -= 1
            copied_function, item = _copied((function, items[index]))
            yield index, _copied(copied_function(item))


def _copied(thing):
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - as a pool passes it


@pytest.fixture(scope="module")
def rows(library_files):
    """Real files, some of them twice and some changed a little, in an order of their own."""
    dice = random.Random(11)
    files = [row for row in library_files if len(row["content"]) < 12_000]
    copies = [{"path": f"copy/{row['path']}", "content": row["content"]} for row in dice.sample(files, 30)]
    changed = [
        {"path": f"changed/{row['path']}", "content": row["content"].replace("self", "this", 5), "stars": 1}
        for row in dice.sample(files, 30)
    ]
    stubs = [{"path": f"{row['path']}i", "extension": ".pyi", "content": row["content"]} for row in files[:9]]
    return dice.sample([*files, *copies, *changed, *stubs], len(files) + 69)


@pytest.fixture
def outcome(tmp_path, table_of):
    """Call it with rows and a runner: the bytes of the output's files, by name."""

    def run(rows, runner=None, shard_bytes=60_000, work_dir=None, config=CONFIG):
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        work_dir = work_dir or out.with_name(f"{out.name}-work")
        files = table_of(rows, shard_bytes)
        with use_runner(runner or ScatteredRunner(seed=1)):
            deduplicate.run(config, redacted_files=files, out=out, work_dir=work_dir)
        return {path.name: path.read_bytes() for path in sorted(out.iterdir())}, out

    return run


def _told(out):
    """Which files are kept, and why each other is not."""
    kept = sorted(row["file_id"] for batch in read_files(out, ["file_id"]) for row in batch.to_pylist())
    dropped = sorted(str(row) for batch in read_dropped(out) for row in batch.to_pylist())
    return kept, dropped


def test_the_order_of_rows_and_the_size_of_shards_do_not_change_what_is_kept_and_why(outcome, rows):
    _, first = outcome(rows)
    kept, dropped = _told(first)
    assert len(dropped) >= 60
    for seed, shard_bytes in ((7, 1 << 20), (8, 30_000)):
        shuffled = random.Random(seed).sample(rows, len(rows))
        _, again = outcome(shuffled, shard_bytes=shard_bytes)
        assert _told(again) == (kept, dropped)


def test_each_shard_of_the_output_is_made_from_the_input_shard_of_its_number(outcome, rows):
    alone = [{"path": f"z/{number}.txt", "content": f"nothing like it {number}"} for number in range(3)]
    before, _ = outcome([*rows, alone[0]], shard_bytes=60_000)
    after, _ = outcome([*rows, alone[1]], shard_bytes=60_000)
    changed = sorted(name for name in before if before[name] != after[name])
    assert before.keys() == after.keys()
    assert changed == [max(name for name in before if name.startswith("files"))]


def test_a_shard_of_which_nothing_is_kept_keeps_its_number(outcome):
    rows = [{"path": f"{name}.py", "content": "one two three four five six"} for name in ("b", "a", "c")]
    files, out = outcome(rows, shard_bytes=1)
    assert sorted(files) == [f"{table}-{index:05d}.parquet" for table in ("dropped", "files") for index in range(3)]
    assert len(_told(out)[0]) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32), segment=st.sampled_from([1, 2**24]), rows_per_range=st.sampled_from([7, 2**21]))
def test_workers_and_the_cutting_of_the_work_change_no_byte(outcome, rows, seed, segment, rows_per_range):
    expected, _ = outcome(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linked_rows, "_WORK_PER_SEGMENT", segment)
        patch.setattr(key_join, "_ROWS_PER_RANGE", rows_per_range)
        assert outcome(rows, ScatteredRunner(seed))[0] == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=4, deadline=None)
@given(deaths=st.lists(st.integers(0, 20), min_size=1, max_size=4))
def test_a_run_that_is_killed_and_resumed_gives_the_same_bytes(outcome, tmp_path, rows, deaths):
    expected, _ = outcome(rows)
    work_dir = tmp_path / f"killed-{len(list(tmp_path.iterdir()))}"
    for seed, lives in enumerate(deaths):
        try:
            outcome(rows, ScatteredRunner(seed, lives), work_dir=work_dir)
        except KilledError:
            assert not any(work_dir.rglob("*.part"))
    assert outcome(rows, work_dir=work_dir)[0] == expected


def test_half_of_the_pieces_are_taken_up_and_damaged_ones_made_again(outcome, tmp_path, rows):
    work_dir = tmp_path / "work"
    expected, _ = outcome(rows, work_dir=work_dir)
    pieces = sorted(path.parent for path in work_dir.rglob("piece.json"))
    dice = random.Random(3)
    for piece in dice.sample(pieces, len(pieces) // 2):
        shutil.rmtree(piece)
    whole = sorted(path.parent for path in work_dir.rglob("piece.json"))
    damaged = dice.choice(sorted(path for path in whole[0].iterdir() if path.stat().st_size > 0))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    half_written = work_dir / f"{pieces[0].name}.abcdef.part"
    half_written.mkdir()
    times = {piece: piece.stat().st_mtime_ns for piece in whole[1:]}
    assert outcome(rows, work_dir=work_dir)[0] == expected
    assert {piece: piece.stat().st_mtime_ns for piece in whole[1:]} == times
    assert sorted(path.parent for path in work_dir.rglob("piece.json")) == pieces


def test_other_parameters_take_up_nothing(outcome, tmp_path, rows):
    strict = CONFIG.model_copy(update={"jaccard_threshold": 0.95})
    expected, _ = outcome(rows, config=strict)
    work_dir = tmp_path / "work"
    relaxed, _ = outcome(rows, work_dir=work_dir)
    assert outcome(rows, work_dir=work_dir, config=strict)[0] == expected != relaxed


@pytest.mark.slow
def test_a_pool_of_processes_gives_the_same_bytes(outcome, rows):
    expected, _ = outcome(rows)
    assert outcome(rows, PoolRunner(2, inline_bytes=0))[0] == expected
