"""How long a message takes: which link the ranks of a group share, and what a collective sends over it.

Ranks are numbered tensor first, then data, then pipeline (`model/rank_places.py`), node after node. Collectives are
NCCL's rings: a ring enters each node once and leaves it once, so neighbours of a group that share a node also share its
lines; and each hop takes its time however short the message is.
"""

from dataclasses import dataclass

from components.planning.hardware import Hardware
from model.config import ParallelLayout

NODE_HOP_SECONDS = 3.4e-6
NETWORK_HOP_SECONDS = 14.0e-6
"""One hop of a ring over NVLink and over a network, protocol Simple (NCCL, src/graph/tuning.cc, hwLat)."""


@dataclass(frozen=True)
class Ring:
    """The ranks of one group, for collectives."""

    size: int
    nodes: int
    """How many nodes the group touches."""
    bytes_per_second: float

    def gather_seconds(self, num_bytes: float, collectives: int = 1) -> float:
        """All-gather to, or reduce-scatter from, `num_bytes` in all, in so many collectives."""
        hops = (self.size - self.nodes) * NODE_HOP_SECONDS + (self.nodes - 1) * NETWORK_HOP_SECONDS
        return (self.size - 1) / self.size * num_bytes / self.bytes_per_second + collectives * hops

    def all_reduce_seconds(self, num_bytes: float) -> float:
        """All-reduce of `num_bytes`: a reduce-scatter and an all-gather."""
        return 2 * self.gather_seconds(num_bytes)


def tensor_ring(layout: ParallelLayout, hardware: Hardware) -> Ring:
    """Ranks that share a layer."""
    return _ring(1, layout.tensor, hardware)


def data_ring(layout: ParallelLayout, hardware: Hardware) -> Ring:
    """Ranks that hold the same part of the network."""
    return _ring(layout.tensor, layout.data, hardware)


def message_bandwidth(layout: ParallelLayout, hardware: Hardware) -> float:
    """Bytes a second from a rank to its successor in the next stage; the slowest pair of stages sets the pace."""
    if layout.world_size <= hardware.devices_per_node:
        return hardware.kind.node_bytes_per_second
    return hardware.network_bytes_per_second


def _ring(stride: int, size: int, hardware: Hardware) -> Ring:
    """Of `size` ranks that stand `stride` apart."""
    within = hardware.kind.node_bytes_per_second
    if stride * size <= hardware.devices_per_node:
        return Ring(size, 1, within)
    neighbours = max(1, hardware.devices_per_node // stride)
    return Ring(size, -(-size // neighbours), min(within, neighbours * hardware.network_bytes_per_second))
