"""Parquet files of source code as a source, in the columns of The Stack: on disk, in S3 or from the Hugging Face hub.

A file in S3 is read from an unnamed copy that vanishes with it; one from the hub from the hub's own cache. A damaged
file or row group is refused, and what is whole is read.
"""

import fnmatch
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import SourceError
from components.sources.config import HubSource, ParquetSource
from components.sources.pinned_objects import PinnedObject, is_pin, read_pin
from components.sources.source_files import Entry, FoundFile, Origin, Refusal, RefusedFile, unreadable

_ROWS_AT_ONCE = 256
_PARQUET = "*.parquet"

_COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("max_stars_repo_path", "path"),
    "repository": ("max_stars_repo_name", "repo_name", "repository_name"),
    "licenses": ("max_stars_repo_licenses", "detected_licenses", "licenses", "license"),
    "stars": ("max_stars_count", "star_events_count"),
    "forks": ("max_forks_count", "fork_events_count"),
    "commit": ("max_stars_repo_head_hexsha", "revision_id"),
    "updated_at": ("committer_date", "revision_date"),
}
"""What a row tells, and how The Stack's versions 1 and 2 name it; the first column that is there counts."""


@dataclass(frozen=True)
class TableFile:
    """One Parquet file of a source."""

    name: str
    """Relative to the source."""
    digest: str
    """Of its bytes, or what its storage gives for one."""
    open: Callable[[], IO[bytes]]


def list_tables(source: ParquetSource | HubSource, location: Path) -> list[TableFile]:
    """The Parquet files of the source by name; SourceError where there is none. `location` is its path on disk."""
    if isinstance(source, HubSource):
        tables = _on_the_hub(source)
    elif source.path.startswith("s3://"):
        tables = _in_s3(source)
    elif is_pin(source.path):
        tables = _pinned(source, location)
    else:
        tables = _on_disk(source, location)
    kept = [table for table in tables if not any(fnmatch.fnmatch(table.name, pattern) for pattern in source.exclude)]
    if not kept:
        raise SourceError(f"source {source.name!r}: no Parquet file at {source.path}; correct its path or its excludes")
    return sorted(kept, key=lambda table: table.name)


def digest_tables(tables: list[TableFile]) -> str:
    """sha256 over names and digests."""
    told = "".join(f"{table.name}\0{table.digest}\n" for table in tables)
    return hashlib.sha256(told.encode()).hexdigest()


def read_tables(source: ParquetSource | HubSource, tables: list[TableFile]) -> Iterator[Entry]:
    """The rows of all files in their order. A file without a column `content` is refused as a whole."""
    for table in tables:
        try:
            stream = table.open()
        except OSError as error:
            yield _refused(table, 0, error)
            continue
        with closing(stream):
            yield from _read_table(source, table, stream)


def _read_table(source: ParquetSource | HubSource, table: TableFile, stream: IO[bytes]) -> Iterator[Entry]:
    size_bytes = stream.seek(0, 2)
    stream.seek(0)
    try:
        file = pq.ParquetFile(stream)
        schema = file.schema_arrow
        names = schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield _refused(table, size_bytes, error)
        return
    if "content" not in names or not _is_text(schema.field("content").type):
        reason = Refusal("no_content_column", str(schema.remove_metadata())[:200], "a column `content` of texts")
        yield RefusedFile(table.name, None, size_bytes, reason)
        return
    columns = {meaning: name for meaning, known in _COLUMNS.items() for name in known[::-1] if name in names}
    for group in range(file.num_row_groups):
        try:
            for batch in file.iter_batches(_ROWS_AT_ONCE, [group], ["content", *columns.values()]):
                yield from _entries(source, table, group, batch, columns)
        except (pa.ArrowException, OSError) as error:
            yield _refused(table, size_bytes, error, f"#row-group-{group}")


def _is_text(kind: Any) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _entries(
    source: ParquetSource | HubSource, table: TableFile, group: int, batch: pa.RecordBatch, columns: dict[str, str]
) -> Iterator[Entry]:
    told = {meaning: batch.column(name).to_pylist() for meaning, name in columns.items()}
    content: Any = batch.column("content")
    for row in range(batch.num_rows):
        values = {meaning: column[row] for meaning, column in told.items()}
        place = f"{table.name}#row-group-{group}"
        path = str(values.get("path") or place).lstrip("/")
        commit, origin = values.get("commit"), _origin(source, values)
        scalar = content[row]
        if not scalar.is_valid:
            yield RefusedFile(path, commit, 0, Refusal("no_content", "null", "a text", place), origin)
            continue
        data = scalar.as_buffer()
        yield FoundFile(path, commit, data.size, lambda limit, data=data: memoryview(data)[:limit].tobytes(), origin)


def _origin(source: ParquetSource | HubSource, values: dict[str, Any]) -> Origin:
    return Origin(
        repository=values.get("repository") or source.repository,
        license=_license(values.get("licenses")) or source.license,
        stars=_count(values.get("stars")),
        forks=_count(values.get("forks")),
        updated_at=_seconds(values.get("updated_at")),
    )


def _license(value: Any) -> str | None:
    """One expression of all that were found together: none of them may be forgotten."""
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    known = sorted({name for name in names if isinstance(name, str) and name})
    return " AND ".join(known) or None


def _count(value: Any) -> int | None:
    return None if value is None else max(0, int(value))


def _seconds(value: Any) -> int | None:
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return int(value) if isinstance(value, int | float) else None


def _refused(table: TableFile, size_bytes: int, error: Exception, place: str = "") -> RefusedFile:
    reason = " ".join(str(error).split())[:200]
    return RefusedFile(f"{table.name}{place}", None, size_bytes, unreadable(reason))


def _on_disk(source: ParquetSource, location: Path) -> list[TableFile]:
    if location.is_file():
        return [_local(location.name, location)]
    if not location.is_dir():
        raise SourceError(f"source {source.name!r}: there is no file or directory {location}; correct its path")
    paths = [path for path in location.rglob(_PARQUET) if path.is_file() and not path.is_symlink()]
    return [_local(path.relative_to(location).as_posix(), path) for path in paths]


def _local(name: str, path: Path) -> TableFile:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return TableFile(name, digest, lambda: path.open("rb"))


def _in_s3(source: ParquetSource) -> list[TableFile]:
    """The objects under the prefix, told apart by ETag and size; credentials and endpoint are boto3's own."""
    import boto3  # noqa: PLC0415 - boto3 costs half a second; most sources lie on disk
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    bucket, _, prefix = source.path.removeprefix("s3://").partition("/")
    client = boto3.client("s3")

    def opener(key: str) -> Callable[[], IO[bytes]]:
        told = f"source {source.name!r}: s3://{bucket}/{key}"
        return lambda: _fetch(
            told, lambda copy: client.download_fileobj(bucket, key, copy), "run again when S3 answers"
        )

    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [item for page in pages for item in page.get("Contents", [])]
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"source {source.name!r}: {source.path} cannot be listed ({error}); mend it") from None
    return [
        TableFile(item["Key"].removeprefix(prefix).lstrip("/") or item["Key"].rpartition("/")[2],
                  f"{item['ETag']} {item['Size']}", opener(item["Key"]))
        for item in found
        if fnmatch.fnmatch(item["Key"], _PARQUET)
    ]  # fmt: skip


def _pinned(source: ParquetSource, location: Path) -> list[TableFile]:
    """The tables of a pin. Nobody is asked before one is opened: SourceError then if it is not what was pinned."""
    pinned = [one for one in read_pin(location) if fnmatch.fnmatch(one.name, _PARQUET)]
    return [TableFile(one.name, one.digest, lambda one=one: _fetch_version(source, one)) for one in pinned]


def _fetch_version(source: ParquetSource, pinned: PinnedObject) -> IO[bytes]:
    import boto3  # noqa: PLC0415 - see `_in_s3`

    told = f"source {source.name!r}: version {pinned.version} of s3://{pinned.bucket}/{pinned.key}"
    which, version = {"Bucket": pinned.bucket, "Key": pinned.key}, {"VersionId": pinned.version}

    def download(copy: IO[bytes]) -> None:
        client = boto3.client("s3")
        there = client.head_object(**which, **version)
        if (there["ETag"].strip('"'), there["ContentLength"]) != (pinned.etag, pinned.size_bytes):
            raise SourceError(
                f"{told} is not what {source.path} pins: it has ETag {there['ETag']} and {there['ContentLength']} "
                "bytes; `dvc update` pins what is there now"
            )
        client.download_fileobj(**which, Fileobj=copy, ExtraArgs=version)

    return _fetch(told, download, "bring it back, or pin what is there now with `dvc update`")


def _fetch(told: str, download: Callable[[IO[bytes]], object], mend: str) -> IO[bytes]:
    """An unnamed copy. SourceError if it cannot be had: what a table holds must not be missing from a corpus untold."""
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - see `_in_s3`
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    copy = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads it closes it
    try:
        download(copy)
    except BaseException as error:
        copy.close()
        if isinstance(error, BotoCoreError | ClientError | Boto3Error):
            raise SourceError(f"{told} cannot be read ({error}); {mend}") from None
        raise
    copy.seek(0)
    return copy


def _on_the_hub(source: HubSource) -> list[TableFile]:
    """The files of the data set at the commit that the revision means now."""
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415 - one kind of source needs it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        told = HfApi().dataset_info(source.path, revision=source.revision)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise SourceError(
            f"source {source.name!r}: the hub gives no data set {source.path!r} at {source.revision!r} "
            f"({' '.join(str(error).split())[:200]}); correct both, or log in if it is gated"
        ) from None
    commit = told.sha

    def opener(name: str) -> Callable[[], IO[bytes]]:
        return lambda: Path(hf_hub_download(source.path, name, repo_type="dataset", revision=commit)).open("rb")

    names = [sibling.rfilename for sibling in told.siblings or []]
    return [TableFile(name, f"{commit}", opener(name)) for name in names if fnmatch.fnmatch(name, _PARQUET)]
