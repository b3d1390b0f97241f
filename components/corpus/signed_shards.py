"""What is known of a shard's files before any two are compared: how many n-grams each has, and its keys.

A key stands for something that two files may share: their content within a rule, their content within a kind, or one
band of their signatures. Files whose keys of the same number are equal meet. Each number's keys are sorted, so that a
range of them is one slice of every shard (`key_join.py`).
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.corpus.comparison_rules import max_bands, rows_by_rule, salt_of
from components.corpus.config import DeduplicateConfig
from components.corpus.minhash import band_keys, permutations, sign_texts
from components.pieces import make_piece, map_array, name_of, save_array
from components.tables import read_shard, text_buffers
from data_contracts.columns import CODE_FILES
from model.reporting import current_sink

CONTENT_IN_RULE, CONTENT_IN_KIND, FIRST_BAND = 0, 1, 2
"""Numbers of keys; the bands follow one another."""

_DIGEST_HEX_DIGITS = 16
"""Contents meet by the first 64 bits of their digests; the whole digest is compared before one is dropped."""


@dataclass(frozen=True)
class Shard:
    """One file of the input table, and where its rows stand among all."""

    path: Path
    first_row: int
    num_rows: int


@dataclass(frozen=True)
class SignedShard:
    """A shard and the piece that holds its keys."""

    shard: Shard
    piece: Path
    num_keys: int

    def keys(self, number: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Memory-mapped: the keys of one number in ascending order, and the row of the shard that each belongs to.

        0 is no key.
        """
        sorted_keys, rows = self._all_keys()
        return sorted_keys[number], rows[number]

    def band_keys_of(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The band keys [rows, bands] of some rows of the shard."""
        sorted_keys, order = self._all_keys()
        keys_NR = np.empty_like(sorted_keys)
        np.put_along_axis(keys_NR, order.astype(np.int64), sorted_keys, axis=1)
        return np.ascontiguousarray(keys_NR[FIRST_BAND:, rows].T)

    def num_ngrams(self) -> NDArray[np.int64]:
        """N-grams of each row, repeated ones too; -1 where only equality of content counts."""
        return map_array(self.piece / "ngrams", np.int64)

    def _all_keys(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        shape = (self.num_keys, self.shard.num_rows)
        keys, rows = map_array(self.piece / "keys", np.uint64), map_array(self.piece / "rows", np.uint32)
        return keys.reshape(shape), rows.reshape(shape)


def num_keys(config: DeduplicateConfig) -> int:
    """How many keys a file has at most."""
    return FIRST_BAND + max_bands(config)


def sign_shard(shard: Shard, *, config: DeduplicateConfig, work_dir: Path, total_rows: int) -> SignedShard:
    """Make the shard's piece in `work_dir`, or find it there."""
    with shard.path.open("rb") as stream:
        name = name_of(config.model_dump_json(), hashlib.file_digest(stream, "sha256").hexdigest())
    write = partial(_write, shard=shard, config=config, total_rows=total_rows)
    return SignedShard(shard, make_piece(work_dir / f"signed-{name}", write), num_keys(config))


def _write(piece: Path, *, shard: Shard, config: DeduplicateConfig, total_rows: int) -> None:
    keys_NR = np.zeros((num_keys(config), shard.num_rows), dtype=np.uint64)
    num_ngrams = np.full(shard.num_rows, -1, dtype=np.int64)
    maps = permutations(config.num_permutations, config.seed)
    done = 0
    for batch in read_shard(shard.path, CODE_FILES, ["content", "content_sha256", "kind", "extension"]):
        rows = slice(done, done + batch.num_rows)
        _sign(batch, config, maps, keys_NR[:, rows], num_ngrams[rows])
        done += batch.num_rows
        current_sink().progress(shard.first_row + done, total_rows, "files")
    order = np.argsort(keys_NR, axis=1, kind="stable")
    save_array(piece / "keys", np.take_along_axis(keys_NR, order, axis=1))
    save_array(piece / "rows", order.astype(np.uint32))
    save_array(piece / "ngrams", num_ngrams)


def _sign(
    batch: pa.RecordBatch, config: DeduplicateConfig, maps: Any, keys_NR: NDArray[np.uint64], num_ngrams: Any
) -> None:
    """Fill in the keys and the number of n-grams of a batch's rows."""
    contents = _content_numbers(batch)
    kind_salts = {kind: salt_of(kind) for kind in set(batch.column("kind").to_pylist())}
    salts = np.array([kind_salts[kind] for kind in batch.column("kind").to_pylist()], dtype=np.uint64)
    keys_NR[CONTENT_IN_RULE] = keys_NR[CONTENT_IN_KIND] = np.maximum(contents ^ salts, np.uint64(1))
    for rule, rows in rows_by_rule(config, batch):
        texts = batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))
        minima_RK, counts = sign_texts(
            *text_buffers(texts),
            maps,
            ngram_tokens=rule.ngram_tokens,
            **config.token_options,
        )
        keys_RB = band_keys(minima_RK, rule.num_bands, rule.rows_per_band, rule.salt)
        keys_RB[counts == 0] = 0
        num_ngrams[rows] = counts
        keys_NR[CONTENT_IN_RULE, rows] = np.maximum(contents[rows] ^ np.uint64(rule.salt), np.uint64(1))
        keys_NR[FIRST_BAND : FIRST_BAND + rule.num_bands, rows] = keys_RB.T


def _content_numbers(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    digests: list[str] = batch.column("content_sha256").to_pylist()
    return np.array([int(digest[:_DIGEST_HEX_DIGITS], 16) for digest in digests], dtype=np.uint64)
