"""One commit for each file of a repository, chosen over a whole table by draws that no order or shards change."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.tables import dropped_rows, read_files


@dataclass(frozen=True)
class Choice:
    """Which rows of a table are the ones of their file; by row number in the table's order."""

    winner_of: NDArray[np.int64]
    """The row that is kept for the file of each row."""
    rivals_of: NDArray[np.int64]
    """How many rows there are of the file of each row."""
    file_ids: NDArray[np.uint64]
    """Of each row, as two numbers."""

    def applied(self, batch: pa.RecordBatch, first_row: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The chosen rows of the batch that begins with this row, and the entries of DROPPED_FILES for the others."""
        rows = np.arange(first_row, first_row + batch.num_rows)
        is_chosen = self.winner_of[rows] == rows
        lost = np.flatnonzero(~is_chosen)
        dropped = dropped_rows(
            batch,
            lost.tolist(),
            rules=["one_commit_per_file"] * len(lost),
            values=[f"{self.rivals_of[first_row + row]} commits" for row in lost],
            thresholds=["1 commit"] * len(lost),
            details=[f"kept as {self._told(self.winner_of[first_row + row])}" for row in lost],
        )
        return batch.filter(pa.array(is_chosen)), dropped

    def _told(self, row: int) -> str:
        return self.file_ids[row].astype(">u8").tobytes().hex()


def choose_documents(artifact: Path, seed: int) -> Choice:
    """One row for each (repository, path): the one that comes first by a draw over seed and id.

    It holds 32 bytes of each row in memory, not the texts.
    """
    keys, ranks, file_ids = bytearray(), bytearray(), bytearray()
    for batch in read_files(artifact, ["file_id", "repository", "path"]):
        for row in batch.to_pylist():
            keys += hashlib.sha256(f"{row['repository']}\0{row['path']}".encode()).digest()[:16]
            ranks += hashlib.sha256(f"{seed}:{row['file_id']}".encode()).digest()[:8]
            file_ids += bytes.fromhex(row["file_id"])
    key, ids = _pairs(keys), _pairs(file_ids)
    order = np.lexsort((ids[:, 1], ids[:, 0], np.frombuffer(ranks, ">u8"), key[:, 1], key[:, 0]))
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (key[order[1:]] != key[order[:-1]]).any(axis=1)
    file_number = np.cumsum(is_first) - 1
    winner_of, rivals_of = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    winner_of[order] = order[is_first][file_number]
    rivals_of[order] = np.bincount(file_number)[file_number]
    return Choice(winner_of, rivals_of, ids)


def _pairs(digests: bytearray) -> NDArray[np.uint64]:
    """16-byte digests as two numbers each."""
    return np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
