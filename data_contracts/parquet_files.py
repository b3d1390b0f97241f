"""What the Parquet files of an artifact say: their footers, and a bounded number of their rows.

The files are hostile until proven sound: one that cannot be read is a finding, never an exception.
"""

import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MIN_SAMPLED_FILES = 64
"""A sample comes from at least so many files where there are as many, so that no single one decides."""
MAX_SAMPLED_FILES = 1024
"""At most so many files are opened for their rows, also where they hold few: opening 100,000 would cost minutes."""

_THREADS = 8
"""Footers that are read at once: on network storage each is a wait, which local disks do not have."""
_FOOTERS_PER_TASK = 256


@dataclass(frozen=True)
class Footer:
    """What a file's footer says; `group_rows` is None where it cannot be read."""

    path: Path
    num_bytes: int
    group_rows: tuple[int, ...] | None
    """Rows of each row group."""
    types: tuple[tuple[str, str], ...]
    """Name and Arrow type of each column; a name that occurs twice is not listed."""
    nulls: tuple[tuple[str, int | None], ...]
    """Null values of each column that was asked for; None where the writer did not record them."""

    @property
    def num_rows(self) -> int | None:
        """Rows in the file; None where the footer cannot be read."""
        return None if self.group_rows is None else sum(self.group_rows)

    @cached_property
    def type_of(self) -> dict[str, str]:
        """`types` by name."""
        return dict(self.types)


def read_footers(directory: Path, files: str, nulls_of: Iterable[str] = ()) -> tuple[Footer, ...]:
    """The footers of the files in `directory` that match the glob, in order of their names."""
    paths = sorted(path for path in directory.glob(files) if path.is_file())
    reader = _FooterReader(frozenset(nulls_of))
    tasks = [paths[start : start + _FOOTERS_PER_TASK] for start in range(0, len(paths), _FOOTERS_PER_TASK)]
    with ThreadPoolExecutor(_THREADS) as threads:
        return tuple(footer for footers in threads.map(reader.read, tasks) for footer in footers)


@dataclass(frozen=True)
class _Shape:
    """What files of equal columns have in common: worked out once, not 100,000 times."""

    metadata: Any
    types: tuple[tuple[str, str], ...]
    counted: tuple[tuple[str, int, bool], ...]
    """Name, position and whether it may be null, of each column whose nulls are asked for."""

    def fits(self, metadata: Any) -> bool:
        return metadata.metadata == self.metadata.metadata and metadata.schema.equals(self.metadata.schema)


class _FooterReader:
    """Reads footers, any number of threads at a time."""

    def __init__(self, nulls_of: frozenset[str]) -> None:
        self._nulls_of = nulls_of
        self._known: dict[Any, Any] = {}

    def read(self, paths: Sequence[Path]) -> list[Footer]:
        footers: list[Footer] = []
        shape: _Shape | None = None
        for path in paths:
            num_bytes = path.stat().st_size
            try:
                metadata: Any = pq.read_metadata(path)
                if shape is None or not shape.fits(metadata):
                    shape = self._shape_of(metadata)
            except (pa.ArrowException, OSError, UnicodeDecodeError):
                footers.append(Footer(path, num_bytes, None, (), ()))
                continue
            group_rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
            nulls = tuple((name, _null_count(metadata, *place)) for name, *place in shape.counted)
            footers.append(Footer(path, num_bytes, self._same(group_rows), shape.types, self._same(nulls)))
        return footers

    def _shape_of(self, metadata: Any) -> _Shape:
        schema: pa.Schema = metadata.schema.to_arrow_schema()
        names: list[str] = schema.names
        types = tuple((field.name, str(field.type)) for field in schema if names.count(field.name) == 1)
        columns: list[Any] = [metadata.schema.column(position) for position in range(metadata.num_columns)]
        counted = tuple(
            (column.path, position, column.max_definition_level > 0)
            for position, column in enumerate(columns)
            if column.path in self._nulls_of
        )
        return _Shape(metadata, self._same(types), counted)

    def _same(self, value: Any) -> Any:
        """One copy of what 100,000 equal shards repeat."""
        return self._known.setdefault(value, value)


def _null_count(metadata: Any, position: int, is_nullable: bool) -> int | None:
    if not is_nullable:
        return 0
    groups = range(metadata.num_row_groups)
    statistics: list[Any] = [metadata.row_group(group).column(position).statistics for group in groups]
    told = all(found is not None and found.has_null_count for found in statistics)
    return sum(found.null_count for found in statistics) if told else None


def choose_rows(footers: tuple[Footer, ...], max_rows: int, seed: int) -> dict[Path, list[int] | None]:
    """Which rows of which files to read: None stands for all of a file's rows.

    All rows where there are at most `max_rows` of them in at most MAX_SAMPLED_FILES files; else exactly `max_rows`
    or, where the chosen files hold fewer, all of theirs. Files are chosen evenly, as many as are likely to hold
    `max_rows`; rows of a file in proportion to its size.
    """
    filled = [footer for footer in footers if footer.num_rows]
    rows_in_all = sum(footer.num_rows or 0 for footer in filled)
    if rows_in_all <= max_rows and len(filled) <= MAX_SAMPLED_FILES:
        return {footer.path: None for footer in filled}
    enough = -(-max_rows * len(filled) // rows_in_all)
    opened = min(len(filled), max(MIN_SAMPLED_FILES, min(enough, MAX_SAMPLED_FILES)))
    chance = random.Random(seed)
    picked = sorted(chance.sample(range(len(filled)), opened))
    chosen = [filled[index] for index in picked]
    total = sum(footer.num_rows or 0 for footer in chosen)
    wanted, seen, rows = min(max_rows, total), 0, dict[Path, list[int] | None]()
    for footer in chosen:
        num_rows = footer.num_rows or 0
        quota = wanted * (seen + num_rows) // total - wanted * seen // total
        rows[footer.path] = sorted(chance.sample(range(num_rows), quota))
        seen += num_rows
    return rows


def read_rows(footer: Footer, rows: list[int] | None, columns: dict[str, str]) -> pa.Table | None:
    """The chosen rows of a file, in order; None if its pages cannot be read.

    `columns` are the wanted names and Arrow types; one that the file lacks or types otherwise is all null.
    """
    present = [name for name, kind in columns.items() if footer.type_of.get(name) == kind]
    groups = footer.group_rows or ()
    tables: list[pa.Table] = []
    try:
        with pq.ParquetFile(footer.path, page_checksum_verification=True) as file:
            for group, local in _rows_by_group(groups, rows):
                table = file.read_row_group(group, columns=present)
                table.validate(full=True)
                tables.append(_shaped(table if local is None else table.take(local), columns))
    except (pa.ArrowException, OSError):
        return None
    return pa.concat_tables(tables) if tables else empty_table(columns)


def empty_table(columns: dict[str, str]) -> pa.Table:
    """No rows of the given names and Arrow types."""
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()]).empty_table()


def _rows_by_group(group_rows: tuple[int, ...], rows: list[int] | None) -> list[tuple[int, list[int] | None]]:
    if rows is None:
        return [(group, None) for group in range(len(group_rows))]
    found: list[tuple[int, list[int] | None]] = []
    start, position = 0, 0
    for group, length in enumerate(group_rows):
        local: list[int] = []
        while position < len(rows) and rows[position] < start + length:
            local.append(rows[position] - start)
            position += 1
        if local:
            found.append((group, local))
        start += length
    return found


def _shaped(table: pa.Table, columns: dict[str, str]) -> pa.Table:
    """`table` with exactly the wanted columns; a file without any of them still has its number of rows."""
    arrays = [
        table.column(name) if name in table.column_names else pa.nulls(table.num_rows, pa.type_for_alias(kind))
        for name, kind in columns.items()
    ]
    return pa.table(arrays, names=list(columns))
