"""Tables of source files: `files-00000.parquet`, ... and `dropped-00000.parquet`, ..., written and read only here.

Shards and row groups are cut by the rows alone, never by how a caller batched them: the same rows in the same
order give the same bytes. A row group is what a reader holds in memory at once. Other tables of the same make
(threads, commits) have a format of their own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.errors import CorruptArtifactError
from components.section import Summary
from data_contracts.columns import CODE_FILES, DROPPED_FILES
from model.reporting import current_sink

SHARD_BYTES = 32 * 2**20
"""32 MiB of text: the size of a shard in the tables of steps whose section states none."""

ROW_GROUP_ROWS = 2_000
ROW_GROUP_BYTES = 16 * 2**20
"""A row group ends after 2,000 rows, or before its text passes 16 MiB; a larger file stands alone."""

_REPETITIVE = ["source", "repository", "commit", "license", "language", "extension", "split", "rule"]
_PARQUET: Any = {
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": [*_REPETITIVE, "threshold"],
    "write_statistics": [*_REPETITIVE, "path", "size_bytes"],
    "write_page_checksum": True,
}


@dataclass(frozen=True)
class TableFormat:
    """A kind of table: `PREFIX-00000.parquet`, ... of one schema, which has at least the columns of `dropped_rows`."""

    prefix: str
    schema: pa.Schema

    def path(self, artifact: Path, index: int) -> Path:
        """Where shard number `index` lies."""
        return artifact / f"{self.prefix}-{index:05d}.parquet"


FILES = TableFormat("files", CODE_FILES)
DROPPED = TableFormat("dropped", DROPPED_FILES)


class FilesCounts(Summary):
    """How many files a step kept and dropped; a step's own Summary carries it as its field `files`."""

    kept_files: int
    kept_bytes: int
    """UTF-8 bytes of the kept content."""
    dropped_files: int
    dropped_bytes: int
    dropped_by_rule: dict[str, int]
    """Files per rule, rules in alphabetical order."""

    def rules_told(self) -> str:
        """The rules with their counts in words, for a message; "nothing" if no file was dropped."""
        return ", ".join(f"{rule} {count}" for rule, count in self.dropped_by_rule.items()) or "nothing"

    def plus(self, other: "FilesCounts") -> "FilesCounts":
        """The counts of both together."""
        rules = Counter(self.dropped_by_rule) + Counter(other.dropped_by_rule)
        return FilesCounts(
            kept_files=self.kept_files + other.kept_files,
            kept_bytes=self.kept_bytes + other.kept_bytes,
            dropped_files=self.dropped_files + other.dropped_files,
            dropped_bytes=self.dropped_bytes + other.dropped_bytes,
            dropped_by_rule=dict(sorted(rules.items())),
        )

    def since(self, before: "FilesCounts") -> "FilesCounts":
        """The counts of what came after `before` was taken of the same writer."""
        rules = Counter(self.dropped_by_rule) - Counter(before.dropped_by_rule)
        return FilesCounts(
            kept_files=self.kept_files - before.kept_files,
            kept_bytes=self.kept_bytes - before.kept_bytes,
            dropped_files=self.dropped_files - before.dropped_files,
            dropped_bytes=self.dropped_bytes - before.dropped_bytes,
            dropped_by_rule=dict(sorted(rules.items())),
        )


NO_FILES = FilesCounts(kept_files=0, kept_bytes=0, dropped_files=0, dropped_bytes=0, dropped_by_rule={})


class FilesWriter:
    """Writes one table under `out`; a context manager that completes it when its block succeeds.

    A shard is closed by the row with which its text reaches `shard_bytes`. There is always a first shard, if
    only an empty one, and always a `dropped-00000.parquet`.
    """

    def __init__(self, out: Path, shard_bytes: int = SHARD_BYTES, format: TableFormat = FILES) -> None:
        self._out = out
        self._shard_bytes = shard_bytes
        self._format = format
        self._num_shards = 0
        self._shard: GrowingFile | None = None
        self._room_bytes = shard_bytes
        self._dropped = GrowingFile(DROPPED.path(out, 0), DROPPED_FILES)
        self._kept_files = 0
        self._kept_bytes = 0
        self._dropped_bytes = 0
        self._rules: Counter[str] = Counter()

    def keep(self, batch: pa.RecordBatch) -> None:
        """Append rows of the format's schema in their order."""
        _require_schema(batch, self._format.schema)
        lengths = sizes_of(batch)
        start = 0
        for row, length in enumerate(lengths):
            self._room_bytes -= length
            if self._room_bytes <= 0:
                self._append(batch.slice(start, row + 1 - start), lengths[start : row + 1])
                self._close_shard()
                start = row + 1
        self._append(batch.slice(start), lengths[start:])
        self._kept_files += batch.num_rows
        self._kept_bytes += sum(lengths)

    def drop(self, rows: pa.RecordBatch) -> None:
        """Append rows of schema DROPPED_FILES (`dropped_rows` makes them) in their order."""
        _require_schema(rows, DROPPED_FILES)
        self._dropped.add(rows, [0] * rows.num_rows)
        self._rules.update(rows.column("rule").to_pylist())
        self._dropped_bytes += sum(sizes_of(rows))

    @property
    def counts(self) -> FilesCounts:
        """What was kept and dropped so far."""
        return FilesCounts(
            kept_files=self._kept_files,
            kept_bytes=self._kept_bytes,
            dropped_files=self._rules.total(),
            dropped_bytes=self._dropped_bytes,
            dropped_by_rule=dict(sorted(self._rules.items())),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        if self._num_shards == 0:
            self._open_shard()
        self._close_shard()
        self._dropped.close()

    def _append(self, batch: pa.RecordBatch, lengths: Sequence[int]) -> None:
        if batch.num_rows == 0:
            return
        shard = self._shard or self._open_shard()
        shard.add(batch, lengths)

    def _open_shard(self) -> "GrowingFile":
        self._shard = GrowingFile(self._format.path(self._out, self._num_shards), self._format.schema)
        self._num_shards += 1
        return self._shard

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
        self._shard = None
        self._room_bytes = self._shard_bytes

    def _abandon(self) -> None:
        for file in (self._shard, self._dropped):
            if file is not None:
                file.abandon()


class GrowingFile:
    """One Parquet file that cuts its row groups by itself."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, **_PARQUET)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0

    def add(self, batch: pa.RecordBatch, lengths: Sequence[int]) -> None:
        """Append rows whose texts have these lengths in bytes."""
        start = 0
        for row, length in enumerate(lengths):
            is_full = self._pending_rows == ROW_GROUP_ROWS or self._pending_bytes + length > ROW_GROUP_BYTES
            if is_full and self._pending_rows > 0:
                self._pending.append(batch.slice(start, row - start))
                self._write_group()
                start = row
            self._pending_rows += 1
            self._pending_bytes += length
        self._pending.append(batch.slice(start))

    def close(self) -> None:
        """Complete the file."""
        self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file after a failure; what it holds is not to be read."""
        with suppress(OSError, pa.ArrowException):
            self._writer.close()

    def _write_group(self) -> None:
        if self._pending_rows > 0:
            group = pa.Table.from_batches(self._pending, self._schema)
            self._writer.write_table(group, row_group_size=self._pending_rows)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0


def read_files(artifact: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The kept files in their order, one row group at a time, with all columns or those named.

    Raises CorruptArtifactError for a shard that is missing, damaged or of another schema.
    """
    return read_table(artifact, FILES, columns)


def read_dropped(artifact: Path) -> Iterator[pa.RecordBatch]:
    """The dropped files with their reasons, in their order; raises as `read_files`."""
    return read_table(artifact, DROPPED)


def read_table(artifact: Path, format: TableFormat, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a table of any format; as `read_files`."""
    for path in shards_of(artifact, format):
        yield from read_shard(path, format.schema, columns)


def track_files(artifact: Path) -> Iterator[pa.RecordBatch]:
    """`read_files` with all columns, telling the current sink how many files are done."""
    sink, done, total = current_sink(), 0, count_rows(artifact)
    sink.progress(done, total, "files")
    for batch in read_files(artifact):
        yield batch
        done += batch.num_rows
        sink.progress(done, total, "files")


def count_rows(artifact: Path, format: TableFormat = FILES) -> int:
    """The number of rows, from the footers alone; raises as `read_files`."""
    return sum(shard_rows(path, format.schema) for path in shards_of(artifact, format))


def shard_rows(path: Path, schema: pa.Schema) -> int:
    """The number of rows of one shard, from its footer; raises as `read_files`."""
    with _open(path, schema) as file:
        return file.metadata.num_rows


def shards_of(artifact: Path, format: TableFormat = FILES) -> list[Path]:
    """The paths of the shards in their order; CorruptArtifactError if there is none or one is missing."""
    shards = sorted(artifact.glob(f"{format.prefix}-*.parquet"))
    for index in range(max(1, len(shards))):
        expected = format.path(artifact, index)
        if expected not in shards:
            raise CorruptArtifactError(f"{artifact} lacks its shard {expected.name}; make the artifact anew")
    return shards


def sizes_of(batch: pa.RecordBatch) -> list[int]:
    """`size_bytes` of each row."""
    return batch.column("size_bytes").to_pylist()


def text_buffers(batch: pa.RecordBatch) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The batch's `content` without a copy: its UTF-8 bytes, and the num_rows + 1 offsets between the rows."""
    content: Any = batch.column("content")
    _, offsets, data = content.buffers()
    if len(content) == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    rows = slice(content.offset, content.offset + len(content) + 1)
    text = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return text, np.frombuffer(offsets, np.int64)[rows]


def dropped_rows(
    batch: pa.RecordBatch,
    rows: Sequence[int],
    *,
    rules: Sequence[str],
    values: Sequence[str],
    thresholds: Sequence[str],
    details: Sequence[str] | None = None,
) -> pa.RecordBatch:
    """The entries for the table of dropped files of the given row numbers of a batch of any format.

    `rules`, `values`, `thresholds` and `details` have one entry per row; without `details` each is "".
    """
    carried = ["file_id", "source", "repository", "path", "commit", "size_bytes"]
    taken = batch.select(carried).take(pa.array(rows, pa.int64()))
    reasons = [rules, values, thresholds, [""] * len(rows) if details is None else details]
    columns = [*taken.columns, *(pa.array(reason, pa.string()) for reason in reasons)]
    return pa.RecordBatch.from_arrays(columns, schema=DROPPED_FILES)


def read_shard(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of one file, one row group at a time; raises as `read_files`."""
    with _open(path, schema) as file:
        for index in range(file.num_row_groups):
            try:
                group = file.read_row_group(index, columns=None if columns is None else list(columns))
            except (pa.ArrowException, OSError) as error:
                raise _corrupt(path, error) from None
            yield from group.combine_chunks().to_batches()


def _open(path: Path, schema: pa.Schema) -> Any:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise CorruptArtifactError(f"{path.parent} lacks its {path.name}; make the artifact anew") from None
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(path, error) from None
    if not file.schema_arrow.equals(schema):
        file.close()
        raise CorruptArtifactError(f"{path} has other columns than a table of files; make the artifact anew")
    return file


def _corrupt(path: Path, error: Exception) -> Exception:
    """The failure to raise for `error`; a refusal of the operating system, which has an errno, stays."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    reason = " ".join(str(error).split()).rstrip(".")
    return CorruptArtifactError(f"{path} is damaged ({reason}); make its artifact anew")


def _require_schema(batch: pa.RecordBatch, schema: pa.Schema) -> None:
    if not batch.schema.equals(schema):
        raise TypeError(f"expected the columns {schema.names} in their types, got {batch.schema}")
