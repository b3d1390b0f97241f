"""What became of one file: which artifacts hold it, and where it was dropped, by which rule and for which other file.

Read from the tables themselves, step by step in the order of the catalog, so that the answer is what happened and not
what the parameters of today would do.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet as pq

from components.catalog import STEPS
from components.corpus.corpus_facts import KEPT_TABLES
from components.errors import CorruptArtifactError, MissingInputError
from components.settings import Settings
from components.tables import DROPPED

# The functions of these modules are made when they are loaded, unseen by a type checker.
_compute: Any = pyarrow.compute
_dataset: Any = pyarrow.dataset

_SHARD = re.compile(r"(.+)-\d{5}\.parquet")
_FILE_ID = re.compile(r"\b[0-9a-f]{32}\b")
_ORIGIN = ["file_id", "repository", "path", "commit"]
_REASON = ["rule", "value", "threshold", "detail"]


@dataclass(frozen=True)
class Reason:
    """Why a version of the file was dropped."""

    commit: str | None
    rule: str
    value: str
    threshold: str
    detail: str
    other: tuple[str, str] | None
    """Repository and path of the file that `detail` names by its id."""


@dataclass(frozen=True)
class Fate:
    """What one step did with the versions of the file that reached it."""

    step: str
    artifact: str
    kept: int
    """Rows of the artifact that hold the file."""
    dropped: tuple[Reason, ...]


def trace_file(repository: str, path: str, settings: Settings) -> list[Fate]:
    """The steps that met the file, upstream first.

    MissingInputError if no artifact that stands in the workspace has heard of it; CorruptArtifactError for a table
    that cannot be read.
    """
    fates: list[Fate] = []
    for step in STEPS:
        artifact = settings.artifacts_dir / step.output
        tables = _tables(artifact)
        dropped = _rows(tables.pop(DROPPED.prefix, []), repository, path, _ORIGIN + _REASON)
        kept = sum(len(_rows(tables.get(table, []), repository, path, _ORIGIN)) for table in KEPT_TABLES)
        if kept or dropped:
            reasons = tuple(_reason(row, settings) for row in dropped)
            fates.append(Fate(step.name, step.output, kept, reasons))
    if not fates:
        raise MissingInputError(
            f"no artifact of {settings.workspace} has heard of {path!r} in {repository!r}; write both as they stand in "
            "the tables, or run `starloom run` if nothing has been collected yet"
        )
    return fates


def _tables(artifact: Path) -> dict[str, list[Path]]:
    """The tables whose rows say where they come from, by the name of the table."""
    tables: dict[str, list[Path]] = {}
    for shard in sorted(artifact.glob("*.parquet")):
        named = _SHARD.fullmatch(shard.name)
        if named is not None and set(_ORIGIN) <= set(_column_names(shard)):
            tables.setdefault(named[1], []).append(shard)
    return tables


def _column_names(shard: Path) -> list[str]:
    try:
        return pq.read_schema(shard).names
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(shard, error) from None


def _rows(shards: list[Path], repository: str, path: str, columns: list[str]) -> list[dict[str, Any]]:
    return _matching(shards, (_compute.field("repository") == repository) & (_compute.field("path") == path), columns)


def _matching(shards: list[Path], condition: Any, columns: list[str]) -> list[dict[str, Any]]:
    """Row groups whose statistics rule the condition out are not read."""
    if not shards:
        return []
    try:
        files = [str(shard) for shard in shards]
        return _dataset.dataset(files).to_table(columns=columns, filter=condition).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(shards[0].parent, error) from None


def _reason(row: dict[str, Any], settings: Settings) -> Reason:
    named = _FILE_ID.search(row["detail"])
    return Reason(
        commit=row["commit"],
        rule=row["rule"],
        value=row["value"],
        threshold=row["threshold"],
        detail=row["detail"],
        other=_place_of(named[0], settings) if named else None,
    )


def _place_of(file_id: str, settings: Settings) -> tuple[str, str] | None:
    """Where the file with this id was collected; None where no artifact says so any more."""
    for step in STEPS:
        for shards in _tables(settings.artifacts_dir / step.output).values():
            found = _matching(shards, _compute.field("file_id") == file_id, ["repository", "path"])
            if found:
                return found[0]["repository"], found[0]["path"]
    return None


def _corrupt(place: Path, error: Exception) -> CorruptArtifactError:
    reason = " ".join(str(error).split())[:200]
    return CorruptArtifactError(f"{place} cannot be read ({reason}); make its artifact anew")
