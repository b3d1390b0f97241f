"""What reviewers found when they looked at files: a verdict for each file ending of a language, in one CSV file.

The form of StarCoder's visual inspection (arXiv 2305.06161, section 3.2): a row says of one ending whether its files
are kept, and which limits are other for them. StarCoder's own verdicts are `starcoder_inspections.csv` beside this file
(facts of bigcode-dataset's `visual_inspection.csv`, Apache-2.0: the endings that differ from all others); ours are the
file that `filter_quality.inspection_file` names, and go before them.
"""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from components.errors import SourceError
from components.sources.language_table import LANGUAGES

Verdict = Literal["include", "exclude", "unsure"]
Off = Literal["off"]

_STARCODER = "starcoder_inspections.csv"
_MAX_BYTES = 2**24


@dataclass(frozen=True)
class Inspection:
    """One row; None in a limit is an empty cell: it stays as it is for other endings."""

    language: str
    extension: str
    """With its dot, lower case; "" for files without one."""
    verdict: Verdict
    """Files of an `unsure` ending are kept, as those of one that nobody looked at."""
    reviewer: str = ""
    date: str = ""
    """Year-month-day, or empty."""
    comment: str = ""
    max_line_chars: int | Off | None = None
    """`off` lifts the limit on the mean line too."""
    min_alphanumeric_fraction: float | Off | None = None
    min_alphabetic_fraction: float | Off | None = None
    xml_declaration: Off | None = None
    """`off`: files that begin as XML are kept."""
    near_duplicate_ngram: int | None = None
    """Tokens in an n-gram, where near-deduplication should count others than for all files."""
    near_duplicate_jaccard: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What there is one row of."""
        return self.language, self.extension

    def over(self, earlier: "Inspection | None") -> "Inspection":
        """This verdict, with the limits that it leaves empty as an earlier row of the same ending has them."""
        left = [name for name in LIMITS if earlier is not None and getattr(self, name) is None]
        return replace(self, **{name: getattr(earlier, name) for name in left})


COLUMNS = tuple(field.name for field in fields(Inspection))
"""The header of the file."""

LIMITS = COLUMNS[6:]
"""The columns that change a limit."""


def starcoder_inspections() -> tuple[Inspection, ...]:
    """The endings of StarCoder's languages that its reviewers excluded or gave limits of their own."""
    return parse_inspections(_starcoder_bytes(), _STARCODER)


def starcoder_digest() -> str:
    """sha256 of StarCoder's verdicts, in hex."""
    return hashlib.sha256(_starcoder_bytes()).hexdigest()


def read_inspections(path: Path) -> tuple[Inspection, ...]:
    """The rows of a file in their order, none if it does not exist; SourceError names the line that is wrong."""
    data = _bytes_of(path)
    return () if data is None else parse_inspections(data, str(path))


def digest_inspections(path: Path) -> str:
    """sha256 of the file's bytes in hex, "absent" if there is none; SourceError if it cannot be read."""
    data = _bytes_of(path)
    return "absent" if data is None else hashlib.sha256(data).hexdigest()


def write_inspections(path: Path, rows: Iterable[Inspection]) -> None:
    """Replace the file by these rows in the order of language and ending, whole or not at all."""
    ordered = sorted(rows, key=lambda row: row.key)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(getattr(row, column)) for column in COLUMNS] for row in ordered)
    data = text.getvalue().encode()
    parse_inspections(data, str(path))
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def merge_inspections(before: Sequence[Inspection], found: Sequence[Inspection]) -> tuple[Inspection, ...]:
    """`before` with what a reviewer found since: a later row replaces the verdict and leaves limits it does not name.

    A row older than the one it would replace is passed over; on the same day the new one counts.
    """
    merged = {row.key: row for row in before}
    for row in found:
        standing = merged.get(row.key)
        if standing is None or row.date >= standing.date:
            merged[row.key] = row.over(standing)
    return tuple(sorted(merged.values(), key=lambda row: row.key))


def parse_inspections(data: bytes, origin: str) -> tuple[Inspection, ...]:
    """The rows of a table that was read from `origin`; SourceError says line, cell and what is allowed."""
    rows: dict[tuple[str, str], Inspection] = {}
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        unknown = sorted(set(reader.fieldnames or ()) - set(COLUMNS))
        missing = [name for name in COLUMNS[:3] if name not in (reader.fieldnames or ())]
        if unknown or missing:
            raise _fault(origin, 1, f"has the columns {unknown or 'it should'} and lacks {missing or 'none'}")
        for cells in reader:
            if None in cells or None in cells.values():  # pyright: ignore[reportUnnecessaryContains] - csv's own marks
                raise _fault(origin, reader.line_num, "has not the cells of its header; quote what holds a comma")
            row = _row(cells, origin, reader.line_num)
            if row.key in rows:
                raise _fault(origin, reader.line_num, f"judges {' '.join(row.key)} again; keep one of the rows")
            rows[row.key] = row
    except UnicodeDecodeError as error:
        raise SourceError(f"{origin} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except csv.Error as error:
        raise SourceError(f"{origin} is not CSV: {error}") from None
    return tuple(rows.values())


_KNOWN = frozenset(language.name for language in LANGUAGES)


def _row(cells: dict[str, str], origin: str, line: int) -> Inspection:
    told = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    if told["language"] not in _KNOWN:
        raise _fault(origin, line, f"names the language {told['language']!r}, which is not known")
    extension = told["extension"]
    if extension and (not extension.startswith(".") or extension != extension.lower()):
        raise _fault(origin, line, f"names the ending {extension!r}; write it in lower case with its dot")
    if told["verdict"] not in get_args(Verdict):
        raise _fault(origin, line, f"has the verdict {told['verdict']!r}; write {', '.join(get_args(Verdict))}")
    if told["date"] and not _is_day(told["date"]):
        raise _fault(origin, line, f"has the date {told['date']!r}; write it as 2023-05-09")
    try:
        limits = {name: _limit(name, told[name]) for name in LIMITS}
    except ValueError as error:
        raise _fault(origin, line, str(error)) from None
    return Inspection(**{**told, **limits})  # type: ignore[arg-type]


def _limit(name: str, cell: str) -> int | float | str | None:
    """The value of a cell of a limit; ValueError says what the cell may hold."""
    if not cell:
        return None
    may_be_off, low, high, number = _RANGES[name]
    if may_be_off and cell == "off":
        return cell
    allowed = f"write {'off, ' if may_be_off else ''}{low} to {high} or nothing" if high else "write off or nothing"
    try:
        value = number(cell)
    except ValueError:
        raise ValueError(f"has {name} {cell!r}; {allowed}") from None
    if not low <= value <= high:
        raise ValueError(f"has {name} {cell!r}; {allowed}")
    return value


_RANGES: dict[str, tuple[bool, int, int, type[int] | type[float]]] = {
    "max_line_chars": (True, 1, 10**9, int),
    "min_alphanumeric_fraction": (True, 0, 1, float),
    "min_alphabetic_fraction": (True, 0, 1, float),
    "xml_declaration": (True, 1, 0, int),
    "near_duplicate_ngram": (False, 1, 20, int),
    "near_duplicate_jaccard": (False, 0, 1, float),
}


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _fault(origin: str, line: int, fault: str) -> SourceError:
    return SourceError(f"{origin} line {line} {fault}")


def _bytes_of(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); mend it or set inspection_file to null") from None
    if len(data) > _MAX_BYTES:
        raise SourceError(f"{path} is larger than {_MAX_BYTES} bytes, which no table of verdicts is")
    return data


def _starcoder_bytes() -> bytes:
    return (resources.files("components.corpus") / _STARCODER).read_bytes()
