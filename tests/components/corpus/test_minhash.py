"""Signatures, bands and the verified star selection. About 3 s, most of it compiling once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.minhash import band_keys, permutations, select_stars, shared_buckets, signatures


def _sets(sets):
    """Sets of small numbers as the kernels take them: spread to 64-bit hashes, ascending, end to end."""
    spread = [sorted((value * 0x9E3779B97F4A7C15 + 1) % 2**64 for value in members) for members in sets]
    firsts = np.cumsum([0, *(len(members) for members in spread)], dtype=np.int64)
    return np.array([value for members in spread for value in members], dtype=np.uint64), firsts


def _jaccard(left, right):
    return len(left & right) / len(left | right) if left | right else 0.0


def test_the_share_of_equal_minima_estimates_jaccard():
    left, right = set(range(900)), set(range(300, 1200))
    hashes, firsts = _sets([left, right])
    minima = signatures(hashes, firsts, *permutations(1024, seed=42))
    # Standard deviation sqrt(0.5 * 0.5 / 1024) = 0.016.
    assert abs(np.mean(minima[0] == minima[1]) - _jaccard(left, right)) < 0.06


def test_permutations_are_maps_one_to_one_that_only_the_seed_decides():
    factors, summands = permutations(256, seed=42)
    assert (factors % 2 == 1).all()
    assert len(set(factors.tolist())) == 256
    again = permutations(256, seed=42)
    assert (factors == again[0]).all()
    assert (summands == again[1]).all()
    assert (factors != permutations(256, seed=43)[0]).any()


def test_rows_share_a_bucket_exactly_where_a_whole_band_agrees():
    minima = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [7, 2, 3, 4], [0, 0, 0, 0]], dtype=np.uint32)
    buckets, num_buckets = shared_buckets(band_keys(minima, num_bands=2, rows_per_band=2))
    assert num_buckets == 2
    assert (buckets >= 0).tolist() == [[True, True], [True, False], [False, True], [False, False]]
    assert buckets[0, 0] == buckets[1, 0] != buckets[0, 1] == buckets[2, 1]


@settings(deadline=None)  # the first call compiles
@given(
    sets=st.lists(st.frozensets(st.integers(0, 12), max_size=10), max_size=14),
    threshold=st.sampled_from([0.3, 0.5, 0.7, 1.0]),
)
def test_a_row_is_dropped_exactly_if_it_is_near_a_row_kept_before(sets, threshold):
    """All rows share one bucket, so the selection must equal the greedy one by brute force."""
    hashes, firsts = _sets(sets)
    buckets = np.zeros((len(sets), 1), dtype=np.int64)
    kept_row, similarity, _ = select_stars(buckets, 1, hashes, firsts, threshold)
    kept: list[int] = []
    for row, members in enumerate(sets):
        near = [other for other in kept if _jaccard(members, sets[other]) >= threshold]
        if near:
            nearest = max(near, key=lambda other: (_jaccard(members, sets[other]), -other))
            assert kept_row[row] == nearest
            assert similarity[row] == _jaccard(members, sets[nearest])
        else:
            assert kept_row[row] == -1
            kept.append(row)


def test_rows_without_a_common_bucket_are_never_compared():
    hashes, firsts = _sets([{1, 2, 3}, {1, 2, 3}, {1, 2, 3}])
    buckets = np.array([[0, -1], [0, 1], [-1, 1]], dtype=np.int64)
    kept_row, _, compared = select_stars(buckets, 2, hashes, firsts, 0.7)
    assert kept_row.tolist() == [-1, 0, -1]
    assert compared == 1
