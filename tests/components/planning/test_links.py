"""Which link a group shares: by the numbering of ranks, tensor first, node after node."""

import pytest

from components.planning.links import Ring, data_ring, message_bandwidth, tensor_ring
from tests.components.planning.trial_runs import pool_of, training_of

NODE, NETWORK = 240e9, 6.25e9


def test_tensor_ranks_stay_in_their_node() -> None:
    assert tensor_ring(training_of(tensor=8, data=16).layout, pool_of()) == Ring(8, 1, NODE)


@pytest.mark.parametrize(
    ("tensor", "data", "ring"),
    [
        (4, 2, Ring(2, 1, NODE)),
        (4, 32, Ring(32, 16, 2 * NETWORK)),  # two replicas in each node share its lines
        (8, 32, Ring(32, 32, NETWORK)),
        (1, 512, Ring(512, 64, 8 * NETWORK)),
    ],
)
def test_replicas_in_one_node_share_its_lines(tensor: int, data: int, ring: Ring) -> None:
    assert data_ring(training_of(tensor=tensor, pipeline=1, data=data).layout, pool_of()) == ring


def test_stages_send_within_a_node_only_if_all_are_there() -> None:
    assert message_bandwidth(training_of(tensor=2, pipeline=2, data=2).layout, pool_of()) == NODE
    assert message_bandwidth(training_of().layout, pool_of()) == NETWORK


def test_a_ring_sends_what_the_others_lack_and_waits_for_each_hop() -> None:
    ring = Ring(4, 2, 1e9)
    assert ring.gather_seconds(4e9) == pytest.approx(3.0 + 2 * 3.4e-6 + 14e-6)
    assert ring.all_reduce_seconds(4e9) == pytest.approx(2 * ring.gather_seconds(4e9))
    assert Ring(1, 1, 1e9).all_reduce_seconds(4e9) == 0.0
