"""Bring the benchmark problems together: starloom's own, and further files in the layouts of `problem_layouts.py`.

A file is JSON Lines, plain or gzipped, one problem a line; fields that its layout does not need are left alone. The
problems are only stored: nothing here runs them.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from components.errors import SourceError
from components.evaluation.config import CollectProblemsConfig, MappedProblemFile, ProblemFile
from components.evaluation.problem_layouts import (
    LAYOUTS,
    Layout,
    LayoutError,
    SourceRow,
    layout_of,
    mapped_layout,
)
from components.evaluation.problem_table import ProblemRow, write_problems
from components.section import Summary

OWN_BENCHMARK = "starloom"
_MAX_LINE_BYTES = 2**24
"""16 MiB: no problem is that long, and a gzip file of a few kilobytes can hold a line that fills the memory."""


class CollectProblemsSummary(Summary):
    """What was collected."""

    problems: int
    problems_by_benchmark: dict[str, int]
    """In the order of collection."""
    evaluable_problems: int
    """Those that a model can be asked; all others are only searched for."""


@dataclass(frozen=True)
class _File:
    """A problem file as it is to be read."""

    path: str
    benchmark: str
    layout: Layout | None
    """None: as the first row's fields tell."""


def resolve_sources(config: CollectProblemsConfig, workspace: Path) -> dict[str, str]:
    """sha256 of each file's bytes: our own under "starloom", the others under their configured path.

    SourceError for a file that cannot be read.
    """
    digests = {OWN_BENCHMARK: hashlib.sha256(_own_file()).hexdigest()}
    for file in map(_resolved, config.problem_files):
        digests[file.path] = hashlib.sha256(_read(file.path, workspace)).hexdigest()
    return digests


def run(config: CollectProblemsConfig, *, workspace: Path, out: Path) -> CollectProblemsSummary:
    """Write eval_problems: our own problems, then those of each configured file in their order.

    SourceError names the file, the line and the mend.
    """
    own = _File("problems.jsonl", OWN_BENCHMARK, LAYOUTS["human_eval"])
    places: dict[tuple[str, str], str] = {}
    rows = list(_parse(_own_file(), own, places))
    for file in map(_resolved, config.problem_files):
        rows.extend(_parse(_read(file.path, workspace), file, places))
    write_problems(rows, out)
    return CollectProblemsSummary(
        problems=len(rows),
        problems_by_benchmark=dict(Counter(row.benchmark for row in rows)),
        evaluable_problems=sum(row.problem is not None for row in rows),
    )


def _resolved(file: ProblemFile) -> _File:
    if isinstance(file, str):
        return _File(file, Path(file).name.split(".")[0], None)
    layout = mapped_layout(file.fields) if isinstance(file, MappedProblemFile) else LAYOUTS[file.layout]
    return _File(file.path, file.benchmark, layout)


def _own_file() -> bytes:
    return resources.files("components.evaluation").joinpath("problems.jsonl").read_bytes()


def _read(name: str, workspace: Path) -> bytes:
    path = workspace / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"there is no problem file {path}; correct collect_problems.problem_files") from None
    except OSError as error:
        raise SourceError(f"problem file {path} cannot be read: {error.strerror}; make it readable") from None


def _parse(data: bytes, file: _File, places: dict[tuple[str, str], str]) -> Iterator[ProblemRow]:
    """The problems of one file; `places` tells where each task of each benchmark stands and is added to."""
    layout, is_empty = file.layout, True
    for number, line in _numbered_lines(data, file.path):
        where = f"{file.path}, line {number}"
        values = _json_object(line, where)
        try:
            layout = layout or layout_of(values)
            row = layout.read(SourceRow(values, file.benchmark, number))
        except LayoutError as error:
            raise SourceError(f"{where}: {error}; mend it or correct collect_problems.problem_files") from None
        if row is None:
            continue
        is_empty = False
        first = places.setdefault((row.benchmark, row.task_id), where)
        if first is not where:
            raise SourceError(f"{where}: task_id {row.task_id!r} of {row.benchmark} was used in {first}; rename one")
        yield row
    if is_empty:
        raise SourceError(f"{file.path} holds no problem; add one or take it out of collect_problems.problem_files")


def _numbered_lines(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1, unpacked if they are gzipped."""
    number = 0
    try:
        with gzip.open(io.BytesIO(data)) if data.startswith(b"\x1f\x8b") else io.BytesIO(data) as lines:
            while line := lines.readline(_MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > _MAX_LINE_BYTES:
                    raise SourceError(f"{name}, line {number} is longer than {_MAX_LINE_BYTES} bytes; split it")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{name} is damaged after line {number} ({error}); fetch or pack it again") from None


def _json_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is not JSON ({error}); write one JSON object a line") from None
    if not isinstance(values, dict):
        raise SourceError(f"{where} is not a JSON object; write one JSON object a line")
    return values
