"""What a corpus consists of and what every step took out of it: counted from the tables' light columns."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from components.section import Summary
from components.tables import DROPPED

KEPT_TABLES = ("files", "threads", "changes")
"""The tables that hold what a step kept: files, conversations before they are laid out, changes before they are."""


class Shares(BaseModel):
    """Files and bytes per name, most bytes first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, int]
    bytes: dict[str, int]


class FunnelRow(Summary):
    """What one artifact holds and what its step dropped."""

    artifact: str
    kept_files: int
    kept_bytes: int
    dropped_files: int
    dropped_by_rule: dict[str, int]
    """Most first."""


class CorpusFacts(BaseModel):
    """Everything that the card tells; `facts.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    description: str
    funnel: tuple[FunnelRow, ...]
    by_kind: Shares
    by_language: Shares
    by_license: Shares
    by_source: Shares
    by_split: Shares
    repositories: int
    tokens_by_split: dict[str, int]
    redactions_by_entity: dict[str, int]
    near_duplicates: int
    least_jaccard: float | None
    """Of a file dropped as a near-duplicate with the file that is kept for it; null where none was dropped."""


def funnel_row(artifact: Path) -> FunnelRow:
    """Counted anew from the artifact's tables."""
    kept = [row for table in KEPT_TABLES for row in _columns(artifact, table, ["size_bytes"])]
    rules = Counter(row["rule"] for row in _columns(artifact, DROPPED.prefix, ["rule"]))
    return FunnelRow(
        artifact=artifact.name,
        kept_files=len(kept),
        kept_bytes=sum(row["size_bytes"] for row in kept),
        dropped_files=rules.total(),
        dropped_by_rule=dict(sorted(rules.items(), key=lambda rule: (-rule[1], rule[0]))),
    )


def shares_of(corpus: Path) -> dict[str, Shares]:
    """Files and bytes of a table of files by kind, language, license, source and split; and `repository`."""
    names = ("kind", "language", "license", "source", "split", "repository")
    files = {name: Counter[str]() for name in names}
    sizes = {name: Counter[str]() for name in names}
    for row in _columns(corpus, "files", [*names, "size_bytes"]):
        for name in names:
            value = row[name] or "unknown"
            files[name][value] += 1
            sizes[name][value] += row["size_bytes"]
    return {name: _ordered(files[name], sizes[name]) for name in names}


def near_duplicates_of(unique_files: Path) -> tuple[int, float | None]:
    """How many files were dropped as near-duplicates, and the least similarity among them."""
    rows = _columns(unique_files, DROPPED.prefix, ["rule", "value"])
    found = [float(row["value"]) for row in rows if row["rule"] == "near_duplicate"]
    return len(found), min(found, default=None)


def redactions_of(redacted_files: Path) -> dict[str, int]:
    """Replaced spans per entity, in alphabetical order."""
    entities = Counter(row["entity"] for row in _columns(redacted_files, "redactions", ["entity"]))
    return dict(sorted(entities.items()))


def _ordered(files: Counter[str], sizes: Counter[str]) -> Shares:
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    return Shares(files={name: files[name] for name in names}, bytes={name: sizes[name] for name in names})


def _columns(artifact: Path, table: str, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for shard in sorted(artifact.glob(f"{table}-*.parquet")):
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(columns=list(columns)):
                yield from batch.to_pylist()
