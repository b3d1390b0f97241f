"""Who stands where, as DeepSpeed sees it too. About a second for the ranks."""

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import ParallelLayout
from model.rank_places import Place, place_of

sizes = st.integers(1, 6)


def _layout(data, tensor, pipeline):
    return ParallelLayout(data=data, tensor=tensor, pipeline=pipeline, sequence_parallel=False, zero_stage=1)


@given(data=sizes, tensor=sizes, pipeline=sizes)
def test_places_are_those_of_deepspeeds_topology(data, tensor, pipeline):
    topology = importlib.import_module("deepspeed.runtime.pipe.topology")
    theirs = topology.PipeModelDataParallelTopology(num_pp=pipeline, num_mp=tensor, num_dp=data)
    layout = _layout(data, tensor, pipeline)
    for rank in range(layout.world_size):
        where = theirs.get_coord(rank)
        assert place_of(rank, layout) == Place(data=where.data, tensor=where.model, stage=where.pipe)


def test_tensor_neighbours_come_first_then_replicas_then_stages():
    places = [place_of(rank, _layout(2, 2, 2)) for rank in range(8)]
    assert [place.tensor for place in places] == [0, 1] * 4
    assert [place.data for place in places] == [0, 0, 1, 1] * 2
    assert [place.stage for place in places] == [0] * 4 + [1] * 4


@pytest.mark.slow
def test_tensor_groups_hold_neighbours(ranks):
    layout = {"data": 2, "tensor": 2, "pipeline": 1, "sequence_parallel": True, "zero_stage": 1}
    found = ranks.run("tests.model.shared_layer_rank:neighbours", 4, layout=layout)
    assert found == [
        {"ranks": [0, 1], "rank": 0, "size": 2, "sequence_parallel": True},
        {"ranks": [0, 1], "rank": 1, "size": 2, "sequence_parallel": True},
        {"ranks": [2, 3], "rank": 0, "size": 2, "sequence_parallel": True},
        {"ranks": [2, 3], "rank": 1, "size": 2, "sequence_parallel": True},
    ]
