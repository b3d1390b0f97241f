"""The baseline that a network has to beat: which byte follows the last N, counted over all training files.

Interpolated modified Kneser-Ney smoothing (Chen and Goodman, Harvard TR-10-98, section 3), the strongest of
the classic ones, from the uniform distribution up to the longest context. For a context h, and h' without
its oldest byte,

    p(b | h) = (count(h b) - D(count(h b)) + mass(h) * p(b | h')) / count(h),    p(b | nothing) = 1/256

where count(h) is the sum of count(h b) over b, and mass(h) that of D(count(h b)). The longest grams are
counted as they occur; a shorter gram counts the different bytes seen before it. D has one value each for
counts of 1, 2, and 3 or more, estimated for each length from how many grams occur once to four times. A
context never seen passes p(b | h') through. Each file begins after N zero bytes, which are not scored.

A gram is one integer, its last byte lowest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grams = NDArray[np.uint64]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_ORDER = 7
"""An integer of eight bytes holds a context and the byte after it."""
_CHUNK_BYTES = 1 << 23
_FALLBACK_DISCOUNT = 0.5


@dataclass(frozen=True)
class _Table:
    """What followed contexts of one length; grams and contexts ascend."""

    grams: Grams
    counts: Counts
    contexts: Grams
    totals: Floats
    masses: Floats
    discounts: Floats
    """D by count 0, 1, 2, and 3 for all above."""


class ByteModel:
    """Probability of each byte given the `order` bytes before it; the same documents give the same model."""

    def __init__(self, documents: Iterable[bytes], order: int) -> None:
        if not 0 <= order <= MAX_ORDER:
            raise ValueError(f"order {order} is not between 0 and {MAX_ORDER}")
        self.order = order
        self._tables = _tabulate_all(*_count_grams(documents, order), order)

    def code_length_bits(self, document: bytes) -> float:
        """Bits that an ideal coder spends on `document`; 0.0 for an empty one."""
        return float(-np.log2(self._probabilities(_grams_of(document, self.order))).sum())

    def next_byte_probabilities(self, context: bytes) -> Floats:
        """Probability of each of the 256 bytes after `context`, of which the last `order` count."""
        padded = bytes(self.order) + context
        prefix = int.from_bytes(padded[len(padded) - self.order :]) << 8
        return self._probabilities(np.arange(256, dtype=np.uint64) | np.uint64(prefix))

    def _probabilities(self, grams: Grams) -> Floats:
        probabilities = np.full(len(grams), 1 / 256)
        for length, table in enumerate(self._tables):
            tails = grams & _mask(length + 1)
            counts = _look_up(table.grams, table.counts, tails)
            contexts = tails >> np.uint64(8)
            totals = _look_up(table.contexts, table.totals, contexts)
            masses = _look_up(table.contexts, table.masses, contexts)
            kept = counts - table.discounts[np.minimum(counts, 3)]
            mixed = (kept + masses * probabilities) / np.maximum(totals, 1)
            probabilities = np.where(totals > 0, mixed, probabilities)
        return probabilities


def _grams_of(document: bytes, order: int) -> Grams:
    """Each byte of `document` behind the `order` bytes before it."""
    padded = np.frombuffer(bytes(order) + document, np.uint8)
    grams = np.zeros(len(document), np.uint64)
    for offset in range(order + 1):
        grams <<= np.uint64(8)
        grams |= padded[offset : offset + len(document)]
    return grams


def _count_grams(documents: Iterable[bytes], order: int) -> tuple[Grams, Counts]:
    """Every gram of `order` + 1 bytes and how often it occurs; holds one chunk and the distinct grams."""
    grams, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    chunk: list[Grams] = []
    chunk_bytes = 0
    for document in documents:
        chunk.append(_grams_of(document, order))
        chunk_bytes += len(document)
        if chunk_bytes >= _CHUNK_BYTES:
            grams, counts = _add_chunk(grams, counts, chunk)
            chunk, chunk_bytes = [], 0
    return _add_chunk(grams, counts, chunk)


def _add_chunk(grams: Grams, counts: Counts, chunk: list[Grams]) -> tuple[Grams, Counts]:
    new_grams, new_counts = np.unique(np.concatenate([np.empty(0, np.uint64), *chunk]), return_counts=True)
    merged, places = np.unique(np.concatenate([grams, new_grams]), return_inverse=True)
    sums = np.zeros(len(merged), np.int64)
    np.add.at(sums, places, np.concatenate([counts, new_counts]))
    return merged, sums


def _tabulate_all(grams: Grams, counts: Counts, order: int) -> list[_Table]:
    """One table per context length, the shortest first."""
    tables: list[_Table] = []
    for length in range(order, -1, -1):
        tables.append(_tabulate(grams, counts))
        grams, counts = np.unique(grams & _mask(length), return_counts=True)
    return tables[::-1]


def _tabulate(grams: Grams, counts: Counts) -> _Table:
    contexts, firsts = np.unique(grams >> np.uint64(8), return_index=True)
    discounts = _discounts(counts)
    if len(grams) == 0:
        return _Table(grams, counts, contexts, np.empty(0), np.empty(0), discounts)
    totals = np.add.reduceat(counts, firsts).astype(np.float64)
    masses = np.add.reduceat(discounts[np.minimum(counts, 3)], firsts)
    return _Table(grams, counts, contexts, totals, masses, discounts)


def _discounts(counts: Counts) -> Floats:
    """D by count: Chen and Goodman's estimate, or 0.5 where the text is too short or too regular for it."""
    once, twice, thrice, four_times = (int(np.count_nonzero(counts == times)) for times in (1, 2, 3, 4))
    if min(once, twice, thrice, four_times) > 0:
        share = once / (once + 2 * twice)
        estimate = np.array(
            [1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four_times / thrice]
        )
        if (estimate > 0).all() and (estimate < (1, 2, 3)).all():
            return np.concatenate([[0.0], estimate])
    return np.array([0.0, _FALLBACK_DISCOUNT, _FALLBACK_DISCOUNT, _FALLBACK_DISCOUNT])


def _mask(num_bytes: int) -> np.uint64:
    return np.uint64((1 << 8 * num_bytes) - 1)


def _look_up(keys: Grams, values: NDArray[Any], wanted: Grams) -> NDArray[Any]:
    """The value at each wanted key, 0 where there is none."""
    if len(keys) == 0:
        return np.zeros(len(wanted), values.dtype)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], values.dtype.type(0))
