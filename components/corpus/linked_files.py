"""What the choice between files needs to know of a shard's linked ones: their merits and their sets of n-grams.

Of equal files of one shard only the best is told further, and of each content only one file of the whole table brings
its set, so that a text copied a million times costs no more than a thousand do.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from components.corpus.comparison_rules import rows_by_rule
from components.corpus.config import DeduplicateConfig
from components.corpus.linked_rows import LinkedRows
from components.corpus.ngrams import distinct_hashes, ngram_hashes
from components.corpus.signed_shards import FIRST_BAND, SignedShard
from components.pieces import load_table, make_piece, map_array, save_array, save_table
from components.tables import read_shard, text_buffers
from data_contracts.columns import CODE_FILES

_compute: Any = pyarrow.compute
_ORDER: Any = [
    ("stars", "descending"),
    ("forks", "descending"),
    ("updated_at", "descending"),
    ("depth", "ascending"),
    ("path", "ascending"),
    ("repository", "ascending"),
    ("source", "ascending"),
    ("file_id", "ascending"),
]
_UNKNOWN = {"stars": 0, "forks": 0, "updated_at": -(2**63)}
_READ = ["file_id", "kind", "content_sha256", *_UNKNOWN, "path", "repository", "source", "extension"]
_TEXT = pa.large_string()  # a segment may hold more than 2 GiB of names
_FILES = pa.schema(
    [
        ("group", pa.int64()),
        ("row", pa.int64()),
        ("content", _TEXT),  # its kind and digest
        *((name, pa.int64()) for name in _UNKNOWN),
        ("depth", pa.int32()),
        *((name, _TEXT) for name in ("path", "repository", "source", "file_id")),
    ]
)
_SETS = pa.schema([("group", pa.int64()), ("content", _TEXT), ("threshold", pa.float64()), ("size", pa.int64())])
_COPIES = pa.schema([("row", pa.int64()), ("best_row", pa.int64()), ("best_file_id", _TEXT)])


@dataclass(frozen=True)
class NgramSets:
    """Sets of n-gram hashes of several files, and the keys by which they meet."""

    table: pa.Table
    """`group`, `content`, the `threshold` of its rule, and the `size` of each set."""
    keys_SB: NDArray[np.uint64]
    hashes_N: NDArray[np.uint64]
    """Each set's hashes in ascending order, end to end."""


@dataclass(frozen=True)
class LinkedFiles:
    """The piece of one shard."""

    piece: Path
    num_bands: int

    def files(self, groups: range) -> pa.Table:
        """The files of some groups, the best of each content; memory-mapped."""
        return _of_groups(load_table(self.piece / "files.arrow"), groups)[0]

    def sets(self, groups: range) -> NgramSets:
        """The sets of some groups; memory-mapped."""
        sizes = load_table(self.piece / "sets.arrow")
        table, rows = _of_groups(sizes, groups)
        first = _compute.sum(sizes.column("size").slice(0, rows.start), min_count=0).as_py()
        end = first + _compute.sum(table.column("size"), min_count=0).as_py()
        keys_SB = map_array(self.piece / "keys", np.uint64).reshape(-1, self.num_bands)
        return NgramSets(table, keys_SB[rows], map_array(self.piece / "hashes", np.uint64)[first:end])

    def copies(self) -> pa.Table:
        """The files of which a better one of equal content is in the same shard, and that one."""
        return load_table(self.piece / "copies.arrow")


def by_preference(files: pa.Table) -> pa.Table:
    """The most wanted first: more stars, more forks (unknown: none), changed later, nearer the root, by name."""
    return files.take(_compute.sort_indices(files, sort_keys=_ORDER))


def describe_linked(signed: SignedShard, *, config: DeduplicateConfig, linked: LinkedRows, place: Path) -> LinkedFiles:
    """Make the shard's piece in `place`, or find it there."""
    write = partial(_write, signed=signed, config=config, linked=linked)
    return LinkedFiles(make_piece(place / f"files-{signed.shard.first_row:012d}", write), signed.num_keys - FIRST_BAND)


def _of_groups(table: pa.Table, groups: range) -> tuple[pa.Table, slice]:
    numbers = table.column("group").to_numpy()
    first, end = (int(place) for place in np.searchsorted(numbers, [groups.start, groups.stop]))
    return table.slice(first, end - first), slice(first, end)


def _write(piece: Path, *, signed: SignedShard, config: DeduplicateConfig, linked: LinkedRows) -> None:
    shard = signed.shard
    here = slice(shard.first_row, shard.first_row + shard.num_rows)
    groups, compared = linked.groups(here), linked.is_compared(here)
    files, sets = [_FILES.empty_table()], _Sets()
    columns = [*_READ, "content"] if compared.any() else _READ
    first = 0
    for batch in read_shard(shard.path, CODE_FILES, columns) if (groups >= 0).any() else ():
        rows = np.flatnonzero(groups[first : first + batch.num_rows] >= 0)
        files.append(_file_rows(batch.take(pa.array(rows)), groups[first + rows], shard.first_row + first + rows))
        rows = np.flatnonzero(compared[first : first + batch.num_rows])
        sets.add(batch.take(pa.array(rows)), groups[first + rows], first + rows, config)
        first += batch.num_rows
    _save_files(piece, by_preference(pa.concat_tables(files)))
    sets.save(piece, signed)


def _file_rows(batch: pa.RecordBatch, groups: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Table:
    columns = {name: batch.column(name) for name in batch.schema.names}
    columns |= {name: _compute.fill_null(columns[name], unknown) for name, unknown in _UNKNOWN.items()}
    columns |= {"group": pa.array(groups), "row": pa.array(rows), "content": _contents(batch)}
    columns["depth"] = _compute.count_substring(columns["path"], "/")
    return pa.table([columns[name] for name in _FILES.names], names=_FILES.names).cast(_FILES)


def _contents(batch: pa.RecordBatch) -> Any:
    return _compute.binary_join_element_wise(batch.column("kind"), batch.column("content_sha256"), " ")


def _save_files(piece: Path, files: pa.Table) -> None:
    """Write the best file of each content, and of the others which one that is. `files` come most wanted first."""
    numbers = _compute.dictionary_encode(files.column("content").combine_chunks()).indices.to_numpy()
    _, best = np.unique(numbers, return_index=True)  # contents are numbered as they appear
    is_best = np.zeros(len(numbers), dtype=np.bool_)
    is_best[best] = True
    kept = files.filter(pa.array(is_best))
    save_table(piece / "files.arrow", kept.sort_by([("group", "ascending"), ("row", "ascending")]))
    standing = files.take(pa.array(best[numbers[~is_best]]))
    columns = [files.filter(pa.array(~is_best)).column("row"), standing.column("row"), standing.column("file_id")]
    save_table(piece / "copies.arrow", pa.table(columns, schema=_COPIES).sort_by("row"))


class _Sets:
    """The sets of n-grams of a shard, gathered batch by batch."""

    def __init__(self) -> None:
        self._tables = [_SETS.empty_table()]
        self._rows = [np.empty(0, dtype=np.int64)]
        self._hashes: list[NDArray[np.uint64]] = []

    def add(
        self, batch: pa.RecordBatch, groups: NDArray[np.int64], rows: NDArray[np.int64], config: DeduplicateConfig
    ) -> None:
        contents = _contents(batch)
        for rule, members in rows_by_rule(config, batch):
            texts = text_buffers(batch.take(pa.array(members)))
            hashes_N, firsts = distinct_hashes(*ngram_hashes(*texts, rule.ngram_tokens, **config.token_options))
            thresholds = pa.array([rule.jaccard_threshold] * len(members))
            columns = [groups[members], contents.take(pa.array(members)), thresholds, np.diff(firsts)]
            self._tables.append(pa.table(columns, names=_SETS.names).cast(_SETS))
            self._rows.append(rows[members])
            self._hashes.extend(hashes_N[first:end] for first, end in pairwise(firsts.tolist()))

    def save(self, piece: Path, signed: SignedShard) -> None:
        table = pa.concat_tables(self._tables)
        order = np.argsort(table.column("group").to_numpy(), kind="stable")
        save_table(piece / "sets.arrow", table.take(pa.array(order)))
        save_array(piece / "keys", signed.band_keys_of(np.concatenate(self._rows)[order]))
        empty = np.empty(0, dtype=np.uint64)
        save_array(piece / "hashes", np.concatenate([empty, *(self._hashes[place] for place in order.tolist())]))
