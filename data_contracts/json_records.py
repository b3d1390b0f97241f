"""Records inside a JSON file as a table; what is not of its declared type becomes null and is told."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_contracts.contract import Column, JsonRecords, ListSum

UNREADABLE = "unreadable"
ABSENT = "absent"
ITSELF = "value"
"""The column of a record that is no object."""
_MISSING = object()
_MAX_NAME_CHARS = 255


def read_document(path: Path) -> tuple[Any, str | None]:
    """The document and None, or None and why there is none. NaN and infinities, which JSON lacks, are null."""
    try:
        return json.loads(path.read_text("utf-8"), parse_constant=lambda _: None), None
    except FileNotFoundError:
        return None, ABSENT
    except (OSError, ValueError, RecursionError):
        return None, UNREADABLE


def records_in(document: Any, way: tuple[str, ...]) -> list[tuple[dict[str, str], Any]]:
    """The records that `way` leads to (see JsonRecords), each with the keys captured on the way, in file order."""
    level: list[tuple[dict[str, str], Any]] = [({}, document)]
    for step in way:
        level = [found for captured, value in level for found in _enter(captured, value, step)]
    return level


def _enter(captured: dict[str, str], value: Any, step: str) -> Iterable[tuple[dict[str, str], Any]]:
    if step == "[]":
        return [(captured, item) for item in value] if isinstance(value, list) else []
    if not isinstance(value, dict):
        return []
    if step.startswith("{"):
        return [(captured | {step[1:-1]: _text(key)}, item) for key, item in value.items()]
    return [(captured, value[step])] if step in value else []


def rows_of(view: JsonRecords, directory: Path, document: Any) -> dict[str, list[Any]]:
    """The view's columns as lists of equal length."""
    found = records_in(document, view.records)
    rows: dict[str, list[Any]] = {"document": [view.file] * len(found)}
    for name in view.captured:
        rows[name] = [captured[name] for captured, _ in found]
    for column in view.columns:
        rows[column.name] = [_typed(_member(record, column.name), column.type) for _, record in found]
    for total in view.sums:
        rows[total.name] = [_sum(record, total) for _, record in found]
    if view.sized:
        rows["file_bytes"] = [_size(directory, name) for name in rows[view.sized]]
    return rows


def found_type(view: JsonRecords, document: Any, column: Column) -> str:
    """The declared type if all values of the column have it (null has every type), else what was found."""
    values = [_member(record, column.name, _MISSING) for _, record in records_in(document, view.records)]
    if values and all(value is _MISSING for value in values):
        return ABSENT
    given = [value for value in values if value is not None and value is not _MISSING]
    wrong = sorted({type(value).__name__ for value in given if _typed(value, column.type) is None})
    return " or ".join(wrong) if wrong else column.type


def _member(record: Any, name: str, default: Any = None) -> Any:
    if name == ITSELF and not isinstance(record, dict):
        return record
    for step in name.split("."):
        if not isinstance(record, dict) or step not in record:
            return default
        record = record[step]
    return record


def _typed(value: Any, kind: str) -> Any:
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if kind == "string":
        return _text(value) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "int64":
        return value if isinstance(value, int) and _fits(value) else None
    return float(value) if abs(value) < 2**1023 else None


def _sum(record: Any, total: ListSum) -> int | None:
    items: Any = _member(record, total.items)
    if isinstance(items, dict):
        items = list(items.values())
    if not isinstance(items, list):
        return None
    values: list[Any] = [_typed(_member(item, total.field), "int64") for item in items]
    return None if None in values or not _fits(sum(values)) else sum(values)


def _fits(value: int) -> bool:
    return abs(value) < 2**63


def _text(value: str) -> str:
    """The string with lone surrogates, which UTF-8 and Arrow cannot hold, written as escapes."""
    return value.encode("utf-8", "backslashreplace").decode()


def _size(directory: Path, name: str | None) -> int | None:
    """Size of a file that lies directly in `directory`; None for any other name."""
    if name is None or Path(name).name != name or "\0" in name or len(name) > _MAX_NAME_CHARS:
        return None
    path = directory / name
    return path.stat().st_size if path.is_file() else None
