"""How much of a language is kept: whole files, drawn by a hash, up to a share of its files or a number of bytes.

A file's rank depends on the seed and its file_id alone, and those below the language's threshold are kept. So neither
order nor shards nor workers change the draw, and a corpus that grows drops files but swaps none.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.corpus.quality_config import FilterQualityConfig
from components.shard_map import Mapped
from components.tables import dropped_rows

RULE = "language_share"
COLUMNS = ("file_id", "language", "size_bytes")
"""What a cap is decided from."""

_RANKS = 2**64


@dataclass(frozen=True)
class Cap:
    """Files of this language whose rank is below the threshold are kept."""

    language: str
    threshold: int
    reason: str


def file_rank(seed: int, file_id: str) -> int:
    """A number from 0 to 2^64 - 1, the same for the same seed and file."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{file_id}".encode()).digest()[:8], "big")


def caps_of(batches: Iterable[pa.RecordBatch], config: FilterQualityConfig) -> tuple[Cap, ...]:
    """The caps that files of these batches (COLUMNS) do not all pass; a language without one is kept whole.

    Holds 16 bytes for each file of a language that has a limit.
    """
    limited = {*config.max_bytes_by_language, *config.keep_fraction_by_language}
    ranks: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in sorted(limited)}
    sizes: dict[str, list[NDArray[np.int64]]] = {name: [] for name in sorted(limited)}
    for batch in batches:
        languages, file_ids, size_bytes = (batch.column(name).to_pylist() for name in ("language", *COLUMNS[::2]))
        for name in limited.intersection(languages):
            rows = [row for row, language in enumerate(languages) if language == name]
            ranks[name].append(np.array([file_rank(config.seed, file_ids[row]) for row in rows], np.uint64))
            sizes[name].append(np.array([size_bytes[row] for row in rows], np.int64))
    caps = (_cap(name, ranks[name], sizes[name], config) for name in ranks if ranks[name])
    return tuple(cap for cap in caps if cap.threshold < _RANKS)


def thin_batch(batch: pa.RecordBatch, caps: tuple[Cap, ...], seed: int) -> Mapped:
    """The rows of a batch of CODE_FILES that the caps leave, and the others with their rank."""
    by_language = {cap.language: cap for cap in caps}
    found: list[tuple[int, int, Cap]] = []
    for row, (file_id, language) in enumerate(
        zip(batch.column("file_id").to_pylist(), batch.column("language").to_pylist(), strict=True)
    ):
        cap = by_language.get(language)
        if cap is not None and (rank := file_rank(seed, file_id)) >= cap.threshold:
            found.append((row, rank, cap))
    is_kept = np.ones(batch.num_rows, np.bool_)
    rows = [row for row, _, _ in found]
    is_kept[rows] = False
    dropped = dropped_rows(
        batch,
        rows,
        rules=[RULE] * len(rows),
        values=[f"{rank / _RANKS:.6f}" for _, rank, _ in found],
        thresholds=[f"{cap.threshold / _RANKS:.6f}" for _, _, cap in found],
        details=[cap.reason for _, _, cap in found],
    )
    return Mapped(kept=batch.filter(pa.array(is_kept)), dropped=dropped)


def _cap(
    name: str, ranks: list[NDArray[np.uint64]], sizes: list[NDArray[np.int64]], config: FilterQualityConfig
) -> Cap:
    """The stricter of the language's two limits: a share of its files, and then bytes of the files in that share."""
    rank, size = np.concatenate(ranks), np.concatenate(sizes)
    order = np.argsort(rank, kind="stable")
    rank, size = rank[order], size[order]
    share = config.keep_fraction_by_language.get(name, 1.0)
    drawn, reason = int(share * _RANKS), f"{share} of the files of {name}"
    limit = config.max_bytes_by_language.get(name)
    if limit is not None:
        exceeding = np.flatnonzero(np.cumsum(size) > limit)
        if exceeding.size and int(rank[exceeding[0]]) < drawn:
            drawn, reason = int(rank[exceeding[0]]), f"{limit} bytes of {name}"
    return Cap(name, drawn, reason)
