"""Numbers of a stage are those of the network itself, and blocks are dealt out as DeepSpeed deals them."""

import itertools

import pytest
import torch
from deepspeed.runtime.utils import partition_balanced

from components.planning.stages import block_parameters, stage_parameters, stages_of
from model.model_size import parameter_count
from model.tensor_parallel import TensorGroup
from model.transformer import Block
from tests.components.planning.trial_runs import model_of, training_of

FAMILIES = {
    "mqa": {},
    "gqa": {"family": "starcoder2", "num_key_value_heads": 4, "rope_theta": 1e5, "tied_head": False},
    "mha": {"family": "starcoder2", "num_key_value_heads": 8, "rope_theta": 1e5},
}
SMALL = {"num_layers": 3, "hidden_size": 64, "num_heads": 8, "feed_forward_size": 256, "context_length_tokens": 32}


@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_has_the_parameters_of_the_network(family: str, tensor: int) -> None:
    model = model_of(**SMALL, **FAMILIES[family])
    with torch.device("meta"):
        block = Block(model, TensorGroup(0, tensor, None, sequence_parallel=False))
    assert block_parameters(model, tensor) == sum(parameter.numel() for parameter in block.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_one_stage_of_one_rank_is_the_whole_model(family: str) -> None:
    model = model_of(**SMALL, **FAMILIES[family])
    (stage,) = stages_of(model, training_of(tensor=1, pipeline=1).layout)
    assert stage_parameters(stage, model, 512, 1) == parameter_count(model, 512)


def test_stages_of_a_tied_model_hold_the_embedding_twice() -> None:
    model = model_of()
    stages = stages_of(model, training_of(tensor=1, pipeline=4).layout)
    numbers = sum(stage_parameters(stage, model, 49_152, 1) for stage in stages)
    assert numbers == parameter_count(model, 49_152) + 49_152 * 6144


def test_blocks_are_dealt_out_as_deepspeed_does() -> None:
    for num_layers in range(1, 25):
        for pipeline in range(1, min(num_layers, 9)):
            rows = [0, 0, *[1] * num_layers, 0, 0]  # embedding, positions, blocks, norm, head
            borders = partition_balanced(rows, pipeline)
            theirs = [sum(rows[begin:end]) for begin, end in itertools.pairwise(borders)]
            stages = stages_of(model_of(num_layers=num_layers), training_of(pipeline=pipeline).layout)
            assert [stage.num_blocks for stage in stages] == theirs
