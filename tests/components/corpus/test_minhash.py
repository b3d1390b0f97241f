"""Signatures and bands against plain numpy. About 3 s, most of it compiling once."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus.minhash import band_keys, permutations, sign_texts, signatures
from components.corpus.ngrams import ngram_hashes
from components.tables import text_buffers


def _sets(sets):
    """Sets of small numbers as the kernels take them: spread to 64-bit hashes, end to end."""
    spread = [sorted((value * 0x9E3779B97F4A7C15 + 1) % 2**64 for value in members) for members in sets]
    firsts = np.cumsum([0, *(len(members) for members in spread)], dtype=np.int64)
    return np.array([value for members in spread for value in members], dtype=np.uint64), firsts


def _buffers(texts):
    return text_buffers(pa.record_batch([pa.array(texts, pa.large_string())], names=["content"]))


def test_the_share_of_equal_minima_estimates_jaccard():
    left, right = set(range(900)), set(range(300, 1200))
    minima = signatures(*_sets([left, right]), permutations(1024, seed=42))
    # Standard deviation sqrt(0.5 * 0.5 / 1024) = 0.016.
    assert abs(np.mean(minima[0] == minima[1]) - len(left & right) / len(left | right)) < 0.06


def test_permutations_are_maps_one_to_one_that_only_the_seed_decides():
    factors, summands = permutations(256, seed=42)
    assert (factors % 2 == 1).all()
    assert len(set(factors.tolist())) == 256
    again = permutations(256, seed=42)
    assert (factors == again[0]).all()
    assert (summands == again[1]).all()
    assert (factors != permutations(256, seed=43)[0]).any()


@settings(deadline=None)  # the first call compiles
@given(
    sets=st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=20), max_size=4),
    num_permutations=st.sampled_from([16, 17, 100]),
)
def test_products_of_32_bits_do_not_overflow_unseen_but_are_meant_modulo_two_to_the_32(sets, num_permutations):
    """BigCode's second version takes an outer product in uint32 and a prime modulus: what it computes is another map.

    Here the maps are odd factors modulo 2^32, one to one as they stand.
    """
    factors, summands = maps = permutations(num_permutations, seed=7)
    hashes = np.array([value for members in sets for value in members], dtype=np.uint64)
    minima = signatures(hashes, np.cumsum([0, *map(len, sets)], dtype=np.int64), maps)
    for members, found in zip(sets, minima.tolist(), strict=True):
        points = [value >> 32 for value in members]
        images = [
            min(((factor * point + summand) % 2**32 for point in points), default=2**32 - 1)
            for factor, summand in zip(factors.tolist(), summands.tolist(), strict=True)
        ]
        assert found == images


@settings(deadline=None, max_examples=20)
@given(words=st.lists(st.integers(1, 90_000), max_size=12))
def test_texts_are_signed_alike_whatever_is_signed_with_them(words):
    """Texts are taken by chunks of 256 KiB: several small ones or one large one."""
    texts = [" ".join(f"w{number * 7919 % 1000}" for number in range(count)) for count in words]
    maps = permutations(16, seed=1)
    minima, num_ngrams = sign_texts(*_buffers(texts), maps, ngram_tokens=3)
    hashes, firsts = ngram_hashes(*_buffers(texts), 3)
    assert (minima == signatures(hashes, firsts, maps)).all()
    assert num_ngrams.tolist() == np.diff(firsts).tolist()


def test_keys_agree_exactly_where_a_whole_band_agrees():
    minima = np.array([[1, 2, 3, 4], [1, 2, 9, 9], [7, 2, 3, 4], [0, 0, 0, 0]], dtype=np.uint32)
    keys = band_keys(minima, num_bands=2, rows_per_band=2)
    first, second = keys.T
    assert first[0] == first[1]
    assert second[0] == second[2]
    assert len(set(keys.flatten().tolist())) == 6
    assert 0 not in keys


def test_keys_of_different_salts_and_bands_are_unrelated():
    minima = np.full((1, 8), 5, dtype=np.uint32)
    keys = [band_keys(minima, 4, 2, salt).tolist()[0] for salt in (0, 2**40, 2**63)]
    assert len({key for of_salt in keys for key in of_salt}) == 12


def test_no_texts_have_no_signatures():
    minima, num_ngrams = sign_texts(*_buffers([]), permutations(16, seed=1), ngram_tokens=5)
    assert minima.shape == (0, 16)
    assert num_ngrams.shape == (0,)
