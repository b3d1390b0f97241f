"""Events on their way from files to threads: written as sorted runs, read again one range of threads at a time.

A thread's events lie in many files, far apart. Each file becomes a few runs of rows sorted by thread; a run is cut at
the same borders into as many batches as there are buckets, so that one bucket of threads can be gathered from all
runs without reading anything else of them. Neither a file nor a bucket more is ever in memory. The order of threads is
that of their keys, which are hashes: it does not depend on the number of buckets.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from components.issues.read_events import ThreadEvent

# The functions of this module are made when it is loaded, unseen by a type checker.
_compute: Any = pyarrow.compute

RUN_BYTES = 32 * 2**20
RUN_ROWS = 200_000
"""A run is closed with so much text or so many events: what one reader holds in memory."""

BUCKET_BYTES = 256 * 2**20
MAX_BUCKETS = 512
"""A bucket for each 256 MiB of event files, which is about a third as much text; a year of GH Archive has 512."""

RUN: pa.Schema = pa.schema(
    [
        # Which thread: 32 hex digits of sha256 over repository and number. The first columns are what is sorted by.
        pa.field("key", pa.string(), nullable=False),
        pa.field("created_at", pa.int64(), nullable=False),
        pa.field("event_id", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("title", pa.large_string(), nullable=True),
        pa.field("opening_author", pa.string(), nullable=True),
        pa.field("opened_at", pa.int64(), nullable=True),
        pa.field("state", pa.string(), nullable=True),
        pa.field("is_pull_request", pa.bool_(), nullable=False),
        pa.field("license", pa.string(), nullable=True),
        pa.field("stars", pa.int64(), nullable=True),
        pa.field("forks", pa.int64(), nullable=True),
        # Position of the source in the config.
        pa.field("source", pa.int64(), nullable=False),
        pa.field("repository", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        # Of a thread's rows in a run, only the first that tells it: each comment repeats it.
        pa.field("opening_text", pa.large_string(), nullable=True),
    ]
)
"""Columns of a run, all of them sorted by: events that only pretend to be the same have one order too."""

EVENT_BYTES = 64
"""What an event counts in a thread's size beside its texts."""

_SORTED_BY = [(name, "ascending") for name in RUN.names]
_TEXTS = ("text", "author", "opening_text")


def num_buckets(archive_bytes: int) -> int:
    """How many buckets to cut event files of so many bytes into."""
    return min(MAX_BUCKETS, 1 + archive_bytes // BUCKET_BYTES)


def thread_key(repository: str, number: int) -> str:
    """What a thread is sorted by."""
    return hashlib.sha256(f"{repository}\0{number}".encode()).hexdigest()[:32]


class RunWriter:
    """Writes events as runs `PREFIX-00000.arrow`, ... of `buckets` batches each; a context manager."""

    def __init__(self, prefix: Path, buckets: int) -> None:
        self._prefix = prefix
        self._buckets = buckets
        self._columns: dict[str, list[Any]] = {name: [] for name in RUN.names}
        self._bytes = 0
        self.paths: list[Path] = []

    def add(self, event: ThreadEvent, source: int) -> None:
        """Append one event of the source at this position in the config."""
        columns = self._columns
        columns["key"].append(thread_key(event.repository, event.number))
        columns["source"].append(source)
        for field in fields(event):
            columns[field.name].append(getattr(event, field.name))
        self._bytes += len(event.text) + len(event.opening_text or "")
        if self._bytes >= RUN_BYTES or len(columns["key"]) >= RUN_ROWS:
            self._flush()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()

    def _flush(self) -> None:
        if not self._columns["key"]:
            return
        run = _opening_once(pa.table(self._columns, RUN).sort_by(_SORTED_BY).combine_chunks())
        path = self._prefix.with_name(f"{self._prefix.name}-{len(self.paths):05d}.arrow")
        borders = _borders(run, self._buckets)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, RUN) as writer:
            for start, end in pairwise(borders):
                part = run.slice(start, end - start).to_batches()
                writer.write_batch(part[0] if part else pa.RecordBatch.from_pylist([], RUN))
        self.paths.append(path)
        self._columns, self._bytes = {name: [] for name in RUN.names}, 0


def _opening_once(run: pa.Table) -> pa.Table:
    """The run with the beginning of each thread in the first row that tells it, and nowhere else."""
    keys, texts = run.column("key"), run.column("opening_text")
    tells = np.flatnonzero(_compute.is_valid(texts).to_numpy(zero_copy_only=False))
    first = np.zeros(run.num_rows, np.bool_)
    _, earliest = np.unique(keys.take(tells).to_numpy(zero_copy_only=False), return_index=True)
    first[tells[earliest]] = True
    once = _compute.if_else(pa.array(first), texts, pa.scalar(None, texts.type))
    return run.set_column(RUN.get_field_index("opening_text"), RUN.field("opening_text"), once)


def _borders(run: pa.Table, buckets: int) -> list[int]:
    """The row at which each bucket starts, and the number of rows."""
    keys = run.column("key").to_pylist()
    bucket_of = np.array([int(key[:8], 16) * buckets >> 32 for key in keys], np.int64)
    return np.searchsorted(bucket_of, np.arange(buckets + 1)).tolist()


def gather_bucket(runs: Sequence[Path], bucket: int) -> pa.Table:
    """All rows of one bucket, sorted."""
    batches: list[pa.RecordBatch] = []
    for path in runs:
        with pa.OSFile(str(path)) as file:
            batches.append(pa.ipc.open_file(file).get_batch(bucket))
    return pa.Table.from_batches(batches, RUN).sort_by(_SORTED_BY).combine_chunks()


def threads_of(bucket: pa.Table) -> Iterator[pa.Table]:
    """The rows of each thread of a sorted bucket, in the order of the keys."""
    if bucket.num_rows == 0:
        return
    ends = _compute.run_end_encode(bucket.column("key").chunk(0)).run_ends.to_pylist()
    start = 0
    for end in ends:
        yield bucket.slice(start, end - start)
        start = end


def size_of(rows: pa.Table) -> int:
    """UTF-8 bytes of the texts and authors of a thread's rows, and EVENT_BYTES for each."""
    texts = (_compute.sum(_compute.binary_length(rows.column(name))).as_py() for name in _TEXTS)
    return EVENT_BYTES * rows.num_rows + sum(length or 0 for length in texts)
