"""The step that collects conversations: GitHub's event files become one row for each issue and pull request.

Files are read side by side into sorted runs, then threads are put together bucket by bucket, so that neither the
number of files nor the length of the archive shows in the memory. What is read is hostile until shown otherwise: each
line that cannot be taken is a row among the dropped, with its file and line for a path. Repositories and users who
asked to be left out are left out here, before anything is stored.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from components.issues.config import IngestIssuesConfig, IssueSource
from components.issues.event_archives import Archive, Line, digest_archives, find_archives, read_lines
from components.issues.event_runs import RunWriter, gather_bucket, num_buckets, size_of, thread_key, threads_of
from components.issues.read_events import Ignored, read_event
from components.issues.threads import assemble_thread, honour_opt_outs, identified
from components.runner import current_runner
from components.section import Summary
from components.sources.opt_outs import OptOuts, read_opt_outs
from components.sources.source_files import Refusal
from components.tables import (
    DROPPED,
    ROW_GROUP_BYTES,
    ROW_GROUP_ROWS,
    FilesCounts,
    FilesWriter,
    GrowingFile,
    TableFormat,
    read_shard,
)
from data_contracts.columns import DROPPED_FILES, ISSUE_THREADS
from model.reporting import current_sink

THREADS = TableFormat("threads", ISSUE_THREADS)


class IssueSourceCounts(Summary):
    """What the files of one source gave."""

    name: str
    archives: int
    lines: int
    """Events, ignored and refused lines together; of a file that breaks off, what is left of it is one line."""
    events: int
    ignored: dict[str, int]
    """Lines that add nothing to a thread, by the reason."""
    refused: dict[str, int]
    """Lines that cannot be taken, by the rule."""


class IngestIssuesSummary(Summary):
    """What all sources gave."""

    files: FilesCounts
    """Threads kept, threads and lines dropped."""
    sources: tuple[IssueSourceCounts, ...]
    pull_requests: int
    """Among the threads kept."""
    repeated_events: int
    """Events that came more than once, each time after the first."""


@dataclass(frozen=True)
class _ReadTask:
    """One event file to be sorted into runs."""

    archive: Archive
    source: IssueSource
    position: int
    """Of the source in the config."""
    max_line_bytes: int
    buckets: int
    prefix: Path


@dataclass(frozen=True)
class _Read:
    """What one event file gave."""

    runs: list[Path]
    dropped: Path
    events: int
    ignored: Counter[str]
    refused: Counter[str]


@dataclass(frozen=True)
class _AssembleTask:
    """One bucket of threads to be put together."""

    bucket: int
    runs: tuple[Path, ...]
    sources: tuple[IssueSource, ...]
    opt_outs: Path
    max_thread_bytes: int
    prefix: Path


@dataclass(frozen=True)
class _Assembled:
    """What one bucket gave: a table of threads and one of dropped rows."""

    threads: Path
    dropped: Path
    pull_requests: int
    repeated: int


def resolve_sources(config: IngestIssuesConfig, workspace: Path) -> dict[str, str]:
    """For each source a sha256 over the names and bytes of its files; SourceError for one that has none."""
    return {source.name: digest_archives(source, workspace) for source in config.sources}


def run(config: IngestIssuesConfig, *, opt_outs: Path, workspace: Path, out: Path) -> IngestIssuesSummary:
    """Write raw_issues: `threads-*.parquet` in the order of the threads' keys, and `dropped-*.parquet`.

    The rows do not depend on the order of files, of lines in them, or of sources that share no thread. Without a
    source there is one shard without a row. Raises SourceError as `resolve_sources`.
    """
    with TemporaryDirectory(dir=out, prefix="runs-") as place:
        tasks = _read_tasks(config, workspace, Path(place))
        reads = _in_order(_read_archive, tasks, sum(task.archive.size_bytes for task in tasks), "event files")
        buckets = _assemble_tasks(config, tasks, reads, opt_outs, Path(place))
        assembled = _in_order(
            _assemble_bucket,
            buckets,
            sum(path.stat().st_size for read in reads for path in read.runs),
            "buckets of threads",
        )
        with FilesWriter(out, config.shard_bytes, THREADS) as writer:
            for path in (read.dropped for read in reads):
                _drop_all(writer, path)
            for each in assembled:
                for batch in read_shard(each.threads, ISSUE_THREADS):
                    writer.keep(batch)
                _drop_all(writer, each.dropped)
    return IngestIssuesSummary(
        files=writer.counts,
        sources=tuple(
            _counts_of(source, [read for task, read in zip(tasks, reads, strict=True) if task.source == source])
            for source in config.sources
        ),
        pull_requests=sum(each.pull_requests for each in assembled),
        repeated_events=sum(each.repeated for each in assembled),
    )


def _in_order(function: Any, tasks: list[Any], size_bytes: int, what: str) -> list[Any]:
    """The results in the order of the tasks, whoever carries them out."""
    results: dict[int, Any] = {}
    for index, result in current_runner().run(function, tasks, size_bytes=size_bytes):
        results[index] = result
        current_sink().progress(len(results), len(tasks), what)
    return [results[index] for index in range(len(tasks))]


def _read_tasks(config: IngestIssuesConfig, workspace: Path, place: Path) -> list[_ReadTask]:
    found = [
        (position, source, archive)
        for position, source in enumerate(config.sources)
        for archive in find_archives(source, workspace)
    ]
    buckets = num_buckets(sum(archive.size_bytes for _, _, archive in found))
    return [
        _ReadTask(archive, source, position, config.max_line_bytes, buckets, place / f"file-{index:06d}")
        for index, (position, source, archive) in enumerate(found)
    ]


def _read_archive(task: _ReadTask) -> _Read:
    """Sort the events of one file into runs; runs in a worker."""
    ignored, refused, events = Counter[str](), Counter[str](), 0
    dropped = task.prefix.with_suffix(".dropped.parquet")
    with RunWriter(task.prefix, task.buckets) as runs, _Rows(dropped, DROPPED_FILES) as rows:
        for line in read_lines(task.archive, task.max_line_bytes):
            event = read_event(line.data) if isinstance(line.data, bytes) else line.data
            match event:
                case Refusal():
                    refused[event.rule] += 1
                    rows.add(_dropped_line(task, line, event))
                case Ignored():
                    ignored[event.what] += 1
                case _:
                    events += 1
                    runs.add(event, task.position)
    return _Read(runs.paths, dropped, events, ignored, refused)


def _assemble_tasks(
    config: IngestIssuesConfig, tasks: list[_ReadTask], reads: list[_Read], opt_outs: Path, place: Path
) -> list[_AssembleTask]:
    runs = tuple(path for read in reads for path in read.runs)
    return [
        _AssembleTask(bucket, runs, config.sources, opt_outs, config.max_thread_bytes, place / f"bucket-{bucket:04d}")
        for bucket in range(tasks[0].buckets if runs else 0)
    ]


def _assemble_bucket(task: _AssembleTask) -> _Assembled:
    """Put the threads of one bucket together; runs in a worker."""
    opt_outs = read_opt_outs(task.opt_outs)
    kept, dropped = task.prefix.with_suffix(".threads.parquet"), task.prefix.with_suffix(".dropped.parquet")
    pull_requests = repeated = 0
    with _Rows(kept, ISSUE_THREADS) as threads, _Rows(dropped, DROPPED_FILES) as refused:
        for rows in threads_of(gather_bucket(task.runs, task.bucket)):
            repeated += rows.num_rows - len(rows.column("event_id").unique())
            thread = _thread(rows, task, opt_outs)
            if "rule" in thread:
                refused.add(thread)
            else:
                threads.add(thread)
                pull_requests += thread["is_pull_request"]
    return _Assembled(kept, dropped, pull_requests, repeated)


def _thread(rows: pa.Table, task: _AssembleTask, opt_outs: OptOuts) -> dict[str, Any]:
    """A row of ISSUE_THREADS, or of DROPPED_FILES."""
    size_bytes = size_of(rows)
    source = task.sources[min(rows.column("source").to_pylist())]
    if size_bytes > task.max_thread_bytes:
        return _too_large(rows, source, size_bytes, task.max_thread_bytes)
    thread = identified(assemble_thread(rows.to_pylist()) | {"source": source.name})
    allowed = honour_opt_outs(thread, opt_outs)
    if isinstance(allowed, Refusal):
        return _dropped(thread, allowed)
    return identified(allowed) | {"license": allowed["license"] or source.license}


def _too_large(rows: pa.Table, source: IssueSource, size_bytes: int, allowed_bytes: int) -> dict[str, Any]:
    repository, number = rows.column("repository")[0].as_py(), rows.column("number")[0].as_py()
    is_pull_request = any(rows.column("is_pull_request").to_pylist())
    thread = {
        "file_id": thread_key(repository, number),
        "source": source.name,
        "repository": repository,
        "path": f"{'pull' if is_pull_request else 'issues'}/{number}",
        "commit": None,
        "size_bytes": size_bytes,
    }
    return _dropped(thread, Refusal("max_thread_bytes", str(size_bytes), str(allowed_bytes)))


def _dropped_line(task: _ReadTask, line: Line, refusal: Refusal) -> dict[str, Any]:
    name = task.source.name
    path = f"{task.archive.name}:{line.number}"
    origin = {
        "file_id": hashlib.sha256(f"{name}\0{path}\0{refusal.rule}".encode()).hexdigest()[:32],
        "source": name,
        # A line that cannot be read names no repository that could be believed.
        "repository": name,
        "path": path,
        "commit": None,
        "size_bytes": line.size_bytes,
    }
    return _dropped(origin, refusal)


def _dropped(origin: dict[str, Any], refusal: Refusal) -> dict[str, Any]:
    carried = ("file_id", "source", "repository", "path", "commit", "size_bytes")
    reason = {"rule": refusal.rule, "value": refusal.value, "threshold": refusal.threshold, "detail": refusal.detail}
    return {name: origin[name] for name in carried} | reason


def _drop_all(writer: FilesWriter, path: Path) -> None:
    for batch in read_shard(path, DROPPED.schema):
        writer.drop(batch)


def _counts_of(source: IssueSource, reads: list[_Read]) -> IssueSourceCounts:
    ignored = sum((read.ignored for read in reads), Counter[str]())
    refused = sum((read.refused for read in reads), Counter[str]())
    events = sum(read.events for read in reads)
    return IssueSourceCounts(
        name=source.name,
        archives=len(reads),
        lines=events + ignored.total() + refused.total(),
        events=events,
        ignored=dict(sorted(ignored.items())),
        refused=dict(sorted(refused.items())),
    )


class _Rows:
    """A growing table of rows that come one at a time; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = GrowingFile(path, schema)
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._bytes += row["size_bytes"]
        if self._bytes >= ROW_GROUP_BYTES or len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def __enter__(self) -> "_Rows":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._file.abandon()
            return
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        batch = pa.RecordBatch.from_pylist(self._rows, self._schema)
        self._file.add(batch, [row["size_bytes"] for row in self._rows])
        self._rows, self._bytes = [], 0
