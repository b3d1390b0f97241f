"""The artifact eval_problems: one Parquet file of benchmark problems, written and read only here."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import CorruptArtifactError

EVAL_PROBLEMS: pa.Schema = pa.schema(
    [
        # Unique within its benchmark, for example "HumanEval/0".
        pa.field("task_id", pa.string(), nullable=False),
        # Name of the file that the problem came from, without endings; "starloom" for our own.
        pa.field("benchmark", pa.string(), nullable=False),
        # As `components/sources/languages.py` spells it.
        pa.field("language", pa.string(), nullable=False),
        # What a model is given: imports, signature, docstring.
        pa.field("prompt", pa.string(), nullable=False),
        # What makes it a correct program when appended to the prompt.
        pa.field("canonical_solution", pa.string(), nullable=False),
        # A program that defines check(candidate); it raises if the candidate is wrong.
        pa.field("test", pa.string(), nullable=False),
        # Name of the function that is the candidate.
        pa.field("entry_point", pa.string(), nullable=False),
    ]
)
"""Columns of `problems.parquet`, rows by benchmark in the order they were collected, then as their file has them."""


@dataclass(frozen=True)
class Problem:
    """One row of EVAL_PROBLEMS."""

    task_id: str
    benchmark: str
    language: str
    prompt: str
    canonical_solution: str
    test: str
    entry_point: str


def write_problems(problems: list[Problem], out: Path) -> None:
    """Write the artifact's table under `out`."""
    table = pa.Table.from_pylist([asdict(problem) for problem in problems], schema=EVAL_PROBLEMS)
    pq.write_table(table, out / "problems.parquet", compression="zstd", write_page_checksum=True)


def read_problems(eval_problems: Path) -> list[Problem]:
    """Every problem in its order; CorruptArtifactError if the table is missing, damaged or has other columns."""
    path = eval_problems / "problems.parquet"
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise CorruptArtifactError(f"{eval_problems} lacks its {path.name}; make the artifact anew") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the operating system refused; pyarrow's own failures have no number
        reason = " ".join(str(error).split())
        raise CorruptArtifactError(f"{path} is damaged ({reason}); make the artifact anew") from None
    if not table.schema.equals(EVAL_PROBLEMS):
        raise CorruptArtifactError(f"{path} has other columns than eval_problems; make the artifact anew")
    return [Problem(**row) for row in table.to_pylist()]
