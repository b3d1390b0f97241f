"""Ranks on nodes and pods: a permutation that keeps rank 0 first and the stages of a replica close."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import ParallelLayout
from model.rank_places import node_of_pod, nodes_of_a_pipeline


def layout_of(pipeline: int) -> ParallelLayout:
    return ParallelLayout(data=4, tensor=1, pipeline=pipeline, sequence_parallel=False, zero_stage=1)


@given(groups=st.integers(1, 40), pipeline_nodes=st.integers(1, 16))
def test_every_node_has_one_pod_and_the_first_keeps_its_place(groups: int, pipeline_nodes: int):
    nodes = groups * pipeline_nodes
    order = [node_of_pod(pod, nodes, pipeline_nodes) for pod in range(nodes)]
    assert sorted(order) == list(range(nodes))
    assert order[0] == 0


def test_four_stages_on_64_nodes_are_16_nodes_apart_and_one_pod():
    assert [node_of_pod(pod, 64, 4) for pod in range(6)] == [0, 16, 32, 48, 1, 17]
    assert [node_of_pod(pod, 64, 1) for pod in range(6)] == list(range(6))


@pytest.mark.parametrize(
    ("pipeline", "nodes", "spread"),
    [(4, 64, 4), (4, 4, 4), (8, 4, 4), (1, 64, 1), (4, 1, 1), (4, 6, 1), (6, 4, 1)],
)
def test_over_how_many_nodes_a_pipeline_is_spread(pipeline: int, nodes: int, spread: int):
    assert nodes_of_a_pipeline(layout_of(pipeline), nodes) == spread


def test_nodes_that_are_no_whole_pipelines_are_refused():
    with pytest.raises(ValueError, match="6 nodes are no whole number of pipelines over 4"):
        node_of_pod(0, 6, 4)
