"""What is appended is handed back, in order; reading in pieces is reading at once, whatever the window."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.key_value_cache import KeyValueCache
from tests.model.random_models import FAMILIES, random_config, random_model, random_tokens


def test_a_layer_hands_back_all_it_was_given(small_starcoder2):
    cache = KeyValueCache(small_starcoder2, batch_size=2, capacity_tokens=9)
    parts = torch.randn(2, 3, 9, 2, 8).unbind()
    assert cache.length == 0
    for start, end in pairwise([0, 4, 5, 9]):
        for layer in cache.layers:
            found = layer.append(*(part[:2, start:end] for part in parts))
            for seen, part in zip(found, parts, strict=True):
                assert torch.equal(seen, part[:2, :end])
        assert cache.length == end


def test_layers_do_not_share_their_room(small_starcoder2):
    cache = KeyValueCache(small_starcoder2, batch_size=1, capacity_tokens=3)
    ones = torch.ones(1, 3, 2, 8)
    cache.layers[0].append(ones, 2 * ones)
    keys, values = cache.layers[1].append(3 * ones[:, :1], 4 * ones[:, :1])
    assert keys.unique().tolist() == [3.0]
    assert values.unique().tolist() == [4.0]


def test_it_takes_two_numbers_for_each_key_value_head_token_and_layer(small_config, small_starcoder2):
    for config in (small_config, small_starcoder2):
        cache = KeyValueCache(config, batch_size=3, capacity_tokens=5, dtype=torch.bfloat16)
        keys, values = cache.layers[0].append(*torch.zeros(2, 3, 5, config.num_key_value_heads, config.head_size))
        assert keys.dtype == torch.bfloat16
        per_token = 2 * config.num_layers * config.num_key_value_heads * config.head_size
        assert keys.untyped_storage().nbytes() == 2 * 3 * 5 * per_token
        assert keys.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()


@pytest.mark.parametrize("family", FAMILIES)
@given(cuts=st.sets(st.integers(1, 15)), batch_size=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_reading_in_pieces_gives_the_logits_of_reading_at_once(family, cuts, batch_size, seed):
    config = random_config(family, seed)
    model = random_model(config, seed)
    tokens = random_tokens(seed, batch_size, 16)
    cache = KeyValueCache(config, batch_size, capacity_tokens=16)
    borders = [0, *sorted(cuts), 16]
    pieces = [model(tokens[:, start:end], cache) for start, end in pairwise(borders)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens), atol=3e-5, rtol=1e-5)
