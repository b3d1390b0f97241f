"""Groups of files that hang together through shared keys: the only ones that need to be read again.

Union-find over a memory-mapped array, one number per row of the whole table: what is needed of it is in memory, the
rest on disk. A group is not yet a verdict; within it, files are compared one by one (`star_selection.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.corpus.key_join import Links
from components.corpus.signed_shards import SignedShard
from components.kernels import kernel, read_only
from components.pieces import make_piece, map_array, new_array

_WORK_PER_SEGMENT = 2**24
"""A segment of groups ends when its files have so many n-grams together: 128 MB of sets."""
_WORK_PER_ROW = 32
"""What a row weighs beside its n-grams."""


@dataclass(frozen=True)
class LinkedRows:
    """The piece that says of each row which group it belongs to."""

    piece: Path

    def groups(self, rows: slice) -> NDArray[np.int64]:
        """The number of each row's group, which is its first row's; -1 for a row that shares no key."""
        return map_array(self.piece / "groups", np.int64)[rows]

    def is_compared(self, rows: slice) -> NDArray[np.bool_]:
        """Which rows have to be compared: the first of each content in a group that holds several contents."""
        return map_array(self.piece / "compared", np.bool_)[rows]

    def segments(self) -> list[range]:
        """Ranges of group numbers that together hold every group, cut so that each fits into memory."""
        bounds: list[int] = np.load(self.piece / "segments.npy").tolist()
        return [range(first, end) for first, end in pairwise(bounds)]

    @property
    def num_short(self) -> int:
        """Rows of distinct content that have fewer tokens than one n-gram, where n-grams are compared."""
        return int(np.load(self.piece / "short.npy"))


def link_rows(links: Sequence[Links], shards: Sequence[SignedShard], place: Path) -> LinkedRows:
    """Make the piece in `place`, or find it there."""
    return LinkedRows(make_piece(place / "linked", lambda piece: _write(piece, links, shards)))


def _write(piece: Path, links: Sequence[Links], shards: Sequence[SignedShard]) -> None:
    num_rows = sum(signed.shard.num_rows for signed in shards)
    groups = new_array(piece / "groups", np.int64, (num_rows,))
    compared = new_array(piece / "compared", np.bool_, (num_rows,))
    _number(groups, compared)
    for of_range in links:
        _unite(groups, read_only(of_range.pairs()))
        compared[of_range.copies()] = False
    scratch = piece / "scratch"
    members, contents, work = new_array(scratch, np.int64, (3, num_rows))
    _settle(groups, compared, members, contents)
    num_short = 0
    for signed in shards:
        rows = slice(signed.shard.first_row, signed.shard.first_row + signed.shard.num_rows)
        num_ngrams = read_only(signed.num_ngrams())
        num_short += int(np.count_nonzero((num_ngrams == 0) & compared[rows]))
        _weigh(groups[rows], compared[rows], num_ngrams, members, contents, work)
    bounds = np.zeros(int(work.sum()) // _WORK_PER_SEGMENT + 2, dtype=np.int64)
    np.save(piece / "segments.npy", bounds[: _cut(work, _WORK_PER_SEGMENT, bounds)])
    np.save(piece / "short.npy", num_short)
    scratch.unlink()


@kernel
def _number(groups: Any, compared: Any) -> None:
    for row in range(len(groups)):
        groups[row] = row
        compared[row] = True


@kernel
def _unite(groups: Any, pairs_L2: Any) -> None:
    """Make the groups of both rows of each pair one; `groups` leads from each row down to the first of its group."""
    for pair in range(len(pairs_L2)):
        left, right = pairs_L2[pair, 0], pairs_L2[pair, 1]
        while groups[left] != groups[right]:  # Rem's algorithm with splicing (Patwary et al., SEA 2010)
            if groups[left] < groups[right]:
                left, right = right, left
            lower = groups[left]
            groups[left] = groups[right]
            if lower == left:
                break
            left = lower


@kernel
def _settle(groups: Any, compared: Any, members: Any, contents: Any) -> None:
    """Name each row's group by its first row, and count the rows and the contents of each."""
    for row in range(len(groups)):
        group = groups[groups[row]]
        groups[row] = group
        members[group] += 1
        contents[group] += compared[row]


@kernel
def _weigh(groups: Any, compared: Any, num_ngrams: Any, members: Any, contents: Any, work: Any) -> None:
    """Take out, of one shard's rows, those that stand alone and need no comparison; add up what the others weigh."""
    for row in range(len(groups)):
        group = groups[row]
        compared[row] = compared[row] and contents[group] > 1 and num_ngrams[row] > 0
        if members[group] == 1:
            groups[row] = -1
        else:
            work[group] += _WORK_PER_ROW + (num_ngrams[row] if compared[row] else 0)


@kernel
def _cut(work: Any, limit: Any, bounds: Any) -> Any:
    """Write the bounds of segments of at least `limit`, the last one excepted; returns how many bounds there are."""
    num_bounds = 1
    done = 0
    for group in range(len(work)):
        done += work[group]
        if done >= limit:
            bounds[num_bounds] = group + 1
            num_bounds += 1
            done = 0
    if done > 0:
        bounds[num_bounds] = len(work)
        num_bounds += 1
    return num_bounds
