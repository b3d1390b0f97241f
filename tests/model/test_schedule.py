"""Seconds: below one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import FillInMiddleConfig, ParallelLayout, PretrainConfig
from model.schedule import learning_rate


def _config(num_steps: int, warmup_steps: int) -> PretrainConfig:
    return PretrainConfig(
        recipe=1,
        layout=ParallelLayout(data=1, tensor=1, pipeline=1, sequence_parallel=False, zero_stage=1),
        threads_per_process=1,
        precision="fp32",
        document_attention="across",
        activation_checkpointing="none",
        compile_blocks=False,
        loss_chunk_tokens=2048,
        z_loss_weight=0.0,
        micro_batch_size=1,
        accumulation_steps=1,
        num_steps=num_steps,
        learning_rate=2e-3,
        min_learning_rate=2e-4,
        warmup_steps=warmup_steps,
        weight_decay=0.1,
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-8,
        gradient_clip_norm=1.0,
        fill_in_middle=FillInMiddleConfig(rate=0.5, spm_rate=0.5),
        blend={},
        validate_every_steps=1,
        validation_batches=1,
        checkpoint_every_steps=1,
        seed=1,
        start_from=None,
    )


def test_warm_up_rises_in_equal_parts_to_the_peak():
    assert [learning_rate(_config(100, 4), step) for step in (1, 2, 3, 4)] == pytest.approx([5e-4, 1e-3, 1.5e-3, 2e-3])


def test_the_cosine_is_half_way_down_in_the_middle_and_at_its_minimum_in_the_end():
    config = _config(100, 20)
    assert learning_rate(config, 60) == pytest.approx((2e-3 + 2e-4) / 2)
    assert learning_rate(config, 100) == pytest.approx(2e-4)


def test_without_warm_up_the_first_step_is_near_the_peak():
    assert learning_rate(_config(1000, 0), 1) == pytest.approx(2e-3, rel=1e-4)


@given(num_steps=st.integers(2, 500), data=st.data())
def test_the_rate_stays_in_range_rises_before_the_peak_and_falls_after_it(num_steps: int, data: st.DataObject):
    config = _config(num_steps, data.draw(st.integers(0, num_steps - 1)))
    rates = [learning_rate(config, step) for step in range(1, num_steps + 1)]
    assert all(0 < rate <= 2e-3 + 1e-12 for rate in rates)
    rising, falling = rates[: config.warmup_steps], rates[max(config.warmup_steps - 1, 0) :]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert rates[-1] == pytest.approx(2e-4)


@pytest.mark.parametrize("step", [0, 101])
def test_a_step_outside_the_run_is_refused(step: int):
    with pytest.raises(ValueError, match=f"step {step} is not between 1 and num_steps 100"):
        learning_rate(_config(100, 4), step)
