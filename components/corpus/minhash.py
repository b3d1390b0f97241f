"""MinHash signatures and their bands: which files may be near-duplicates, told by a few numbers per file.

The share of permutations under which two sets have the same smallest image estimates their Jaccard similarity; two
files are compared where all permutations of a band agree (Leskovec et al., Mining of Massive Datasets, section 3.4).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.corpus.ngrams import ngram_hashes
from components.kernels import kernel

_CHUNK_BYTES = 2**18
"""Texts are signed by chunks of 256 KiB, so that their n-grams are still in the cache when they are permuted."""
_HIGHEST = np.uint32(0xFFFFFFFF)
_HALF = np.uint64(32)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def permutations(num_permutations: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Factors (odd) and summands, [K] each, of the maps x -> factor * x + summand modulo 2^32, drawn from `seed`."""
    raw = np.random.PCG64(seed).random_raw(2 * num_permutations)
    drawn = (raw >> np.uint64(32)).astype(np.uint32)
    return drawn[:num_permutations] | np.uint32(1), drawn[num_permutations:]


def sign_texts(
    texts: NDArray[np.uint8],
    starts: NDArray[np.int64],
    maps: tuple[NDArray[np.uint32], NDArray[np.uint32]],
    **ngrams: Any,
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Signatures [rows, K] of texts and how many n-grams each has; `ngrams` are the parameters of `ngram_hashes`.

    Takes what `components.tables.text_buffers` and `permutations` return.
    """
    minima_RK = np.empty((len(starts) - 1, len(maps[0])), dtype=np.uint32)
    num_ngrams = np.empty(len(starts) - 1, dtype=np.int64)
    for first, end in _chunks(starts):
        hashes_N, firsts = ngram_hashes(texts, starts[first : end + 1], **ngrams)
        _fill_minima(hashes_N, firsts, *maps, minima_RK[first:end])
        num_ngrams[first:end] = np.diff(firsts)
    return minima_RK, num_ngrams


def _chunks(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    first = 0
    while first < len(starts) - 1:
        full = int(np.searchsorted(starts, starts[first] + _CHUNK_BYTES, side="right")) - 1
        yield first, max(full, first + 1)
        first = max(full, first + 1)


def signatures(
    hashes_N: NDArray[np.uint64],
    firsts: NDArray[np.int64],
    maps: tuple[NDArray[np.uint32], NDArray[np.uint32]],
) -> NDArray[np.uint32]:
    """The smallest image of each text's n-grams under each permutation: [rows, K]; all ones for a text without.

    Takes what `ngram_hashes` and `permutations` return.
    """
    minima_RK = np.empty((len(firsts) - 1, len(maps[0])), dtype=np.uint32)
    _fill_minima(hashes_N, firsts, *maps, minima_RK)
    return minima_RK


def band_keys(minima_RK: NDArray[np.uint32], num_bands: int, rows_per_band: int, salt: int = 0) -> NDArray[np.uint64]:
    """One key per band, [rows, bands], never 0: equal where two signatures agree in all permutations of the band.

    Keys of different bands, or of different salts (64 bits), are unrelated.
    """
    keys_RB = np.empty((len(minima_RK), num_bands), dtype=np.uint64)
    _fill_keys(minima_RK, rows_per_band, np.uint64(salt), keys_RB)
    return keys_RB


@kernel
def _fill_minima(hashes_N: Any, firsts: Any, factors_K: Any, summands_K: Any, minima_RK: Any) -> None:
    """Eight n-grams by turns, so that each minimum is loaded and stored once for all of them."""
    for row in range(len(firsts) - 1):
        minima_K = minima_RK[row]
        minima_K[:] = _HIGHEST
        hashes = hashes_N[firsts[row] : firsts[row + 1]]
        for first in range(0, len(hashes) - 7, 8):
            a = np.uint32(hashes[first] >> _HALF)
            b = np.uint32(hashes[first + 1] >> _HALF)
            c = np.uint32(hashes[first + 2] >> _HALF)
            d = np.uint32(hashes[first + 3] >> _HALF)
            e = np.uint32(hashes[first + 4] >> _HALF)
            f = np.uint32(hashes[first + 5] >> _HALF)
            g = np.uint32(hashes[first + 6] >> _HALF)
            h = np.uint32(hashes[first + 7] >> _HALF)
            for k in range(len(factors_K)):
                factor, summand = factors_K[k], summands_K[k]
                left = min(np.uint32(factor * a + summand), np.uint32(factor * b + summand))
                left = min(left, min(np.uint32(factor * c + summand), np.uint32(factor * d + summand)))
                right = min(np.uint32(factor * e + summand), np.uint32(factor * f + summand))
                right = min(right, min(np.uint32(factor * g + summand), np.uint32(factor * h + summand)))
                minima_K[k] = min(minima_K[k], min(left, right))
        for index in range(len(hashes) & ~7, len(hashes)):
            point = np.uint32(hashes[index] >> _HALF)
            for k in range(len(factors_K)):
                minima_K[k] = min(minima_K[k], np.uint32(factors_K[k] * point + summands_K[k]))


@kernel
def _fill_keys(minima_RK: Any, rows_per_band: Any, salt: Any, keys_RB: Any) -> None:
    for row in range(keys_RB.shape[0]):
        for band in range(keys_RB.shape[1]):
            key = salt + np.uint64(band)
            for k in range(band * rows_per_band, (band + 1) * rows_per_band):
                key = (key ^ np.uint64(minima_RK[row, k])) * _SPREAD
                key ^= key >> _HALF
            keys_RB[row, band] = max(key, np.uint64(1))
