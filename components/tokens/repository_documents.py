"""Documents of whole repositories: the corpus is dealt into buckets by repository, and each bucket is read by itself.

All files of a repository in one split make one document, in an order drawn by seed or with imports first (StarCoder2,
arXiv 2402.19173, section 5.1). No process holds the corpus: dealing keeps one row group in memory, reading a bucket the
light columns of all its rows and the text of a few documents. Which bucket a repository falls into depends on its name,
on the seed and on the size of the corpus, so any number of workers makes the same documents in the same order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.tables import read_shard
from components.tokens.config import RepositoryDocumentsConfig
from components.tokens.documents import (
    COLUMNS,
    REPOSITORY,
    Document,
    Row,
    draw,
    repository_document,
    rows_of_batch,
    stands_alone,
)
from components.tokens.import_graph import SourceFile, order_by_imports
from data_contracts.columns import CODE_FILES

BUCKET_BYTES = 32 * 2**20
"""32 MiB of text: what a bucket holds on average, and what of it is in memory at once unless a document is larger."""


@dataclass(frozen=True)
class _Place:
    """A row of a bucket before its text is read."""

    position: int
    """Its number among the bucket's rows."""
    file_id: str
    split: str
    repository: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class _Plan:
    """Which rows make one document."""

    places: Sequence[_Place]
    part: int
    """0, 1, ... of a repository that is cut into several documents."""

    @property
    def size_bytes(self) -> int:
        return sum(place.size_bytes for place in self.places)


def deal_shards(shards: Sequence[Path], place: Path, num_buckets: int, seed: int) -> int:
    """Append the rows of the shards that share documents to `place/bucket-*.arrows`; returns how many were read.

    A bucket is a sequence of Arrow streams, one for each row group that had rows for it.
    """
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    num_rows = 0
    for batch in (batch for shard in shards for batch in read_shard(shard, CODE_FILES, COLUMNS)):
        for bucket, rows in _rows_of_buckets(batch, num_buckets, seed):
            dealt = batch.select(list(COLUMNS)).take(pa.array(rows, pa.int64()))
            with (
                bucket_path(place, bucket).open("ab") as file,
                pa.ipc.new_stream(file, dealt.schema, options=options) as stream,
            ):
                stream.write_batch(dealt)
        num_rows += batch.num_rows
    return num_rows


def bucket_path(place: Path, bucket: int) -> Path:
    """Where `deal_shards` puts the rows of one bucket, if it has any."""
    return place / f"bucket-{bucket:06d}.arrows"


def _rows_of_buckets(batch: pa.RecordBatch, num_buckets: int, seed: int) -> Iterator[tuple[int, list[int]]]:
    names = zip(*(batch.column(name).to_pylist() for name in ("kind", "split", "repository")), strict=True)
    rows: dict[int, list[int]] = {}
    buckets: dict[tuple[str, str], int] = {}
    for row, (kind, split, repository) in enumerate(names):
        if not stands_alone(kind):
            key = (split, repository)
            if key not in buckets:
                buckets[key] = int(draw(seed, "bucket", split, repository) * num_buckets)
            rows.setdefault(buckets[key], []).append(row)
    return iter(sorted(rows.items()))


def repository_documents(
    files: Sequence[Path],
    config: RepositoryDocumentsConfig,
    seed: int,
    special_ids: Mapping[str, int],
    portion_bytes: int = BUCKET_BYTES,
) -> Iterator[list[Document]]:
    """The documents of one bucket, whose rows are in `files`, repositories in an order drawn by seed.

    They come in lists of about `portion_bytes` of text, and the files are read once for each list; its size changes
    nothing else.
    """
    places = sorted(_read_places(files), key=lambda place: _repository_key(place, seed))
    plans = [
        _Plan(part, number)
        for _, group in groupby(places, key=lambda place: _repository_key(place, seed))
        for number, part in enumerate(_cut(_ordered(group, config, seed), config.max_document_bytes))
    ]
    for portion in _cut(plans, portion_bytes):
        rows = _read_rows(files, {place.position for plan in portion for place in plan.places})
        yield [_document(plan, rows, config, seed, special_ids) for plan in portion]


def _repository_key(place: _Place, seed: int) -> tuple[float, str, str]:
    return draw(seed, "repository", place.split, place.repository), place.split, place.repository


def _ordered(places: Iterator[_Place], config: RepositoryDocumentsConfig, seed: int) -> list[_Place]:
    """A repository's files before they are cut into documents: drawn, or folder by folder so that imports stay near."""
    if config.order == "random":
        return sorted(places, key=lambda place: (draw(seed, place.repository, place.file_id), place.file_id))
    return sorted(places, key=lambda place: (place.path, place.file_id))


def _cut(items: Sequence[Any], max_bytes: int) -> Iterator[list[Any]]:
    """Runs of items that have at most `max_bytes`; a larger one stands alone."""
    run: list[Any] = []
    size_bytes = 0
    for item in items:
        if run and size_bytes + item.size_bytes > max_bytes:
            yield run
            run, size_bytes = [], 0
        run.append(item)
        size_bytes += item.size_bytes
    if run:
        yield run


def _document(
    plan: _Plan,
    rows_at: Mapping[int, Row],
    config: RepositoryDocumentsConfig,
    seed: int,
    special_ids: Mapping[str, int],
) -> Document:
    rows = [rows_at[place.position] for place in plan.places]
    if config.order == "dependency":
        sources = [SourceFile(row.path, row.language, bytes(row.content)) for row in rows]
        rows = [rows[position] for position in order_by_imports(sources)]
    drawn = draw(seed, "named", rows[0].split, rows[0].repository, str(plan.part))
    return repository_document(rows, REPOSITORY, named=drawn < config.named_probability, special_ids=special_ids)


def _read_places(files: Sequence[Path]) -> Iterator[_Place]:
    columns = ("file_id", "split", "repository", "path", "size_bytes")
    position = 0
    for batch in _read_batches(files, columns):
        for values in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            yield _Place(position, *values)
            position += 1


def _read_rows(files: Sequence[Path], positions: set[int]) -> dict[int, Row]:
    """The rows at `positions`; the rest are read and let go."""
    rows: dict[int, Row] = {}
    first = 0
    for batch in _read_batches(files, COLUMNS):
        taken = [number for number in range(batch.num_rows) if first + number in positions]
        if taken:
            held = batch.take(pa.array(taken, pa.int64()))
            rows.update(zip((first + number for number in taken), rows_of_batch(held), strict=True))
        first += batch.num_rows
    return rows


def _read_batches(files: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The batches of the streams that lie one after the other in each file, with the named columns."""
    included = sorted(COLUMNS.index(name) for name in columns)
    options = pa.ipc.IpcReadOptions(included_fields=included)
    for path in files:
        with pa.memory_map(str(path)) as file:
            size = file.size()
            while file.tell() < size:
                yield from pa.ipc.open_stream(file, options=options)
