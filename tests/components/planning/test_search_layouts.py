"""The search finds what fits, names the fastest, and stays near to what was asked."""

import pytest

from components.planning.search_layouts import PoolPlan, plan_pool
from tests.components.planning.trial_runs import model_of, pool_of, training_of


@pytest.fixture(scope="module")
def reference() -> PoolPlan:
    """StarCoderBase on its pool."""
    return plan_pool(model_of(), 49_152, training_of(), pool_of())


def test_the_plan_of_the_reference_is_what_it_was(reference: PoolPlan) -> None:
    """Golden: what our engine is planned to do on the 512 GPUs of StarCoderBase."""
    asked = reference.asked
    assert not asked.refusals
    assert asked.parameters == 15_517_456_384
    assert (round(asked.fast.step.total, 3), round(asked.slow.step.total, 3)) == (8.849, 9.949)
    assert (round(asked.slow.mfu, 3), round(asked.fast.mfu, 3)) == (0.277, 0.311)
    assert (round(asked.fast.days, 1), round(asked.slow.days, 1)) == (25.6, 28.8)
    assert round(asked.fast.step.bubble_fraction, 3) == 0.149
    assert round(asked.largest_memory_bytes / 1e9, 1) == 34.5
    assert asked.checkpoint_bytes == 12 * 15_517_456_384
    assert round(asked.slow.checkpoint_interval_seconds / 60, 1) == 19.9
    assert [plan.name for plan in reference.fitting[:4]] == [
        "TP1 PP1 DP512 ZeRO-3, micro 1",
        "TP4 PP4 DP32 SP, micro 1",
        "TP8 PP4 DP16 SP, micro 1",
        "TP4 PP2 DP64 SP, micro 1",
    ]


def test_every_layout_keeps_the_batch_and_uses_the_pool(reference: PoolPlan) -> None:
    assert {plan.config.global_batch_size for plan in reference.fitting} == {512}
    assert {plan.layout.world_size for plan in reference.fitting} == {512}
    assert all(not plan.refusals for plan in reference.fitting)
    assert all(plan.largest_memory_bytes <= 84_987_740_160 for plan in reference.fitting)


def test_they_stand_in_the_order_of_their_speed(reference: PoolPlan) -> None:
    seconds = [plan.step_seconds for plan in reference.fitting]
    assert seconds == sorted(seconds)
    assert reference.best is reference.fitting[0]


def test_what_was_asked_is_among_them(reference: PoolPlan) -> None:
    assert [plan for plan in reference.fitting if plan.config == training_of()] == [reference.asked]
    assert reference.nearest is reference.asked


def test_what_is_refused_is_counted(reference: PoolPlan) -> None:
    assert reference.refused == {"memory": 127, "a global batch that does not divide": 34}


def test_the_nearest_turns_one_switch_if_that_is_enough() -> None:
    asked = training_of(tensor=1, data=128, micro_batch_size=2, accumulation_steps=2)
    plan = plan_pool(model_of(), 49_152, asked, pool_of())
    assert plan.asked.refusals
    assert plan.nearest is not None
    assert plan.nearest.config == asked.model_copy(update={"activation_checkpointing": "blocks"})


def test_nothing_is_near_where_nothing_fits() -> None:
    pair = pool_of(devices_per_node=2, nodes=1)
    plan = plan_pool(model_of(), 49_152, training_of(data=1, tensor=2, pipeline=1, accumulation_steps=512), pair)
    assert "a device needs" in plan.asked.refusals[0]
    assert plan.best is None
    assert plan.nearest is None


def test_a_pool_larger_than_any_tensor_group_can_be_searched() -> None:
    plan = plan_pool(model_of(), 49_152, training_of(), pool_of(devices_per_node=512, nodes=1), num_devices=512)
    assert max(one.layout.tensor for one in plan.fitting) <= 64
