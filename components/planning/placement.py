"""Which ranks of a layout are on which pod of a cluster: every rank in one place, tensor groups inside a node."""

from dataclasses import dataclass

from components.errors import ParamsError
from model.config import ParallelLayout
from model.rank_places import node_of_pod, nodes_of_a_pipeline, place_of


@dataclass(frozen=True)
class PodRanks:
    """One pod of the gang."""

    pod: int
    """Its index, from 0."""
    node: int
    """Its number to torchrun; rank 0 is on node 0, which is pod 0."""
    ranks: range
    stages: tuple[int, ...]
    """Pipeline stages of its ranks, each once."""
    replicas: tuple[int, ...]
    """Data-parallel replicas that its ranks are of, each once."""


@dataclass(frozen=True)
class Placement:
    """The whole gang."""

    processes_per_node: int
    pipeline_nodes: int
    """So many pods that follow one another hold whole pipelines."""
    pods: tuple[PodRanks, ...]
    """In the order of their index."""


def place_layout(layout: ParallelLayout, devices_per_node: int) -> Placement:
    """Deal the ranks out to pods that have a node each.

    ParamsError if a tensor group would lie across nodes, or if the ranks fill no whole nodes.
    """
    if layout.tensor > devices_per_node or devices_per_node % layout.tensor:
        raise ParamsError(
            f"layout.tensor {layout.tensor} does not share out the {devices_per_node} devices of a node, and a tensor "
            "group must lie inside one; choose a divisor"
        )
    nodes, rest = divmod(layout.world_size, devices_per_node)
    processes = devices_per_node
    if layout.world_size < devices_per_node:
        nodes, rest, processes = 1, 0, layout.world_size
    if rest:
        raise ParamsError(
            f"{layout.world_size} ranks fill no whole nodes of {devices_per_node} devices; choose layout.data so that "
            "they do"
        )
    pipeline_nodes = nodes_of_a_pipeline(layout, nodes)
    pods = tuple(_pod(pod, node_of_pod(pod, nodes, pipeline_nodes), processes, layout) for pod in range(nodes))
    return Placement(processes, pipeline_nodes, pods)


def _pod(pod: int, node: int, processes: int, layout: ParallelLayout) -> PodRanks:
    ranks = range(node * processes, (node + 1) * processes)
    places = [place_of(rank, layout) for rank in ranks]
    return PodRanks(
        pod=pod,
        node=node,
        ranks=ranks,
        stages=tuple(sorted({place.stage for place in places})),
        replicas=tuple(sorted({place.data for place in places})),
    )
