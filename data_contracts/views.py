"""Loads the views of a contract: from an artifact's directory to small Arrow tables.

What is wrong with the files themselves (absent, unreadable, another type) is a table too, `structure`, so
that a broken file is reported like a broken row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_contracts.contract import JsonRecords, ParquetRows, ParquetShards, RowTotals, View
from data_contracts.json_records import ABSENT, UNREADABLE, found_type, read_document, rows_of
from data_contracts.parquet_files import Footer, choose_rows, empty_table, read_footers, read_rows

STRUCTURE_KEY = ("file", "column")
_JSON_TYPES = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}


@dataclass(frozen=True)
class LoadedView:
    """A view with its rows."""

    view: View
    table: pa.Table
    """The view's columns; one that the files lack is all null."""
    structure: pa.Table | None
    """Columns file, column, declared, found: one row per declared column, naming the first file that differs."""
    num_rows_total: int
    """Rows of the artifact that the view stands for; more than the table's if it is a sample."""


class ViewLoader:
    """Loads views of one artifact; each footer is read once however many views need it."""

    def __init__(self, artifact_dir: Path, upstream: Mapping[str, Path]) -> None:
        self._dir = artifact_dir
        self._upstream = upstream
        self._footers: dict[tuple[Path, str], tuple[Footer, ...]] = {}

    def can_load(self, view: View) -> bool:
        """Whether the upstream artifact that the view compares with, if any, is at hand."""
        return not isinstance(view, RowTotals) or set(view.upstream) <= set(self._upstream)

    def load(self, view: View) -> LoadedView:
        """The view's rows; of a view that `can_load` affirms."""
        match view:
            case ParquetRows():
                return self._load_rows(view)
            case ParquetShards():
                return self._load_shards(view)
            case RowTotals():
                return self._load_totals(view)
            case JsonRecords():
                return self._load_json(view)

    def _footers_of(self, directory: Path, files: str) -> tuple[Footer, ...]:
        place = (directory, files)
        if place not in self._footers:
            self._footers[place] = read_footers(directory, files)
        return self._footers[place]

    def _load_rows(self, view: ParquetRows) -> LoadedView:
        footers = self._footers_of(self._dir, view.files)
        wanted = {column.name: column.type for column in view.columns if column.name not in view.not_loaded}
        chosen = choose_rows(footers, view.max_rows, view.seed)
        tables: list[pa.Table] = [empty_table(wanted)]
        unreadable = {footer.path for footer in footers if footer.group_rows is None}
        for footer in footers:
            if footer.path in chosen:
                table = read_rows(footer, chosen[footer.path], wanted)
                if table is None:
                    unreadable.add(footer.path)
                else:
                    tables.append(table)
        structure = _structure(
            [
                (view.files, column.name, column.type, column.type)
                if view.optional and not footers
                else _parquet_finding(view.files, column.name, column.type, footers, unreadable)
                for column in view.columns
            ]
        )
        return LoadedView(view, pa.concat_tables(tables), structure, _total(footers))

    def _load_shards(self, view: ParquetShards) -> LoadedView:
        footers = self._footers_of(self._dir, view.files)
        columns: dict[str, Any] = {
            "file": pa.array([footer.path.name for footer in footers], pa.string()),
            "rows": pa.array([footer.num_rows for footer in footers], pa.int64()),
            "bytes": pa.array([footer.num_bytes for footer in footers], pa.int64()),
        }
        for name in view.nulls_of:
            nulls = [dict(footer.nulls).get(name) for footer in footers]
            columns[f"{name}_nulls"] = pa.array(nulls, pa.int64())
        return LoadedView(view, pa.table(columns), None, len(footers))

    def _load_totals(self, view: RowTotals) -> LoadedView:
        rows = _total(self._footers_of(self._dir, view.files))
        dropped = _total(self._footers_of(self._dir, view.dropped))
        above = sum(_total(self._footers_of(self._upstream[name], view.upstream_files)) for name in view.upstream)
        columns = {"rows": rows, "dropped_rows": dropped, "all_rows": rows + dropped, "upstream_rows": above}
        table = pa.table({"upstream": [", ".join(view.upstream)]} | {name: [count] for name, count in columns.items()})
        return LoadedView(view, table, None, 1)

    def _load_json(self, view: JsonRecords) -> LoadedView:
        document, fault = read_document(self._dir / view.file)
        fault = None if view.optional and fault == ABSENT else fault
        rows = rows_of(view, self._dir, document)
        types = {column.name: _JSON_TYPES[column.type] for column in view.columns}
        types |= {name: pa.int64() for name in ("file_bytes", *(total.name for total in view.sums))}
        table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in rows.items()})
        structure = _structure(
            [
                (view.file, column.name, column.type, fault or found_type(view, document, column))
                for column in view.columns
            ]
        )
        return LoadedView(view, table, structure, table.num_rows)


def _total(footers: tuple[Footer, ...]) -> int:
    return sum(footer.num_rows or 0 for footer in footers)


def _parquet_finding(
    files: str, name: str, declared: str, footers: tuple[Footer, ...], unreadable: set[Path]
) -> tuple[str, str, str, str]:
    if not footers:
        return files, name, declared, ABSENT
    for footer in footers:
        found = UNREADABLE if footer.path in unreadable else footer.type_of.get(name, ABSENT)
        if found != declared:
            return footer.path.name, name, declared, found
    return footers[0].path.name, name, declared, declared


def _structure(findings: list[tuple[str, str, str, str]]) -> pa.Table:
    names = (*STRUCTURE_KEY, "declared", "found")
    columns = zip(*findings, strict=True) if findings else [()] * len(names)
    return pa.table({name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True)})
