"""Which documents a stream of token shards is made of: a Parquet file beside its shards, one row for each document.

Rows are in the order of the stream, so documents are found by where they start: the footer tells which row group has
them, and nothing else is read. The columns: `start` (position of the first token in the stream), `tokens` (with its
end-of-text), `repository`, `path` and `files` (see Origin). Arrow is imported where it is first needed: a training that
goes well never asks.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.shard_manifest import IndexFile, damaged

ROW_GROUP_DOCUMENTS = 4096
"""What a reader takes in at once, and what a writer holds of each stream: about a megabyte."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the text of a document comes from."""

    repository: str
    path: str
    """In the repository: of the file, or what names an issue or a commit there; "" if it is not known."""
    files: int = 1
    """Of the document; if it holds several, `path` is that of the first."""


_PARQUET: Any = {
    "compression": "zstd",
    "use_dictionary": ["repository"],
    "write_statistics": ["start"],
    "write_page_checksum": True,
}
UNKNOWN = Origin("unknown", "")


@dataclass(frozen=True, slots=True)
class Document:
    """A document and its place in the stream."""

    start: int
    """Position of its first token."""
    tokens: int
    """With its end-of-text."""
    origin: Origin

    def tokens_within(self, start: int, length: int) -> int:
        """How many of its tokens are at positions `start` to `start + length`."""
        return max(0, min(self.start + self.tokens, start + length) - max(self.start, start))


class IndexWriter:
    """Writes the index of one stream to `path`; equal documents give equal bytes.

    Memory holds one row group, and the file is opened with the first that is full: most of hundreds of streams are
    small, and hold none open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._position = 0
        self._written = 0
        self._starts: list[int] = []
        self._tokens: list[int] = []
        self._origins: list[Origin] = []

    def append(self, tokens: int, origin: Origin) -> None:
        """Add the next document, of `tokens` tokens with its end-of-text."""
        self._starts.append(self._position)
        self._tokens.append(tokens)
        self._origins.append(origin)
        self._position += tokens
        if len(self._starts) == ROW_GROUP_DOCUMENTS:
            self._write_group()

    def close(self) -> IndexFile:
        """Finish the file, which has at least a footer."""
        self._write_group()
        self._file.close()
        return IndexFile(file=self._path.name, documents=self._written, sha256=_sha256(self._path))

    def _write_group(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - see the head of this file
        import pyarrow.parquet as pq  # noqa: PLC0415

        schema = _schema()
        if self._file is None:
            self._file = pq.ParquetWriter(self._path, schema, **_PARQUET)
        columns = (
            *(self._starts, self._tokens),
            *([getattr(origin, name) for origin in self._origins] for name in ("repository", "path", "files")),
        )
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        if self._starts:
            self._file.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROW_GROUP_DOCUMENTS)
        self._written += len(self._starts)
        self._starts, self._tokens, self._origins = [], [], []


class DocumentIndex:
    """Read access to the index at `path`, as the manifest describes it; opened when it is first asked.

    Every method raises TokenShardError if the file is missing, damaged or of other documents.
    """

    def __init__(self, path: Path, promised: IndexFile) -> None:
        self._path = path
        self._promised = promised
        self._held: tuple[int, _Group] | None = None
        """The row group that was asked for last, for whoever asks in the order of the stream."""

    def overlapping(self, start: int, length: int) -> list[Document]:
        """The documents that have a token at positions `start` to `start + length`, in the order of the stream."""
        with self._faults_told():
            first = max(0, bisect_right(self._group_starts, start) - 1)
            last = bisect_left(self._group_starts, start + length) if length else first
            return [each for group in range(first, last) for each in self._group(group).overlapping(start, length)]

    def verify(self, tokens: int) -> None:
        """Read the file once: its digest, and that its documents fill a stream of `tokens` without a gap."""
        with self._faults_told():
            digest = _sha256(self._path)
            if digest != self._promised.sha256:
                raise damaged(f"{self._path} has sha256 {digest}, not the manifest's {self._promised.sha256}")
            position = 0
            for group in map(self._group, range(len(self._group_starts))):
                ends = position + np.cumsum(group.tokens)
                if group.starts.tolist() != [position, *ends[:-1].tolist()]:
                    raise damaged(f"{self._path} has documents that do not follow one another")
                position = int(ends[-1])
            if position != tokens:
                raise damaged(f"{self._path} tells documents of {position} tokens, but the stream has {tokens}")

    @cached_property
    def _file(self) -> Any:
        import pyarrow.parquet as pq  # noqa: PLC0415 - see the head of this file

        file: Any = pq.ParquetFile(self._path, page_checksum_verification=True)
        if not file.schema_arrow.equals(_schema()):
            raise damaged(f"{self._path} has other columns than an index of documents")
        if file.metadata.num_rows != self._promised.documents:
            raise damaged(
                f"{self._path} holds {file.metadata.num_rows} documents, not the manifest's {self._promised.documents}"
            )
        return file

    @cached_property
    def _group_starts(self) -> list[int]:
        """Where the first document of each row group starts."""
        metadata = self._file.metadata
        told: list[Any] = [metadata.row_group(group).column(0).statistics for group in range(metadata.num_row_groups)]
        if any(statistics is None or not statistics.has_min_max for statistics in told):
            raise damaged(f"{self._path} does not tell where its row groups start")
        return [statistics.min for statistics in told]

    def _group(self, number: int) -> "_Group":
        if self._held is None or self._held[0] != number:
            self._held = number, _Group(self._file.read_row_group(number))
        return self._held[1]

    @contextmanager
    def _faults_told(self) -> Generator[None]:
        import pyarrow as pa  # noqa: PLC0415 - see the head of this file

        try:
            yield
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise damaged(f"{self._path} cannot be read ({reason:.200})") from None


class _Group:
    """The rows of one row group."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.starts: NDArray[np.int64] = table.column("start").to_numpy().astype(np.int64)
        self.tokens: NDArray[np.int64] = table.column("tokens").to_numpy().astype(np.int64)

    def overlapping(self, start: int, length: int) -> Iterator[Document]:
        """As DocumentIndex's."""
        first = int(np.searchsorted(self.starts + self.tokens, start, side="right"))
        last = int(np.searchsorted(self.starts, start + length, side="left"))
        for row in self._table.slice(first, max(0, last - first)).to_pylist():
            yield Document(row["start"], row["tokens"], Origin(row["repository"], row["path"], row["files"]))


def _schema() -> Any:
    import pyarrow as pa  # noqa: PLC0415 - see the head of this file

    types = {
        "start": pa.uint64(),
        "tokens": pa.uint64(),
        "repository": pa.string(),
        "path": pa.string(),
        "files": pa.uint32(),
    }
    return pa.schema([pa.field(name, type_, nullable=False) for name, type_ in types.items()])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
