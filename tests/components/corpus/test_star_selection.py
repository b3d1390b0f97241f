"""The verified star selection against brute force. About 2 s, most of it compiling once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.star_selection import Sets, fill_buckets, select_stars


def _select(files, buckets_of_sets, num_buckets):
    """`files`: for each its sets as (threshold, members); the buckets are given set by set."""
    sets = [(owner, *each) for owner, of_file in enumerate(files) for each in of_file]
    members = [sorted((value * 0x9E3779B97F4A7C15 + 1) % 2**64 for value in members) for *_, members in sets]
    sizes = np.array([len(each) for each in members], dtype=np.int64)
    num_bands = len(buckets_of_sets[0]) if sets else 1
    buckets = np.array(buckets_of_sets, dtype=np.int32).reshape(len(sets), num_bands)
    fields = Sets(
        owners_S=np.array([owner for owner, *_ in sets], dtype=np.int64),
        thresholds_S=np.array([threshold for _, threshold, _ in sets], dtype=np.float64),
        firsts_S=np.cumsum(sizes) - sizes,
        sizes_S=sizes,
        members_N=np.array([value for each in members for value in each], dtype=np.uint64),
    )
    return select_stars(fields, len(files), buckets, num_buckets, np.empty_like(buckets))


def _jaccard(left, right):
    return len(left & right) / len(left | right)


some_members = st.frozensets(st.integers(0, 12), min_size=1, max_size=10)


@settings(deadline=None)  # the first call compiles
@given(sets=st.lists(some_members, max_size=14), threshold=st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_a_file_is_dropped_exactly_if_it_is_near_a_file_kept_before(sets, threshold):
    """All sets share one bucket, so the selection must equal the greedy one by brute force."""
    stars = _select([[(threshold, members)] for members in sets], [[0]] * len(sets), 1)
    kept: list[int] = []
    for file, members in enumerate(sets):
        near = [other for other in kept if _jaccard(members, sets[other]) >= threshold]
        if near:
            nearest = max(near, key=lambda other: (_jaccard(members, sets[other]), -other))
            assert stars.kept[file] == nearest
            assert stars.similarity[file] == _jaccard(members, sets[nearest])
            assert stars.threshold[file] == threshold
        else:
            assert (stars.kept[file], stars.similarity[file], stars.threshold[file]) == (-1, 0, 0)
            kept.append(file)


@settings(deadline=None)
@given(
    files=st.lists(st.lists(st.tuples(st.sampled_from([0.4, 0.8]), some_members), max_size=3), max_size=8),
)
def test_a_file_of_several_sets_is_dropped_by_any_of_them(files):
    """One bucket per threshold, as each rule has its own: sets of different rules never meet."""
    buckets = [[0 if threshold == 0.4 else 1] for sets in files for threshold, _ in sets]
    stars = _select(files, buckets, 2)
    kept: list[int] = []
    for file, sets in enumerate(files):
        pairs = [
            (_jaccard(members, others), -other)
            for threshold, members in sets
            for other in kept
            for its_threshold, others in files[other]
            if its_threshold == threshold and _jaccard(members, others) >= threshold
        ]
        if pairs:
            similarity, other = max(pairs)
            assert (stars.kept[file], stars.similarity[file]) == (-other, similarity)
        else:
            assert stars.kept[file] == -1
            kept.append(file)


def test_sets_without_a_common_bucket_are_never_compared():
    same = [[(0.7, {1, 2, 3})]] * 3
    stars = _select(same, [[0, -1], [0, 1], [-1, 1]], 2)
    assert stars.kept.tolist() == [-1, 0, -1]
    assert stars.compared_pairs == 1


def test_sets_too_different_in_size_are_not_compared():
    stars = _select([[(0.7, set(range(10)))], [(0.7, set(range(6)))], [(0.7, set(range(7)))]], [[0]] * 3, 1)
    assert stars.kept.tolist() == [-1, -1, 1]
    assert stars.compared_pairs == 2  # 10 with 6 is not one of them


def test_nothing_is_selected_from_nothing():
    stars = _select([], [], 0)
    assert stars.kept.tolist() == []
    assert stars.compared_pairs == 0


@settings(deadline=None)
@given(keys=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=1, max_size=8))
def test_sets_share_a_bucket_exactly_where_they_share_a_key(keys):
    keys_SB = np.array(keys, dtype=np.uint64)
    buckets = np.empty(keys_SB.shape, dtype=np.int32)
    num_buckets = fill_buckets(keys_SB.T, buckets)
    assert set(buckets.flatten().tolist()) - {-1} == set(range(num_buckets))
    for band in range(2):
        for left in range(len(keys)):
            company = [right for right in range(len(keys)) if right != left and keys[right][band] == keys[left][band]]
            if keys[left][band] == 0 or not company:
                assert buckets[left, band] == -1
            else:
                assert all(buckets[left, band] == buckets[right, band] >= 0 for right in company)
