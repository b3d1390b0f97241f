"""A seeded sample of whole files from a table of files; a file's rank in it depends on seed and id alone.

So a file that joins or leaves the corpus moves no other file's rank.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.markup import STRUCTURED_KINDS
from components.tables import read_files


def choose_files(artifact: Path, split: str, max_bytes: int, seed: int, *, plain: bool = False) -> frozenset[str]:
    """Ids of files of `split` whose sizes add up to at most `max_bytes`; `plain` as in `rows_of`.

    Files are tried in the order of their seeded hash; one that no longer fits is passed over.
    """
    sizes = {
        row["file_id"]: row["size_bytes"] for row in rows_of(artifact, split, ["file_id", "size_bytes"], plain=plain)
    }
    chosen: set[str] = set()
    room = max_bytes
    for file_id in sorted(sizes, key=lambda file_id: _rank(seed, file_id)):
        if sizes[file_id] <= room:
            chosen.add(file_id)
            room -= sizes[file_id]
    return frozenset(chosen)


def rows_of(artifact: Path, split: str, columns: Sequence[str], *, plain: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of `split` in the table's order, with the named columns, `kind` and `split`; one row group in memory.

    `plain` leaves out the kinds whose content carries marks: to whoever reads it as text they are noise.
    """
    for batch in read_files(artifact, [*dict.fromkeys((*columns, "kind", "split"))]):
        for row in batch.to_pylist():
            if row["split"] == split and not (plain and row["kind"] in STRUCTURED_KINDS):
                yield row


def _rank(seed: int, file_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{file_id}".encode()).digest()
