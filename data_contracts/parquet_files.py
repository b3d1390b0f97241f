"""What the Parquet files of an artifact say: their footers, and a bounded number of their rows.

The files are hostile until proven sound: one that cannot be read is a finding, never an exception.
"""

import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MAX_SAMPLED_FILES = 64
"""A sample opens at most so many files: 64 hold rows enough, and opening 100,000 would cost minutes."""


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
    """Null values per top-level column; None where the writer did not record them."""

    @property
    def num_rows(self) -> int | None:
        """Rows in the file; None where the footer cannot be read."""
        return None if self.group_rows is None else sum(self.group_rows)

    @cached_property
    def type_of(self) -> dict[str, str]:
        """`types` by name."""
        return dict(self.types)


def read_footers(directory: Path, files: str) -> tuple[Footer, ...]:
    """The footers of the files in `directory` that match the glob, in order of their names."""
    paths = sorted(path for path in directory.glob(files) if path.is_file())
    known: dict[Any, Any] = {}
    return tuple(_read_footer(path, known) for path in paths)


def _read_footer(path: Path, known: dict[Any, Any]) -> Footer:
    """One footer; `known` keeps one copy of what 100,000 equal shards repeat."""
    num_bytes = path.stat().st_size
    try:
        metadata: Any = pq.read_metadata(path)
        schema: pa.Schema = metadata.schema.to_arrow_schema()
        names: list[str] = schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return Footer(path, num_bytes, None, (), ())
    types = tuple((field.name, str(field.type)) for field in schema if names.count(field.name) == 1)
    nulls = tuple(_null_counts(metadata))
    group_rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    return Footer(path, num_bytes, group_rows, known.setdefault(types, types), known.setdefault(nulls, nulls))


def _null_counts(metadata: Any) -> list[tuple[str, int | None]]:
    counts: list[tuple[str, int | None]] = []
    for position in range(metadata.num_columns):
        column = metadata.schema.column(position)
        if column.max_definition_level == 0:
            counts.append((column.path, 0))
            continue
        statistics: list[Any] = [
            metadata.row_group(group).column(position).statistics for group in range(metadata.num_row_groups)
        ]
        told = all(found is not None and found.has_null_count for found in statistics)
        counts.append((column.path, sum(found.null_count for found in statistics) if told else None))
    return counts


def choose_rows(footers: tuple[Footer, ...], max_rows: int, seed: int) -> dict[Path, list[int] | None]:
    """Which rows of which files to read: None stands for all of a file's rows.

    All rows where there are at most `max_rows`; else exactly `max_rows` or, where the chosen files hold
    fewer, all of theirs. Files are chosen evenly, rows of a file in proportion to its size.
    """
    filled = [footer for footer in footers if footer.num_rows]
    if sum(footer.num_rows or 0 for footer in filled) <= max_rows:
        return {footer.path: None for footer in filled}
    chance = random.Random(seed)
    picked = sorted(chance.sample(range(len(filled)), min(len(filled), MAX_SAMPLED_FILES)))
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
