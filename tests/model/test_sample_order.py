"""A permutation, of every size, that looks like a shuffle."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.sample_order import permuted


@given(size=st.integers(1, 700), key=st.binary(max_size=64))
@settings(max_examples=60, deadline=None)
def test_every_position_is_hit_exactly_once(size, key):
    assert sorted(permuted(position, size, key) for position in range(size)) == list(range(size))


@given(size=st.integers(1, 2**62), key=st.binary(min_size=8, max_size=16), data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_huge_epoch_costs_nothing_and_stays_inside(size, key, data):
    position = data.draw(st.integers(0, size - 1))
    assert 0 <= permuted(position, size, key) < size


@pytest.mark.parametrize("position", [-1, 5])
def test_a_position_outside_is_an_index_error(position):
    with pytest.raises(IndexError, match="outside 0 to 4"):
        permuted(position, 5, b"key")


def test_two_keys_give_two_orders():
    orders = {tuple(permuted(position, 50, bytes([key])) for position in range(50)) for key in range(20)}
    assert len(orders) == 20


def test_neighbours_and_places_are_unrelated():
    size = 5000
    order = [permuted(position, size, b"a key") for position in range(size)]
    assert abs(correlation(list(range(size)), order)) < 4 / math.sqrt(size)
    assert abs(correlation(order[:-1], order[1:])) < 4 / math.sqrt(size)


def correlation(first, second):
    mean_first, mean_second = sum(first) / len(first), sum(second) / len(second)
    covariance = sum((a - mean_first) * (b - mean_second) for a, b in zip(first, second, strict=True))
    return covariance / math.sqrt(
        sum((a - mean_first) ** 2 for a in first) * sum((b - mean_second) ** 2 for b in second)
    )


def test_the_order_is_the_same_on_every_machine():
    assert [permuted(position, 10, b"key") for position in range(10)] == [5, 8, 0, 3, 2, 7, 9, 4, 1, 6]
