"""Which files meet: rows of all shards with an equal key, found range by range without holding all keys in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.corpus.signed_shards import CONTENT_IN_KIND, CONTENT_IN_RULE, SignedShard
from components.pieces import make_piece, map_array, save_array

_ROWS_PER_RANGE = 2**21
"""The keys of one number of 2 million rows are joined at once, in about 100 MB."""
_NUM_KEYS = 2**64


@dataclass(frozen=True)
class KeyRange:
    """One of several equal parts of the numbers that a key can be."""

    part: int
    num_parts: int

    def slice_of(self, keys: NDArray[np.uint64]) -> slice:
        """Where the range lies in ascending keys; the key 0 is in none."""
        lowest = np.uint64(max(1, _NUM_KEYS * self.part // self.num_parts))
        highest = np.uint64(_NUM_KEYS * (self.part + 1) // self.num_parts - 1)
        first, end = np.searchsorted(keys, lowest, side="left"), np.searchsorted(keys, highest, side="right")
        return slice(int(first), int(end))


def key_ranges(total_rows: int) -> list[KeyRange]:
    """Ranges that together hold all keys, each small enough to be joined in memory."""
    num_parts = max(1, -(-total_rows // _ROWS_PER_RANGE))
    return [KeyRange(part, num_parts) for part in range(num_parts)]


@dataclass(frozen=True)
class Links:
    """The piece of one range."""

    piece: Path

    def pairs(self) -> NDArray[np.int64]:
        """Memory-mapped, [L, 2]: a row among all rows, and the first row that shares a key with it."""
        return map_array(self.piece / "pairs", np.int64).reshape(-1, 2)

    def copies(self) -> NDArray[np.int64]:
        """Memory-mapped: rows whose content an earlier row of the same rule has."""
        return map_array(self.piece / "copies", np.int64)

    @property
    def num_repeated(self) -> int:
        """How many rows have a content that an earlier row of the same kind has."""
        return int(np.load(self.piece / "repeated.npy"))


def join_range(keys: KeyRange, *, shards: Sequence[SignedShard], place: Path) -> Links:
    """Make the piece of a range in `place`, or find it there."""
    return Links(make_piece(place / f"links-{keys.part:05d}", lambda piece: _write(piece, keys, shards)))


def _write(piece: Path, keys: KeyRange, shards: Sequence[SignedShard]) -> None:
    save_array(piece / "copies", _repeated(keys, CONTENT_IN_RULE, shards)[:, 0])
    of_contents = _repeated(keys, CONTENT_IN_KIND, shards)
    np.save(piece / "repeated.npy", len(of_contents))
    with (piece / "pairs").open("wb") as pairs:
        pairs.write(of_contents.data)
        for number in range(CONTENT_IN_KIND + 1, max((signed.num_keys for signed in shards), default=0)):
            pairs.write(_repeated(keys, number, shards).data)


def _repeated(keys: KeyRange, number: int, shards: Sequence[SignedShard]) -> NDArray[np.int64]:
    """[L, 2]: each row of the range but the first of its key, and that first one."""
    found_keys: list[Any] = [np.empty(0, dtype=np.uint64)]
    found_rows: list[Any] = [np.empty(0, dtype=np.int64)]
    for signed in shards:
        sorted_keys, rows = signed.keys(number)
        chosen = keys.slice_of(sorted_keys)
        found_keys.append(sorted_keys[chosen].copy())  # a view would keep every shard mapped, and maps are few
        found_rows.append(rows[chosen].astype(np.int64) + signed.shard.first_row)
    all_keys, all_rows = np.concatenate(found_keys), np.concatenate(found_rows)
    order = np.argsort(all_keys, kind="stable")  # rows of equal keys stay in ascending order
    all_keys, all_rows = all_keys[order], all_rows[order]
    is_repeated = np.zeros(len(all_keys), dtype=np.bool_)
    is_repeated[1:] = all_keys[1:] == all_keys[:-1]
    first_of_run = np.maximum.accumulate(np.where(is_repeated, 0, np.arange(len(all_keys))))
    return np.column_stack([all_rows[is_repeated], all_rows[first_of_run[is_repeated]]])
