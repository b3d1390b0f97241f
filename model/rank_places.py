"""Where a rank stands in the layout, and which pod's node it is on: arithmetic, no torch.

Rank numbers run over tensor first, then data, then pipeline, so that tensor neighbours, who speak most, share a node.
"""

from dataclasses import dataclass

from model.config import ParallelLayout


@dataclass(frozen=True)
class Place:
    """Where a rank stands in the layout; each number from 0."""

    data: int
    tensor: int
    stage: int


def place_of(rank: int, layout: ParallelLayout) -> Place:
    """Of one rank."""
    rest, tensor = divmod(rank, layout.tensor)
    stage, data = divmod(rest, layout.data)
    return Place(data=data, tensor=tensor, stage=stage)


def nodes_of_a_pipeline(layout: ParallelLayout, nodes: int) -> int:
    """Over how many of `nodes` the stages of one replica are spread; 1 where they share nodes unevenly."""
    larger, smaller = max(nodes, layout.pipeline), min(nodes, layout.pipeline)
    return smaller if larger % smaller == 0 else 1


def node_of_pod(pod: int, nodes: int, pipeline_nodes: int) -> int:
    """Node number, as torchrun counts, of the pod with that index: a permutation of 0 to `nodes` - 1 that keeps 0.

    Numbered plainly, the next stage of a replica is nodes / stages pods away. So pods that follow one another are given
    the stages of the same replicas: a cluster that keeps neighbouring pods close keeps whole pipelines close.
    ValueError if `pipeline_nodes` does not divide `nodes`.
    """
    if nodes % pipeline_nodes:
        raise ValueError(f"{nodes} nodes are no whole number of pipelines over {pipeline_nodes}")
    group, place = divmod(pod, pipeline_nodes)
    return place * (nodes // pipeline_nodes) + group
