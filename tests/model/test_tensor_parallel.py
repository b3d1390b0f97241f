"""Layers that ranks share give each weight the gradient that it has alone. Some seconds."""

import pytest
import torch

from model.tensor_parallel import (
    ALONE,
    ColumnParallelLinear,
    LayerNorm,
    ReplicatedLinear,
    RowParallelLinear,
    TensorGroup,
    VocabularyEmbedding,
    shard_dimension,
)
from model.transformer import parameter_shapes
from tests.model.layout_rank import VOCAB_SIZE, model_of


@pytest.mark.slow
@pytest.mark.parametrize("sequence_parallel", [False, True])
@pytest.mark.parametrize(
    ("size", "family", "model"),
    [
        (2, "gpt_bigcode", {}),
        (2, "gpt_bigcode", {"tied_head": False}),
        (2, "starcoder2", {}),
        (4, "starcoder2", {"num_key_value_heads": 2}),  # fewer than ranks: each computes both
        (4, "gpt_bigcode", {}),
    ],
)
def test_every_gradient_is_that_of_the_whole_model(ranks, size, family, model, sequence_parallel):
    spec = {"family": family, "model": model | {"num_layers": 2}, "sequence_parallel": sequence_parallel}
    names = parameter_shapes(model_of(family, **model, num_layers=2), VOCAB_SIZE).keys()
    for found in ranks.run("tests.model.shared_layer_rank:compare_gradients", size, **spec):
        assert found.pop("loss") < 1e-6
        assert found.keys() == names
        assert {name: difference for name, difference in found.items() if difference > 2e-6} == {}


def _group(rank=0, size=2):
    return TensorGroup(rank=rank, size=size, process_group=None, sequence_parallel=False)


def _tags(layer):
    return {
        name: (tuple(parameter.shape), shard_dimension(parameter), hasattr(parameter, "tensor_model_parallel"))
        for name, parameter in layer.named_parameters()
    }


def test_what_a_rank_holds_and_what_it_says_of_it():
    assert _tags(ColumnParallelLinear(6, 8, _group(), "x")) == {"weight": ((4, 6), 0, True), "bias": ((4,), 0, True)}
    assert _tags(RowParallelLinear(6, 8, _group(), "x")) == {"weight": ((8, 3), 1, True), "bias": ((8,), None, False)}
    assert _tags(ReplicatedLinear(6, 8, _group())) == {"weight": ((8, 6), None, False), "bias": ((8,), None, False)}
    assert _tags(VocabularyEmbedding(8, 6, _group())) == {"weight": ((4, 6), 0, True)}
    assert _tags(LayerNorm(6, 1e-5, _group())) == {"weight": ((6,), None, False), "bias": ((6,), None, False)}


def test_a_group_of_one_tags_nothing():
    for layer in (ColumnParallelLinear(6, 8, ALONE, "x"), RowParallelLinear(6, 8, ALONE, "x")):
        assert all(tag[1:] == (None, False) for tag in _tags(layer).values())


def test_what_does_not_divide_is_one_sentence():
    with pytest.raises(ValueError, match=r"^num_heads 7 is not divisible by layout.tensor 2; change one of them$"):
        _group().share(7, "num_heads")


def test_a_group_of_one_is_the_plain_layer():
    torch.manual_seed(0)
    x_BTC = torch.randn(2, 3, 6)
    for kind in (ColumnParallelLinear, RowParallelLinear):
        layer = kind(6, 8, ALONE, "x")
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
        assert torch.equal(layer(x_BTC), torch.nn.functional.linear(x_BTC, layer.weight, layer.bias))
