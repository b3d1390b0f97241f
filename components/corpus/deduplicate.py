"""Keep one of each group of equal or nearly equal files, and say of every other which kept file stands for it.

Equal: the same content digest. Nearly equal: the exact Jaccard similarity of the sets of token n-grams reaches the
threshold; MinHash bands (`minhash.py`) only propose pairs. A file with fewer tokens than one n-gram has no set, so
only an equal file can replace it (BigCode's first version drops all such files but one).

Which file is kept does not depend on how rows are spread over shards: the one of more stars (unknown counts as
none), then of the shallower path, then of the alphabetically first path, repository and source. Versions of one
path carry no date; a table lists them oldest first, so the later row, the newer version, is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.corpus.config import DeduplicateConfig
from components.corpus.minhash import band_keys, permutations, select_stars, shared_buckets, signatures
from components.corpus.ngrams import ngram_hashes
from components.section import Summary
from components.tables import FilesCounts, FilesWriter, count_rows, dropped_rows, read_files, text_buffers
from model.reporting import current_sink


class DeduplicateSummary(Summary):
    """What was compared and what was dropped."""

    files: FilesCounts
    distinct_contents: int
    """Contents left after exact deduplication."""
    short_contents: int
    """Distinct contents with fewer tokens than one n-gram; they are never near-duplicates."""
    compared_pairs: int
    """Pairs of distinct contents whose exact Jaccard similarity was computed."""


@dataclass(frozen=True)
class Duplicate:
    """Why a row is not kept: the row that is kept for it and how similar the two are."""

    kept_row: int
    jaccard: float
    rule: str


@dataclass(frozen=True)
class _Rows:
    """What is known of each row of the input without its content."""

    file_ids: list[str]
    digests: list[str]
    preferences: list[tuple[Any, ...]]
    """The smallest of several is kept; no two are equal."""


def run(config: DeduplicateConfig, *, redacted_files: Path, out: Path) -> DeduplicateSummary:
    """Write unique_files; dropped rows name the kept file_id (rules exact_duplicate and near_duplicate)."""
    rows = _read_rows(redacted_files)
    row_of_digest = _preferred_rows(rows)
    ranked = np.array(list(row_of_digest.values()), dtype=np.int64)
    keys_RB, is_short = _read_band_keys(redacted_files, ranked, len(rows.digests), config)
    near, compared_pairs = _near_duplicates(redacted_files, ranked, keys_RB, is_short, config)
    duplicates = _all_duplicates(rows, row_of_digest, near)
    with FilesWriter(out) as writer:
        _write(redacted_files, rows.file_ids, duplicates, config, writer)
    return DeduplicateSummary(
        files=writer.counts,
        distinct_contents=len(ranked),
        short_contents=int(np.count_nonzero(is_short)),
        compared_pairs=compared_pairs,
    )


def _read_rows(files: Path) -> _Rows:
    rows = _Rows([], [], [])
    for batch in read_files(files, ["file_id", "content_sha256", "source", "repository", "path", "stars"]):
        columns = batch.to_pydict()
        rows.file_ids.extend(columns["file_id"])
        rows.digests.extend(columns["content_sha256"])
        places = zip(columns["stars"], columns["path"], columns["repository"], columns["source"], strict=True)
        for stars, path, repository, source in places:
            row = len(rows.preferences)
            rows.preferences.append((-(stars or 0), path.count("/"), path, repository, source, -row))
    return rows


def _preferred_rows(rows: _Rows) -> dict[str, int]:
    """The row that stands for each content digest, most wanted first."""
    row_of_digest: dict[str, int] = {}
    for row in sorted(range(len(rows.digests)), key=rows.preferences.__getitem__):
        row_of_digest.setdefault(rows.digests[row], row)
    return row_of_digest


def _ngrams_of(files: Path, chosen: Any, num_rows: int, ngram_tokens: int) -> Iterator[tuple[list[int], Any, Any]]:
    """Read the chosen rows; yield their places in `chosen`, their n-gram hashes and where each row's begin."""
    place_of_row = np.full(num_rows, -1, dtype=np.int64)
    place_of_row[chosen] = np.arange(len(chosen))
    done = 0
    for batch in read_files(files, ["content"]):
        places = place_of_row[done : done + batch.num_rows]
        indices = np.flatnonzero(places >= 0)
        hashes_N, firsts = ngram_hashes(*text_buffers(batch.take(pa.array(indices))), ngram_tokens)
        yield places[indices].tolist(), hashes_N, firsts
        done += batch.num_rows
        current_sink().progress(done, num_rows, "files")


def _read_band_keys(files: Path, ranked: Any, num_rows: int, config: DeduplicateConfig) -> tuple[Any, Any]:
    """Band keys of the ranked rows, uint64 [R, bands], and which have fewer tokens than one n-gram, bool [R]."""
    factors_K, summands_K = permutations(config.num_permutations, config.seed)
    keys_RB = np.zeros((len(ranked), config.num_bands), dtype=np.uint64)
    is_short = np.zeros(len(ranked), dtype=np.bool_)
    for places, hashes_N, firsts in _ngrams_of(files, ranked, num_rows, config.ngram_tokens):
        minima_RK = signatures(hashes_N, firsts, factors_K, summands_K)
        keys_RB[places] = band_keys(minima_RK, config.num_bands, config.rows_per_band)
        is_short[places] = np.diff(firsts) == 0
    return keys_RB, is_short


def _near_duplicates(
    files: Path, ranked: Any, keys_RB: Any, is_short: Any, config: DeduplicateConfig
) -> tuple[dict[int, Duplicate], int]:
    """The near-duplicates among the ranked rows, by row, and the number of pairs compared."""
    long = np.flatnonzero(~is_short)
    buckets_RB, num_buckets = shared_buckets(keys_RB[long])
    has_company = (buckets_RB >= 0).any(axis=1)
    candidates = ranked[long[has_company]]
    shingles_N, firsts = _read_shingle_sets(files, candidates, config.ngram_tokens)
    kept, jaccard, compared_pairs = select_stars(
        buckets_RB[has_company], num_buckets, shingles_N, firsts, config.jaccard_threshold
    )
    near = {
        int(candidates[index]): Duplicate(int(candidates[kept[index]]), float(jaccard[index]), "near_duplicate")
        for index in np.flatnonzero(kept >= 0)
    }
    return near, compared_pairs


def _read_shingle_sets(files: Path, candidates: Any, ngram_tokens: int) -> tuple[Any, Any]:
    """The distinct n-gram hashes of each candidate, ascending, end to end, and where each begins."""
    sets: list[Any] = [np.empty(0, dtype=np.uint64)] * len(candidates)
    if len(candidates) > 0:
        for places, hashes_N, firsts in _ngrams_of(files, candidates, count_rows(files), ngram_tokens):
            for index, place in enumerate(places):
                sets[place] = np.unique(hashes_N[firsts[index] : firsts[index + 1]])
    lengths = [len(shingles) for shingles in sets]
    firsts_of_sets = np.cumsum([0, *lengths], dtype=np.int64)
    return np.concatenate([np.empty(0, dtype=np.uint64), *sets]), firsts_of_sets


def _all_duplicates(rows: _Rows, row_of_digest: dict[str, int], near: dict[int, Duplicate]) -> dict[int, Duplicate]:
    """Add the exact duplicates; one whose like was itself dropped shares its reason, so every kept_row is kept."""
    duplicates: dict[int, Duplicate] = {}
    for row, digest in enumerate(rows.digests):
        like = row_of_digest[digest]
        if like in near:
            duplicates[row] = near[like]
        elif like != row:
            duplicates[row] = Duplicate(like, 1.0, "exact_duplicate")
    return duplicates


def _write(
    files: Path, file_ids: list[str], duplicates: dict[int, Duplicate], config: DeduplicateConfig, writer: FilesWriter
) -> None:
    first = 0
    for batch in read_files(files):
        dropped = [index for index in range(batch.num_rows) if first + index in duplicates]
        reasons = [duplicates[first + index] for index in dropped]
        is_kept = np.ones(batch.num_rows, dtype=np.bool_)
        is_kept[dropped] = False
        writer.keep(batch.filter(pa.array(is_kept)))
        writer.drop(
            dropped_rows(
                batch,
                dropped,
                rules=[reason.rule for reason in reasons],
                values=[f"{reason.jaccard:.4f}" for reason in reasons],
                thresholds=[_threshold(reason.rule, config) for reason in reasons],
                details=[f"kept {file_ids[reason.kept_row]}, Jaccard {reason.jaccard:.4f}" for reason in reasons],
            )
        )
        first += batch.num_rows


def _threshold(rule: str, config: DeduplicateConfig) -> str:
    return f"{config.jaccard_threshold:g}" if rule == "near_duplicate" else "equal content"
