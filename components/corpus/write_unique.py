"""The output of deduplication, shard by shard: a shard's bytes depend on its own input and on what befell its rows."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.corpus.choose_kept import Verdicts
from components.corpus.linked_files import LinkedFiles
from components.corpus.signed_shards import Shard
from components.pieces import make_piece
from components.tables import DROPPED, FILES, FilesCounts, FilesWriter, dropped_rows, read_shard
from data_contracts.columns import CODE_FILES

_COUNTS_FILE = "counts.json"
_ALL_BYTES = 2**62  # a shard is cut nowhere


@dataclass(frozen=True)
class Duplicate:
    """Why a row is not kept: the file that is kept for it and how similar the two are."""

    kept_file_id: str
    similarity: float
    threshold: float | None
    """What the similarity had to reach; None where the contents are equal."""

    @property
    def rule(self) -> str:
        """The rule as the table of dropped files names it."""
        return "exact_duplicate" if self.threshold is None else "near_duplicate"


@dataclass(frozen=True)
class WrittenShard:
    """The piece that holds the output for one input shard."""

    piece: Path

    @property
    def counts(self) -> FilesCounts:
        """What was kept and dropped."""
        return FilesCounts.model_validate_json((self.piece / _COUNTS_FILE).read_bytes())


def write_shard(work: tuple[Shard, LinkedFiles], *, verdicts: Sequence[Verdicts], place: Path) -> WrittenShard:
    """Make the piece of one shard's output in `place`, or find it there."""
    shard, linked = work
    write = partial(_write, shard=shard, linked=linked, verdicts=verdicts)
    return WrittenShard(make_piece(place / f"written-{shard.first_row:012d}", write))


def gather(written: Sequence[WrittenShard], out: Path) -> None:
    """Give the shards their names in the artifact: each has the number of the input shard that it was made from."""
    for index, shard in enumerate(written):
        for format in (FILES, DROPPED):
            _link(format.path(shard.piece, 0), format.path(out, index))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _write(piece: Path, *, shard: Shard, linked: LinkedFiles, verdicts: Sequence[Verdicts]) -> None:
    duplicates = _duplicates(range(shard.first_row, shard.first_row + shard.num_rows), linked, verdicts)
    first = shard.first_row
    with FilesWriter(piece, _ALL_BYTES) as writer:
        for batch in read_shard(shard.path, CODE_FILES):
            rows = [row for row in range(batch.num_rows) if first + row in duplicates]
            is_kept = np.ones(batch.num_rows, dtype=np.bool_)
            is_kept[rows] = False
            writer.keep(batch.filter(pa.array(is_kept)))
            writer.drop(_dropped(batch, rows, [duplicates[first + row] for row in rows]))
            first += batch.num_rows
    (piece / _COUNTS_FILE).write_text(writer.counts.model_dump_json(), "utf-8")


def _dropped(batch: pa.RecordBatch, rows: list[int], reasons: list[Duplicate]) -> pa.RecordBatch:
    return dropped_rows(
        batch,
        rows,
        rules=[reason.rule for reason in reasons],
        values=[f"{reason.similarity:.4f}" for reason in reasons],
        thresholds=["equal content" if reason.threshold is None else f"{reason.threshold:g}" for reason in reasons],
        details=[f"kept {reason.kept_file_id}, Jaccard {reason.similarity:.4f}" for reason in reasons],
    )


def _duplicates(rows: range, linked: LinkedFiles, verdicts: Sequence[Verdicts]) -> dict[int, Duplicate]:
    """Those of a shard's rows that are not kept."""
    found: dict[int, Duplicate] = {}
    for piece in verdicts:
        for row, *reason in _rows_of(piece.of_rows(rows)):
            found[row] = Duplicate(*reason)
    for row, best_row, best_file_id in _rows_of(linked.copies()):
        found[row] = found.get(best_row, Duplicate(best_file_id, 1.0, None))
    return found


def _rows_of(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
