"""Every prefix of the run holds the shares; which source a sample is of depends on its number alone."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.source_blend import BlendError, SourceBlend, weights_of

BLOCK = 1024
names = st.text("abcdefgh", min_size=1, max_size=3)
weights = st.dictionaries(names, st.floats(1e-6, 1e6) | st.integers(1, 10**12), min_size=1, max_size=12)


def shares_of(blend_weights):
    total = sum(map(Fraction, blend_weights.values()))
    return {source: Fraction(weight) / total for source, weight in blend_weights.items()}


@given(weights=weights)
@settings(max_examples=40, deadline=None)
def test_each_sample_is_the_next_of_its_source(weights):
    blend = SourceBlend(weights)
    drawn = Counter()
    for number in range(700):
        source, before = blend.locate(number)
        assert before == drawn[source]
        drawn[source] += 1
    assert {source: blend.count(source, 700) for source in weights} == {source: drawn[source] for source in weights}


@given(weights=weights, block=st.integers(0, 10**12))
@settings(max_examples=60, deadline=None)
def test_a_block_of_1024_samples_holds_every_share_to_less_than_a_sample(weights, block):
    blend = SourceBlend(weights)
    for source, share in shares_of(weights).items():
        held = blend.count(source, (block + 1) * BLOCK) - blend.count(source, block * BLOCK)
        assert abs(held - BLOCK * share) < 1


@given(weights=weights, samples=st.integers(0, 5000) | st.integers(0, 2**63))
@settings(max_examples=200, deadline=None)
def test_any_prefix_holds_every_share_to_less_than_its_binary_ones(weights, samples):
    blend = SourceBlend(weights)
    counts = {source: blend.count(source, samples) for source in weights}
    assert sum(counts.values()) == samples
    for source, share in shares_of(weights).items():
        # What 2^-64 of the line, the least that is told apart, makes of so many samples is allowed on top.
        allowed = samples.bit_count() + Fraction(samples, 2**63)
        assert abs(counts[source] - samples * share) <= allowed


def test_a_source_with_one_part_in_a_million_is_drawn_as_often_as_that():
    blend = SourceBlend({"java": 999_999, "augeas": 1})
    assert 3 <= blend.count("augeas", 4_000_000) <= 5


@given(weights=weights, factor=st.integers(1, 1000))
@settings(max_examples=30, deadline=None)
def test_only_ratios_count(weights, factor):
    scaled = SourceBlend({source: Fraction(weight) * factor for source, weight in weights.items()})
    assert [scaled.locate(number) for number in range(50)] == [SourceBlend(weights).locate(n) for n in range(50)]


def test_neighbouring_samples_are_mixed():
    blend = SourceBlend({"a": 3, "b": 1})
    drawn = "".join(blend.locate(number)[0] for number in range(4000))
    assert all(drawn[start : start + 4].count("b") == 1 for start in range(0, 4000, 4))


def test_the_order_is_the_same_on_every_machine():
    blend = SourceBlend({"python": 0.5, "c": 0.3, "issue": 0.2})
    assert [blend.locate(number)[0] for number in range(10)] == [
        *("c", "python", "c", "python", "c", "python", "issue", "python", "c", "python")
    ]
    assert blend.locate(10**15) == ("c", 300_000_000_000_007)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_a_sample_outside_is_an_index_error(number):
    with pytest.raises(IndexError, match="outside 0 to 2"):
        SourceBlend({"a": 1}).locate(number)


def test_an_empty_blend_weighs_every_source_by_its_windows():
    assert weights_of({}, {"python": 30, "c": 10, "tiny": 0}) == {"python": 30, "c": 10}


def test_a_weight_of_zero_leaves_a_source_out():
    assert weights_of({"python": 0.5, "c": 0, "tiny": 0}, {"python": 30, "c": 10, "tiny": 0}) == {"python": 0.5}


@pytest.mark.parametrize(
    ("blend", "said"),
    [
        (
            {"python": 1, "c": 1, "tiny": 0, "java": 1},
            "names 'java', but the sources of split 'train' are c, python, tiny",
        ),
        ({"python": 1, "tiny": 0}, "no weight for source 'c'; give it one"),
        ({"python": 1, "c": 1, "tiny": 2}, "weighs source 'tiny', which does not fill one window"),
    ],
)
def test_a_blend_that_does_not_fit_the_sources_is_refused(blend, said):
    with pytest.raises(BlendError, match=said):
        weights_of(blend, {"python": 30, "c": 10, "tiny": 0})
