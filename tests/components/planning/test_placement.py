"""Ranks on pods: each in one place, tensor groups inside a node, pipelines on pods that follow one another."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from components.errors import ParamsError
from components.planning.placement import place_layout
from model.config import ParallelLayout
from model.rank_places import place_of

sizes = st.integers(1, 8)


def layout_of(data: int, tensor: int, pipeline: int) -> ParallelLayout:
    return ParallelLayout(data=data, tensor=tensor, pipeline=pipeline, sequence_parallel=False, zero_stage=1)


@given(data=sizes, tensor=sizes, pipeline=sizes, devices=st.sampled_from([1, 2, 4, 8]))
def test_every_rank_has_one_place_and_tensor_groups_lie_inside_a_node(
    data: int, tensor: int, pipeline: int, devices: int
) -> None:
    layout = layout_of(data, tensor, pipeline)
    assume(devices % tensor == 0)
    assume(layout.world_size % devices == 0 or layout.world_size < devices)
    placement = place_layout(layout, devices)
    assert sorted(rank for pod in placement.pods for rank in pod.ranks) == list(range(layout.world_size))
    assert 0 in placement.pods[0].ranks
    pod_of = {rank: pod.pod for pod in placement.pods for rank in pod.ranks}
    for first in range(0, layout.world_size, tensor):
        assert len({pod_of[first + other] for other in range(tensor)}) == 1


@given(data=sizes, tensor=st.sampled_from([1, 2, 4]), pipeline=sizes)
def test_a_pipeline_lies_on_pods_that_follow_one_another(data: int, tensor: int, pipeline: int) -> None:
    layout = layout_of(data, tensor, pipeline)
    assume(layout.world_size % 4 == 0)
    placement = place_layout(layout, 4)
    pod_of = {rank: pod.pod for pod in placement.pods for rank in pod.ranks}
    assume(placement.pipeline_nodes > 1)
    groups_of: dict[int, set[int]] = {}
    for rank, pod in pod_of.items():
        groups_of.setdefault(place_of(rank, layout).data, set()).add(pod // placement.pipeline_nodes)
    assert {len(groups) for groups in groups_of.values()} == {1}


def test_the_reference_run() -> None:
    placement = place_layout(layout_of(32, 4, 4), 8)
    assert (len(placement.pods), placement.processes_per_node, placement.pipeline_nodes) == (64, 8, 4)
    assert [pod.stages for pod in placement.pods[:4]] == [(0,), (1,), (2,), (3,)]
    assert {pod.replicas for pod in placement.pods[:4]} == {(0, 1)}


def test_fewer_ranks_than_a_node_has_devices_share_one() -> None:
    placement = place_layout(layout_of(1, 2, 2), 8)
    assert (len(placement.pods), placement.processes_per_node) == (1, 4)


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (layout_of(1, 16, 1), "layout.tensor 16 does not share out the 8 devices of a node"),
        (layout_of(8, 3, 1), "layout.tensor 3 does not share out the 8 devices of a node"),
        (layout_of(3, 4, 1), "12 ranks fill no whole nodes of 8 devices; choose layout.data so that they do"),
    ],
)
def test_what_has_no_place_is_refused(layout: ParallelLayout, told: str) -> None:
    with pytest.raises(ParamsError, match=told):
        place_layout(layout, 8)
