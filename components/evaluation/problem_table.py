"""The artifact eval_problems: one Parquet file of benchmark problems, written and read only here.

Every problem serves the search: its texts are what the corpus must not hold. One that a model can be asked as it
stands, a prompt to be continued into a program, serves the evaluation too.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import CorruptArtifactError
from data_contracts.columns import EVAL_PROBLEMS

EVALUATE, SEARCH = "evaluate", "search"


@dataclass(frozen=True)
class Problem:
    """A problem that a model can be asked."""

    task_id: str
    benchmark: str
    language: str
    prompt: str
    canonical_solution: str
    test: str
    entry_point: str


@dataclass(frozen=True)
class ProblemText:
    """A text that gives a problem away."""

    kind: str
    text: str


@dataclass(frozen=True)
class ProblemRow:
    """One row of EVAL_PROBLEMS; without `problem` it is there to be searched for only."""

    task_id: str
    benchmark: str
    texts: tuple[ProblemText, ...]
    problem: Problem | None


def write_problems(rows: Iterable[ProblemRow], out: Path) -> None:
    """Write the artifact's table under `out`."""
    table = pa.Table.from_pylist([_columns_of(row) for row in rows], schema=EVAL_PROBLEMS)
    pq.write_table(table, out / "problems.parquet", compression="zstd", write_page_checksum=True)


def read_problems(eval_problems: Path) -> list[Problem]:
    """The problems that a model can be asked, in their order; raises as `read_rows`."""
    return [row.problem for row in read_rows(eval_problems) if row.problem is not None]


def read_rows(eval_problems: Path) -> list[ProblemRow]:
    """Every row in its order; CorruptArtifactError if the table is missing, damaged or has other columns."""
    path = eval_problems / "problems.parquet"
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise _missing(path) from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system refused; pyarrow's own failures have no number
        reason = " ".join(str(error).split())
        raise CorruptArtifactError(f"{path} is damaged ({reason}); make the artifact anew") from None
    if not table.schema.equals(EVAL_PROBLEMS):
        raise CorruptArtifactError(f"{path} has other columns than eval_problems; make the artifact anew")
    return [_row_of(columns) for columns in table.to_pylist()]


def digest_of(eval_problems: Path) -> str:
    """sha256 of the table's bytes; CorruptArtifactError if it is missing."""
    path = eval_problems / "problems.parquet"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise _missing(path) from None


def _columns_of(row: ProblemRow) -> dict[str, Any]:
    asked = {} if row.problem is None else asdict(row.problem)
    return asked | {
        "task_id": row.task_id,
        "benchmark": row.benchmark,
        "uses": [SEARCH] if row.problem is None else [EVALUATE, SEARCH],
        "texts": [asdict(text) for text in row.texts],
    }


def _row_of(columns: dict[str, Any]) -> ProblemRow:
    texts = tuple(ProblemText(**text) for text in columns.pop("texts"))
    uses = columns.pop("uses")
    problem = Problem(**columns) if EVALUATE in uses else None
    return ProblemRow(columns["task_id"], columns["benchmark"], texts, problem)


def _missing(path: Path) -> CorruptArtifactError:
    return CorruptArtifactError(f"{path.parent} lacks its {path.name}; make the artifact anew")
