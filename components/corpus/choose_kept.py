"""Which file of each group of linked ones is kept, and for each other the kept file that stands for it.

Groups are taken by segments. Of a segment the files' merits are in memory, their sets and buckets in mapped files: a
group of a whole table's size is slow, but has room.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from components.corpus.linked_files import LinkedFiles, NgramSets, by_preference
from components.corpus.star_selection import Sets, Stars, fill_buckets, select_stars
from components.pieces import load_table, make_piece, new_array, save_table

_compute: Any = pyarrow.compute
_VERDICTS = pa.schema(
    [
        ("row", pa.int64()),
        ("kept_file_id", pa.large_string()),
        ("similarity", pa.float64()),
        # What the similarity had to reach; null where the contents are equal.
        ("threshold", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Verdicts:
    """The piece of one segment: the linked files that are not kept, by row."""

    piece: Path

    def of_rows(self, rows: range) -> pa.Table:
        """Those of a range of rows, in ascending order: row, kept_file_id, similarity and threshold (null: equal)."""
        table = load_table(self.piece / "verdicts.arrow")
        first, end = np.searchsorted(table.column("row").to_numpy(), [rows.start, rows.stop])
        return table.slice(int(first), int(end - first))

    @property
    def compared_pairs(self) -> int:
        """Pairs of distinct contents whose similarity was computed."""
        return int(np.load(self.piece / "pairs.npy"))


def choose_kept(groups: range, *, described: Sequence[LinkedFiles], place: Path) -> Verdicts:
    """Make the piece of a segment of groups in `place`, or find it there."""
    write = partial(_write, groups=groups, described=described)
    return Verdicts(make_piece(place / f"verdicts-{groups.start:012d}", write))


def _write(piece: Path, *, groups: range, described: Sequence[LinkedFiles]) -> None:
    files = by_preference(pa.concat_tables([shard.files(groups) for shard in described])).combine_chunks()
    contents = _compute.dictionary_encode(files.column("content").combine_chunks())
    owners = contents.indices.to_numpy()  # contents are numbered as they appear: the most wanted first
    _, best = np.unique(owners, return_index=True)
    sets = [shard.sets(groups) for shard in described]
    stars = _stars_of(sets, contents.dictionary, len(best), piece)
    is_near = stars.kept[owners] >= 0
    stands = best[np.where(is_near, stars.kept[owners], owners)]
    dropped = np.flatnonzero(stands != np.arange(len(owners)))
    columns = [
        files.column("row").take(pa.array(dropped)),
        files.column("file_id").take(pa.array(stands[dropped])),
        pa.array(np.where(is_near, stars.similarity[owners], 1.0)[dropped]),
        pa.array(stars.threshold[owners][dropped], mask=~is_near[dropped]),
    ]
    save_table(piece / "verdicts.arrow", pa.table(columns, schema=_VERDICTS).sort_by("row"))
    np.save(piece / "pairs.npy", stars.compared_pairs)


def _stars_of(parts: Sequence[NgramSets], contents: Any, num_files: int, piece: Path) -> Stars:
    """Select among the files' sets, which lie in the order of the shards."""
    table = pa.concat_tables([part.table for part in parts])
    owners = _compute.index_in(table.column("content").combine_chunks(), value_set=contents).to_numpy()
    order = np.argsort(owners, kind="stable")
    sizes = table.column("size").to_numpy()
    scratch = [piece / f"scratch-{number}" for number in range(3)]
    members_N = new_array(scratch[0], np.uint64, (int(sizes.sum()),))
    np.concatenate([np.empty(0, np.uint64), *(part.hashes_N for part in parts)], out=members_N)
    shape = (len(order), max((part.keys_SB.shape[1] for part in parts), default=0))
    buckets_SB, older_SB = (new_array(path, np.int32, shape) for path in scratch[1:])
    num_buckets = fill_buckets(_bands(parts, order, shape[1]), buckets_SB)
    sets = Sets(
        owners_S=owners[order].astype(np.int64),
        thresholds_S=table.column("threshold").to_numpy()[order],
        firsts_S=(np.cumsum(sizes) - sizes)[order],
        sizes_S=sizes[order],
        members_N=members_N,
    )
    stars = select_stars(sets, num_files, buckets_SB, num_buckets, older_SB)
    for path in scratch:
        path.unlink()
    return stars


def _bands(parts: Sequence[NgramSets], order: NDArray[np.int64], num_bands: int) -> Iterator[NDArray[np.uint64]]:
    for band in range(num_bands):
        yield np.concatenate([part.keys_SB[:, band] for part in parts])[order]
