"""A step as a pure function from batch to batch, applied to every shard of its inputs by whatever runner there is.

One shard goes in, one shard comes out: `files-*.parquet`, `dropped-*.parquet` and the function's further tables,
numbered in the order of the inputs, empty ones left out. So the bytes are the same for any number of workers. A
finished shard waits in the step's working directory under a name made of the bytes that went in and of the code:
after a kill only what is missing is computed, and a half-written shard is never taken for a whole one.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from components.runner import current_runner
from components.store import FileDigest, digest_files
from components.tables import (
    DROPPED,
    FILES,
    NO_FILES,
    FilesCounts,
    GrowingFile,
    TableFormat,
    read_shard,
    shard_rows,
    shards_of,
    sizes_of,
)
from model.reporting import current_sink

_RESULT_FILE = "result.json"
_HOUSE = Path(__file__).parents[1]
_CODE = ("components", "data_contracts", "model")


@dataclass(frozen=True)
class Mapped:
    """What a function makes of one batch."""

    kept: pa.RecordBatch
    """Rows of CODE_FILES."""
    dropped: pa.RecordBatch | None = None
    """Rows of DROPPED_FILES."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Added up over all batches; the names are the function's own."""
    tables: Mapping[str, pa.RecordBatch] = field(default_factory=dict[str, pa.RecordBatch])
    """Further tables: what is given as `redactions` becomes `redactions-00000.parquet`, ..."""


BatchFunction = Callable[[pa.RecordBatch], Mapped]


class MapOutcome(BaseModel):
    """What came of all batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: FilesCounts
    counts: dict[str, int]
    """The functions' counts, in alphabetical order."""


class _ShardResult(MapOutcome):
    """What came of one shard, and the files that hold it."""

    written: dict[str, FileDigest]


@dataclass(frozen=True)
class _Task:
    """One shard to be mapped."""

    function: BatchFunction
    shard: Path
    reads: TableFormat
    target: Path
    rows_before: int
    rows_in_all: int


def map_shards(
    function: BatchFunction, artifacts: Sequence[Path], out: Path, work_dir: Path, *, reads: TableFormat = FILES
) -> MapOutcome:
    """Apply `function` to every row group of the artifacts' tables, and write what it gives under `out`.

    `function` must be picklable and depend on its batch alone. Raises as `tables.read_files`.
    """
    shards = [shard for artifact in artifacts for shard in shards_of(artifact, reads)]
    tasks = _tasks(function, shards, reads, work_dir)
    results: list[_ShardResult | None] = [None] * len(tasks)
    sink, done = current_sink(), 0
    for index, result in current_runner().run(_map_shard, tasks, size_bytes=sum(s.stat().st_size for s in shards)):
        results[index] = result
        done += shard_rows(tasks[index].shard, reads.schema)
        sink.progress(done, tasks[index].rows_in_all, "files")
    finished = [(task, result) for task, result in zip(tasks, results, strict=True) if result is not None]
    _gather(finished, out)
    return MapOutcome(
        files=sum_of(result.files for _, result in finished),
        counts=dict(sorted(sum((Counter(result.counts) for _, result in finished), Counter[str]()).items())),
    )


def sum_of(counts: Iterable[FilesCounts]) -> FilesCounts:
    """The counts of all together."""
    total = NO_FILES
    for each in counts:
        total = total.plus(each)
    return total


def _tasks(function: BatchFunction, shards: Sequence[Path], reads: TableFormat, work_dir: Path) -> list[_Task]:
    rows = [shard_rows(shard, reads.schema) for shard in shards]
    return [
        _Task(
            function=function,
            shard=shard,
            reads=reads,
            target=work_dir / f"{index:05d}-{_key(shard)}",
            rows_before=sum(rows[:index]),
            rows_in_all=sum(rows),
        )
        for index, shard in enumerate(shards)
    ]


def _key(shard: Path) -> str:
    """Of the bytes that go in and of the code; the parameters are in the name of the working directory."""
    with shard.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashlib.sha256(f"{content}{_code_digest()}".encode()).hexdigest()[:24]


@cache
def _code_digest() -> str:
    """Of every source file that a step may run, so that a shard made by other code is made again."""
    digest = hashlib.sha256()
    for path in sorted(path for name in _CODE for path in (_HOUSE / name).rglob("*.py")):
        digest.update(f"{path.relative_to(_HOUSE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _map_shard(task: _Task) -> _ShardResult:
    """Map one shard, or find it mapped; runs in a worker."""
    found = _finished(task.target)
    if found is not None:
        return found
    growing = task.target.with_name(f"{task.target.name}.{os.getpid()}.part")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    files, counts = _write_shard(task, growing)
    result = _ShardResult(files=files, counts=counts, written=digest_files(growing))
    (growing / _RESULT_FILE).write_text(result.model_dump_json(), "utf-8")
    shutil.rmtree(task.target, ignore_errors=True)
    growing.rename(task.target)
    return result


def _finished(target: Path) -> _ShardResult | None:
    """The result of a shard that is there with the bytes it was written with."""
    try:
        result = _ShardResult.model_validate_json((target / _RESULT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    found = digest_files(target)
    return result if {name: found.get(name) for name in result.written} == result.written else None


def _write_shard(task: _Task, place: Path) -> tuple[FilesCounts, dict[str, int]]:
    files, counts = NO_FILES, Counter[str]()
    done = task.rows_before
    with _Tables(place) as tables:
        for batch in read_shard(task.shard, task.reads.schema):
            mapped = task.function(batch)
            tables.add(FILES.prefix, mapped.kept)
            tables.add(DROPPED.prefix, mapped.dropped)
            for name, rows in mapped.tables.items():
                tables.add(name, rows)
            counts.update(mapped.counts)
            files = files.plus(_counted(mapped))
            done += batch.num_rows
            current_sink().progress(done, task.rows_in_all, "files")
    return files, dict(counts)


def _counted(mapped: Mapped) -> FilesCounts:
    dropped = mapped.dropped
    rules: list[str] = [] if dropped is None else dropped.column("rule").to_pylist()
    return FilesCounts(
        kept_files=mapped.kept.num_rows,
        kept_bytes=sum(sizes_of(mapped.kept)),
        dropped_files=len(rules),
        dropped_bytes=0 if dropped is None else sum(sizes_of(dropped)),
        dropped_by_rule=dict(sorted(Counter(rules).items())),
    )


class _Tables:
    """The growing tables of one shard; one without a row leaves no file."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._files: dict[str, GrowingFile] = {}

    def add(self, name: str, rows: pa.RecordBatch | None) -> None:
        if rows is None or rows.num_rows == 0:
            return
        if name not in self._files:
            self._files[name] = GrowingFile(self._place / f"{name}.parquet", rows.schema)
        self._files[name].add(rows, sizes_of(rows) if name == FILES.prefix else [0] * rows.num_rows)

    def __enter__(self) -> "_Tables":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for file in self._files.values():
            file.abandon() if kind is not None else file.close()


def _gather(finished: Sequence[tuple[_Task, _ShardResult]], out: Path) -> None:
    """Give the shards their final names, table by table, in the order of the inputs."""
    numbers = Counter[str]()
    for task, result in finished:
        for name in sorted(result.written):
            table = name.removesuffix(".parquet")
            _link(task.target / name, out / f"{table}-{numbers[table]:05d}.parquet")
            numbers[table] += 1
    for format in (FILES, DROPPED):
        if numbers[format.prefix] == 0:
            GrowingFile(format.path(out, 0), format.schema).close()


def _link(source: Path, target: Path) -> None:
    """A second name for the file: the first one stays valid until the step is done with."""
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
