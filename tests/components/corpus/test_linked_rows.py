"""Meeting by key and hanging together, against brute force. About 3 s, most of it compiling once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus import linked_rows
from components.corpus.key_join import KeyRange, join_range, key_ranges
from components.corpus.linked_rows import link_rows
from components.corpus.signed_shards import CONTENT_IN_KIND, CONTENT_IN_RULE, Shard, SignedShard
from components.pieces import save_array

NUM_KEYS = 4


def _signed(place, keys_of_rows, cuts, num_ngrams):
    """Shards of these rows, cut at these places, as `sign_shard` leaves them."""
    bounds = [0, *sorted(cut % (len(keys_of_rows) + 1) for cut in cuts), len(keys_of_rows)]
    shards = []
    for first, end in pairwise(bounds):
        piece = place / f"signed-{len(shards)}"
        piece.mkdir()
        keys_NR = np.array(keys_of_rows[first:end], dtype=np.uint64).reshape(end - first, NUM_KEYS).T
        order = np.argsort(keys_NR, axis=1, kind="stable")
        save_array(piece / "keys", np.take_along_axis(keys_NR, order, axis=1))
        save_array(piece / "rows", order.astype(np.uint32))
        save_array(piece / "ngrams", np.array(num_ngrams[first:end], dtype=np.int64))
        shards.append(SignedShard(Shard(Path("unread"), first, end - first), piece, NUM_KEYS))
    return shards


def _groups(keys_of_rows):
    """The first row of each row's group, -1 where it is alone. What is equal in a rule is so in the kind."""
    groups = list(range(len(keys_of_rows)))
    changed = True
    while changed:
        changed = False
        for left, keys in enumerate(keys_of_rows):
            for right, others in enumerate(keys_of_rows):
                meet = any(a == b != 0 for a, b in zip(keys[CONTENT_IN_KIND:], others[CONTENT_IN_KIND:], strict=True))
                if meet and groups[left] != groups[right]:
                    groups[left] = groups[right] = min(groups[left], groups[right])
                    changed = True
    return [group if groups.count(group) > 1 else -1 for group in groups]


some_keys = st.sampled_from([0, 1, 2, 2**63 - 1, 2**63, 2**64 - 1])
some_rows = st.lists(st.lists(some_keys, min_size=NUM_KEYS, max_size=NUM_KEYS), max_size=12)
some_cuts = st.lists(st.integers(0, 12), max_size=4)


@settings(deadline=None)  # the first call compiles
@given(keys_of_rows=some_rows, cuts=some_cuts, num_parts=st.integers(1, 5), limit=st.sampled_from([1, 40, 2**24]))
def test_groups_are_those_of_brute_force_however_the_work_is_cut(
    tmp_path_factory, keys_of_rows, cuts, num_parts, limit
):
    place = tmp_path_factory.mktemp("join")
    num_ngrams = [7 * (index % 3) for index in range(len(keys_of_rows))]
    shards = _signed(place, keys_of_rows, cuts, num_ngrams)
    links = [join_range(KeyRange(part, num_parts), shards=shards, place=place) for part in range(num_parts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linked_rows, "_WORK_PER_SEGMENT", limit)
        linked = link_rows(links, shards, place)
    expected = _groups(keys_of_rows)
    everything = slice(0, len(keys_of_rows))
    assert linked.groups(everything).tolist() == expected
    segments = linked.segments()
    named = sorted(set(expected) - {-1})
    assert [group for segment in segments for group in named if group in segment] == named

    contents = [keys[CONTENT_IN_RULE] for keys in keys_of_rows]
    is_first = [content == 0 or content not in contents[:row] for row, content in enumerate(contents)]
    in_group = [sum(is_first[row] for row, group in enumerate(expected) if group == own) for own in expected]
    assert linked.is_compared(everything).tolist() == [
        is_first[row] and expected[row] >= 0 and in_group[row] > 1 and num_ngrams[row] > 0
        for row in range(len(keys_of_rows))
    ]
    assert linked.num_short == sum(is_first[row] and num_ngrams[row] == 0 for row in range(len(keys_of_rows)))


@settings(deadline=None)
@given(keys_of_rows=some_rows, cuts=some_cuts, num_parts=st.integers(1, 5))
def test_every_row_but_the_first_of_a_key_is_paired_with_the_first(tmp_path_factory, keys_of_rows, cuts, num_parts):
    place = tmp_path_factory.mktemp("join")
    shards = _signed(place, keys_of_rows, cuts, [1] * len(keys_of_rows))
    links = [join_range(KeyRange(part, num_parts), shards=shards, place=place) for part in range(num_parts)]
    pairs, copies, num_repeated = [], [], 0
    for number in range(NUM_KEYS):
        keys = [row[number] for row in keys_of_rows]
        of_number = [[row, keys.index(key)] for row, key in enumerate(keys) if key != 0 and keys.index(key) != row]
        if number == CONTENT_IN_RULE:
            copies = [row for row, _ in of_number]
        else:
            pairs += of_number
        if number == CONTENT_IN_KIND:
            num_repeated = len(of_number)
    assert sorted(pair for of_range in links for pair in of_range.pairs().tolist()) == sorted(pairs)
    assert sorted(row for of_range in links for row in of_range.copies().tolist()) == copies
    assert sum(of_range.num_repeated for of_range in links) == num_repeated


def test_a_range_of_keys_is_small_enough_to_be_joined_in_memory():
    assert key_ranges(0) == key_ranges(1) == [KeyRange(0, 1)]
    assert len(key_ranges(10**9)) == 477
