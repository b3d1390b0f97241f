"""Verified star selection: a file goes only if its exact Jaccard similarity with a file that stays is high enough.

So nothing is lost through chains of look-alikes, as it is where groups are the connected components of pairs that
only their signatures propose: there a third of what goes is unlike what stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.kernels import kernel

_NONE = -1


@dataclass(frozen=True)
class Sets:
    """Sets of numbers. Each belongs to a file; those of one file follow each other, the most wanted file first."""

    owners_S: NDArray[np.int64]
    """The file of each set; ascending."""
    thresholds_S: NDArray[np.float64]
    """The lowest similarity at which a file is dropped for another, by this set."""
    firsts_S: NDArray[np.int64]
    """Where each set begins in `members_N`."""
    sizes_S: NDArray[np.int64]
    members_N: NDArray[np.uint64]
    """Each set's members in ascending order."""


@dataclass(frozen=True)
class Stars:
    """What came of each file."""

    kept: NDArray[np.int64]
    """The file that stays for it; -1 for one that stays itself."""
    similarity: NDArray[np.float64]
    """Their exact Jaccard similarity; 0 for one that stays."""
    threshold: NDArray[np.float64]
    """What the similarity had to reach; 0 for one that stays."""
    compared_pairs: int


def fill_buckets(keys_of_bands: Iterable[NDArray[np.uint64]], buckets_SB: NDArray[np.int32]) -> int:
    """Number the buckets that each set shares with others, -1 where it is alone; returns how many buckets there are.

    Takes the keys of one band at a time, 0 for none; memory beyond the result is that of one band.
    """
    num_buckets = 0
    for band, keys_S in enumerate(keys_of_bands):
        keys, bucket_of_set, sizes = np.unique(keys_S, return_inverse=True, return_counts=True)
        is_shared = (sizes > 1) & (keys != 0)
        numbers = np.where(is_shared, np.cumsum(is_shared) - 1 + num_buckets, _NONE)
        buckets_SB[:, band] = numbers[bucket_of_set]
        num_buckets += int(np.count_nonzero(is_shared))
    return num_buckets


def select_stars(sets: Sets, num_files: int, buckets_SB: NDArray[np.int32], num_buckets: int, older_SB: Any) -> Stars:
    """Go through the files, most wanted first, and keep each that is no near-duplicate of one kept before.

    Of several the most similar is named, the more wanted among equals. Only sets that share a bucket are compared.
    `older_SB` is room of the shape and type of `buckets_SB` to work in.
    """
    kept = np.full(num_files, _NONE, dtype=np.int64)
    similarity, threshold = np.zeros(num_files, dtype=np.float64), np.zeros(num_files, dtype=np.float64)
    newest = np.full(num_buckets, _NONE, dtype=np.int32)
    fields = (sets.owners_S, sets.thresholds_S, sets.firsts_S, sets.sizes_S, sets.members_N)
    compared_pairs = _select(*fields, buckets_SB, newest, older_SB, kept, similarity, threshold)
    return Stars(kept, similarity, threshold, int(compared_pairs))


@kernel
def _select(
    owners_S: Any,
    thresholds_S: Any,
    firsts_S: Any,
    sizes_S: Any,
    members_N: Any,
    buckets_SB: Any,
    newest: Any,
    older_SB: Any,
    kept: Any,
    similarity: Any,
    threshold: Any,
) -> Any:
    """The kept sets of a bucket are a linked list, newest first: newest[bucket] -> older[set, band] -> ... -> -1."""
    num_sets, num_bands = buckets_SB.shape
    compared_with = np.full(num_sets, _NONE, dtype=np.int64)
    compared_pairs = 0
    first = 0
    while first < num_sets:
        owner, end = owners_S[first], first
        while end < num_sets and owners_S[end] == owner:
            for band in range(num_bands):
                other = newest[buckets_SB[end, band]] if buckets_SB[end, band] >= 0 else _NONE
                while other >= 0:
                    ratio = min(sizes_S[end], sizes_S[other]) / max(sizes_S[end], sizes_S[other])
                    if ratio >= thresholds_S[end] and compared_with[other] != end:
                        compared_with[other] = end
                        compared_pairs += 1
                        jaccard = _jaccard(members_N, firsts_S[end], sizes_S[end], firsts_S[other], sizes_S[other])
                        is_wanted = jaccard == similarity[owner] and owners_S[other] < kept[owner]
                        if jaccard >= thresholds_S[end] and (jaccard > similarity[owner] or is_wanted):
                            kept[owner], similarity[owner] = owners_S[other], jaccard
                            threshold[owner] = thresholds_S[end]
                    other = older_SB[other, band]
            end += 1
        for number in range(first, end if kept[owner] == _NONE else first):
            for band in range(num_bands):
                bucket = buckets_SB[number, band]
                if bucket >= 0:
                    older_SB[number, band] = newest[bucket]
                    newest[bucket] = number
        first = end
    return compared_pairs


@kernel
def _jaccard(members_N: Any, left_first: Any, left_size: Any, right_first: Any, right_size: Any) -> Any:
    """The Jaccard similarity of two ascending sets, not both empty."""
    left, right = members_N[left_first : left_first + left_size], members_N[right_first : right_first + right_size]
    shared = left_done = right_done = 0
    while left_done < left_size and right_done < right_size:
        a, b = left[left_done], right[right_done]
        shared += a == b
        left_done += a <= b
        right_done += b <= a
    return shared / (left_size + right_size - shared)
