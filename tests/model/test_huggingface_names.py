"""Every parameter has its tensors and every tensor its parameter; going there and back loses nothing."""

import pytest
import torch

from model.huggingface_names import matches, to_ours, to_theirs
from model.transformer import parameter_shapes
from tests.model.random_models import FAMILIES, random_config, random_model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(10))
def test_every_parameter_is_matched_once(family, seed):
    config = random_config(family, seed)
    ours = [name for match in matches(config) for name in match.ours]
    theirs = [name for match in matches(config) for name in match.theirs]
    assert sorted(ours) == sorted(parameter_shapes(config, 70))
    assert len(set(theirs)) == len(theirs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(10))
def test_there_and_back_is_the_same(family, seed):
    config = random_config(family, seed)
    weights = random_model(config).state_dict()
    for match in matches(config):
        ours = [weights[name] for name in match.ours]
        theirs = to_theirs(match, ours, config)
        assert len(theirs) == len(match.theirs)
        for before, after in zip(ours, to_ours(match, theirs, config), strict=True):
            assert torch.equal(before, after)


def test_keys_and_values_of_a_head_are_neighbours_in_ours(small_starcoder2):
    """Of two key/value heads of 8 numbers: key, value, key, value."""
    match = next(match for match in matches(small_starcoder2) if match.how == "interleaved")
    rows = torch.arange(2 * 2 * 8)
    key, value = to_theirs(match, [rows], small_starcoder2)
    assert key.tolist() == [*range(8), *range(16, 24)]
    assert value.tolist() == [*range(8, 16), *range(24, 32)]
