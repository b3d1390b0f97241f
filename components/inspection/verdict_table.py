"""How a reviewer's verdicts get into the table: checked as any row of it, and written while nobody else writes.

The table itself, and what may stand in it, is `components/corpus/inspection_table.py`.
"""

import csv
import io
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock

from components.corpus.inspection_table import (
    COLUMNS,
    Inspection,
    merge_inspections,
    parse_inspections,
    read_inspections,
    write_inspections,
)
from components.errors import SourceError
from components.store import storage_errors_told

FORM = ("language", "extension", "verdict", "comment") + (
    LIMITS := ("max_line_chars", "min_alphanumeric_fraction", "min_alphabetic_fraction", "xml_declaration")
)
"""What a form tells; reviewer and day are added here, and limits that no form shows stay as they stand."""

MAX_COMMENT_CHARS = 1000

_ORIGIN = "the verdict"


@dataclass(frozen=True)
class Taken:
    """What became of the rows of a file."""

    taken: tuple[Inspection, ...]
    """As they stand in the table now."""
    passed_over: tuple[Inspection, ...]
    """Those that are older than what stands in the table."""


@dataclass(frozen=True)
class VerdictTable:
    """The table of one workspace; whoever changes it holds `lock`, threads and processes alike."""

    path: Path
    lock: Path

    def rows(self) -> tuple[Inspection, ...]:
        """What stands in it; SourceError if somebody has damaged it."""
        return read_inspections(self.path)

    def record(self, form: Mapping[str, object], reviewer: str, day: date) -> Inspection:
        """Put one verdict into the table in place of the one that stands there, and give it back.

        `form` has texts for FORM; an empty limit lifts what stood there. SourceError says which value cannot be.
        """
        cells = _cells(form)
        row = _parsed({**cells, "reviewer": _one_line(reviewer), "date": day.isoformat()})
        with self._held():
            rows = {standing.key: standing for standing in self.rows()}
            standing = rows.get(row.key)
            if standing is not None:
                unseen = ("near_duplicate_ngram", "near_duplicate_jaccard")
                row = replace(row, **{name: getattr(standing, name) for name in unseen})
            write_inspections(self.path, (rows | {row.key: row}).values())
        return row

    def take(self, file: Path) -> Taken:
        """Merge the rows of a file of the table's form, as a page without a server gives for download.

        SourceError if there is no such file or a row of it cannot be; then nothing is taken.
        """
        if not file.is_file():
            raise SourceError(f"there is no file {file}; give the one that the page let you download")
        found = [
            replace(row, reviewer=_one_line(row.reviewer), comment=_one_line(row.comment))
            for row in read_inspections(file)
        ]
        with self._held():
            before = self.rows()
            merged = merge_inspections(before, found)
            write_inspections(self.path, merged)
        dates = {row.key: row.date for row in before}
        is_taken = [row.date >= dates.get(row.key, "") for row in found]
        after = {row.key: row for row in merged}
        return Taken(
            taken=tuple(after[row.key] for row, taken in zip(found, is_taken, strict=True) if taken),
            passed_over=tuple(row for row, taken in zip(found, is_taken, strict=True) if not taken),
        )

    @contextmanager
    def _held(self) -> Generator[None]:
        with storage_errors_told(self.path.parent):
            self.lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.lock):
                yield


def cells_of(row: Inspection) -> dict[str, str]:
    """The row as texts, by column; "" for an empty cell."""
    return {name: "" if (value := getattr(row, name)) is None else str(value) for name in COLUMNS}


def _cells(form: Mapping[str, object]) -> dict[str, str]:
    unknown = sorted(set(form) - set(FORM))
    if unknown:
        raise SourceError(f"{_ORIGIN} has the field {unknown[0]!r}, which the table does not know; leave it out")
    cells: dict[str, Any] = {name: form.get(name, "") for name in FORM}
    for name, value in cells.items():
        if not isinstance(value, str):
            raise SourceError(f"{_ORIGIN} has {name} {value!r}, which is no text; write it in quotes")
    cells["comment"] = _one_line(cells["comment"])
    if len(cells["comment"]) > MAX_COMMENT_CHARS:
        raise SourceError(f"{_ORIGIN} has a comment of {len(cells['comment'])} characters; {MAX_COMMENT_CHARS} fit")
    return cells


def _parsed(cells: Mapping[str, str]) -> Inspection:
    """The row that a table with this line alone would have, so that one set of rules holds for both."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerow([cells.get(name, "") for name in COLUMNS])
    try:
        (row,) = parse_inspections(text.getvalue().encode(errors="replace"), _ORIGIN)
    except SourceError as error:
        raise SourceError(str(error).replace(f"{_ORIGIN} line 2 ", f"{_ORIGIN} ")) from None
    return row


def _one_line(text: str) -> str:
    """Blanks and line ends as one space, and nothing that a terminal would obey."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))
