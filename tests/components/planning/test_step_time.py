"""Time of a step: held to DeepSpeed's schedule, and to laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.planning.engine_facts import OUR_ENGINE
from components.planning.step_time import TIME_PARTS, stage_times, step_time
from model.config import PretrainConfig
from model.pipeline_schedule import timeline
from tests.components.planning.trial_runs import model_of, pool_of, training_of


def pipeline_seconds(model: object, config: PretrainConfig, hardware: object) -> tuple[float, float]:
    """By the plan, and by running the instruction streams."""
    planned = step_time(model, 49_152, config, hardware, OUR_ENGINE, 0.45)
    stages = stage_times(model, 49_152, config, hardware, OUR_ENGINE, 0.45)
    works = timeline(
        config.accumulation_steps,
        [stage.forward + stage.tensor_forward for stage in stages],
        [stage.backward + stage.tensor_backward for stage in stages],
        stages[0].message,
    )
    in_pipeline = planned.compute + planned.tensor_parallel + planned.messages + planned.bubble
    return in_pipeline, max(work.end for work in works)


@pytest.mark.parametrize("pipeline", [1, 2, 4, 8])
@pytest.mark.parametrize("accumulation_steps", [8, 16, 64])
def test_the_sum_agrees_with_the_schedule(pipeline: int, accumulation_steps: int) -> None:
    config = training_of(pipeline=pipeline, accumulation_steps=accumulation_steps)
    planned, run = pipeline_seconds(model_of(), config, pool_of())
    assert planned == pytest.approx(run, rel=0.01)


@given(
    num_layers=st.integers(4, 40), pipeline=st.sampled_from([2, 4]), accumulation_steps=st.sampled_from([1, 2, 4, 32])
)
def test_the_sum_never_says_less_than_the_schedule(
    num_layers: int,
    pipeline: int,
    accumulation_steps: int,
) -> None:
    """Also where stages are unequal."""
    config = training_of(pipeline=pipeline, accumulation_steps=accumulation_steps)
    planned, run = pipeline_seconds(model_of(num_layers=num_layers), config, pool_of())
    assert planned >= run * (1 - 1e-9)


def test_the_bubble_of_equal_stages_is_the_known_one() -> None:
    """(p - 1) / (m + p - 1) without messages and without a head (arXiv 2104.04473, section 2.2)."""
    fast = pool_of(network_bytes_per_second=1e18)
    step = step_time(model_of(), 4, training_of(), fast, OUR_ENGINE, 0.45)
    assert step.bubble_fraction == pytest.approx(3 / 19, rel=2e-3)


@given(
    data=st.sampled_from([2, 4, 8, 16, 32]),
    pipeline=st.sampled_from([1, 2, 4]),
    efficiency=st.floats(0.2, 0.6),
    recompute=st.sampled_from(["none", "blocks"]),
)
def test_twice_the_replicas_are_never_slower(
    data: int,
    pipeline: int,
    efficiency: float,
    recompute: str,
) -> None:
    """At an equal global batch, with the same tensor and pipeline; replicas that span nodes before and after."""

    def seconds(replicas: int) -> float:
        config = training_of(
            data=replicas,
            pipeline=pipeline,
            accumulation_steps=512 // replicas,
            activation_checkpointing=recompute,
        )
        return step_time(model_of(), 49_152, config, pool_of(), OUR_ENGINE, efficiency).total

    assert seconds(2 * data) <= seconds(data)


def test_recomputing_costs_a_forward_pass_of_the_blocks() -> None:
    kept, again = (
        stage_times(model_of(), 49_152, training_of(activation_checkpointing=kind), pool_of(), OUR_ENGINE, 0.45)[1]
        for kind in ("none", "blocks")
    )
    assert again.backward == pytest.approx(1.5 * kept.backward)
    assert again.forward == kept.forward


def test_zero_3_waits_only_for_what_computation_does_not_hide() -> None:
    config = training_of(data=512, tensor=1, pipeline=1, zero_stage=3, accumulation_steps=1)
    usual, slow = (
        step_time(model_of(), 49_152, config, pool_of(network_bytes_per_second=rate), OUR_ENGINE, 0.45)
        for rate in (6.25e9, 0.25e9)
    )
    hidden = 2 * 2 * 15.5e9 / (8 * 0.25e9)  # both gathers at the slow rate
    assert usual.data_parallel < usual.compute
    assert slow.data_parallel > hidden - slow.compute
    assert {name for name in TIME_PARTS if getattr(usual, name) != getattr(slow, name)} == {"data_parallel"}
