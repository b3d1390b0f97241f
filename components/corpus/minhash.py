"""MinHash, banding and verified star selection: which files are near-duplicates of which kept file.

Signatures only propose. A file is dropped only if its exact Jaccard similarity with a file that is KEPT reaches the
threshold, so nothing is lost through chains of look-alikes, as it is where groups are the connected components of
unverified pairs.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

# Kernels here call none of another file: numba's cache would not see that file change.
_HIGHEST = np.uint32(0xFFFFFFFF)
_HALF = np.uint64(32)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_NO_ROW = -1


def permutations(num_permutations: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Factors (odd) and summands, [K] each, of the maps x -> factor * x + summand modulo 2^32, drawn from `seed`."""
    raw = np.random.PCG64(seed).random_raw(2 * num_permutations)
    drawn = (raw >> np.uint64(32)).astype(np.uint32)
    return drawn[:num_permutations] | np.uint32(1), drawn[num_permutations:]


def signatures(
    hashes_N: NDArray[np.uint64],
    firsts: NDArray[np.int64],
    factors_K: NDArray[np.uint32],
    summands_K: NDArray[np.uint32],
) -> NDArray[np.uint32]:
    """The smallest image of each text's n-grams under each permutation: [rows, K]; all ones for a text without.

    `hashes_N` and `firsts` are what `ngram_hashes` returns.
    """
    minima_RK = np.full((len(firsts) - 1, len(factors_K)), _HIGHEST, dtype=np.uint32)
    _fill_minima(hashes_N, firsts, factors_K, summands_K, minima_RK)
    return minima_RK


def band_keys(minima_RK: NDArray[np.uint32], num_bands: int, rows_per_band: int) -> NDArray[np.uint64]:
    """One key per band, [rows, bands]: equal where two signatures agree in all permutations of the band."""
    keys_RB = np.empty((len(minima_RK), num_bands), dtype=np.uint64)
    _fill_keys(minima_RK, rows_per_band, keys_RB)
    return keys_RB


def shared_buckets(keys_RB: NDArray[np.uint64]) -> tuple[NDArray[np.int64], int]:
    """The number of the bucket that each row shares with others, [rows, bands], and how many buckets there are.

    -1 where a row is alone. Each band is sorted by itself; memory beyond the result is that of one band.
    """
    buckets_RB = np.full(keys_RB.shape, _NO_ROW, dtype=np.int64)
    num_buckets = 0
    for band in range(keys_RB.shape[1]):
        _, bucket_of_row, sizes = np.unique(keys_RB[:, band], return_inverse=True, return_counts=True)
        number_of_bucket = np.where(sizes > 1, np.cumsum(sizes > 1) - 1 + num_buckets, _NO_ROW)
        buckets_RB[:, band] = number_of_bucket[bucket_of_row]
        num_buckets += int(np.count_nonzero(sizes > 1))
    return buckets_RB, num_buckets


def select_stars(
    buckets_RB: NDArray[np.int64],
    num_buckets: int,
    shingles_N: NDArray[np.uint64],
    firsts: NDArray[np.int64],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Go through the rows, most wanted first, and keep each that is no near-duplicate of one kept before.

    `shingles_N` holds each row's distinct n-gram hashes in ascending order, from `firsts` on. Returns for each row
    the kept row that it duplicates (-1: it is kept itself) and their exact Jaccard similarity (0 if kept), and the
    number of pairs compared. Of several the most similar is named, the more wanted among equals. Only rows that
    share a bucket are compared.
    """
    kept_row = np.full(len(buckets_RB), _NO_ROW, dtype=np.int64)
    similarity = np.zeros(len(buckets_RB), dtype=np.float64)
    num_compared = _select(buckets_RB, num_buckets, shingles_N, firsts, threshold, kept_row, similarity)
    return kept_row, similarity, int(num_compared)


@numba.njit(cache=True, nogil=True)
def _fill_minima(hashes_N: Any, firsts: Any, factors_K: Any, summands_K: Any, minima_RK: Any) -> None:
    for row in range(len(firsts) - 1):
        minima_K = minima_RK[row]
        for index in range(firsts[row], firsts[row + 1]):
            point = np.uint32(hashes_N[index] >> _HALF)
            for k in range(len(factors_K)):
                image = np.uint32(factors_K[k] * point + summands_K[k])
                minima_K[k] = min(minima_K[k], image)


@numba.njit(cache=True, nogil=True)
def _fill_keys(minima_RK: Any, rows_per_band: Any, keys_RB: Any) -> None:
    for row in range(keys_RB.shape[0]):
        for band in range(keys_RB.shape[1]):
            key = np.uint64(band)
            for k in range(band * rows_per_band, (band + 1) * rows_per_band):
                key = (key ^ np.uint64(minima_RK[row, k])) * _SPREAD
                key ^= key >> _HALF
            keys_RB[row, band] = key


@numba.njit(cache=True, nogil=True)
def _select(
    buckets_RB: Any, num_buckets: Any, shingles_N: Any, firsts: Any, threshold: Any, kept_row: Any, similarity: Any
) -> Any:
    num_rows, num_bands = buckets_RB.shape
    # The kept rows of a bucket form a linked list, newest first: newest[bucket] -> older[row, band] -> ... -> -1.
    newest = np.full(num_buckets, _NO_ROW, dtype=np.int64)
    older_RB = np.full((num_rows, num_bands), _NO_ROW, dtype=np.int64)
    compared_with = np.full(num_rows, _NO_ROW, dtype=np.int64)
    num_compared = 0
    for row in range(num_rows):
        for band in range(num_bands):
            bucket = buckets_RB[row, band]
            other = newest[bucket] if bucket >= 0 else _NO_ROW
            while other >= 0:
                if compared_with[other] != row:
                    compared_with[other] = row
                    num_compared += 1
                    jaccard = _jaccard(shingles_N, firsts, row, other)
                    closer = jaccard > similarity[row] or (jaccard == similarity[row] and other < kept_row[row])
                    if jaccard >= threshold and closer:
                        kept_row[row] = other
                        similarity[row] = jaccard
                other = older_RB[other, band]
        if kept_row[row] == _NO_ROW:
            for band in range(num_bands):
                bucket = buckets_RB[row, band]
                if bucket >= 0:
                    older_RB[row, band] = newest[bucket]
                    newest[bucket] = row
    return num_compared


@numba.njit(cache=True, nogil=True)
def _jaccard(shingles_N: Any, firsts: Any, left_row: Any, right_row: Any) -> Any:
    left = firsts[left_row]
    left_end = firsts[left_row + 1]
    right = firsts[right_row]
    right_end = firsts[right_row + 1]
    total = left_end - left + right_end - right
    shared = 0
    while left < left_end and right < right_end:
        a = shingles_N[left]
        b = shingles_N[right]
        if a == b:
            shared += 1
        if a <= b:
            left += 1
        if b <= a:
            right += 1
    return shared / (total - shared) if total > 0 else 0.0
