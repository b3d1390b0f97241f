"""Which losses stand out, and whose they are. Seconds: below one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.loss_guard import LEAST_RISE_NATS, LEAST_STEPS, WINDOW_STEPS, SpikeGuard, describe_batch


def _told(losses):
    guard = SpikeGuard()
    return [step for step, loss in enumerate(losses) if guard.usual_before(loss) is not None]


def _falling(steps, noise=0.1):
    """As a training's losses do: from 10 down to 2, with noise."""
    return 2 + 8 * np.exp(-np.arange(steps) / 100) + np.random.default_rng(0).normal(0, noise, steps)


def test_a_training_that_goes_well_is_not_told():
    assert _told(_falling(2000)) == []


@pytest.mark.parametrize("rise", [1.5, 20.0])
def test_a_spike_is_told_and_the_next_step_is_not(rise):
    losses = _falling(1000)
    losses[700] += rise
    assert _told(losses) == [700]


def test_the_mean_that_is_told_is_that_of_the_steps_before():
    guard = SpikeGuard()
    for _ in range(LEAST_STEPS):
        assert guard.usual_before(3.0) is None
    assert guard.usual_before(3.0 + LEAST_RISE_NATS) is None
    assert guard.usual_before(9.0) == pytest.approx(3.0, abs=0.01)


def test_without_steps_before_nothing_stands_out():
    assert _told([*[3.0] * (LEAST_STEPS - 1), 100.0]) == []


def test_what_is_long_ago_does_not_count():
    assert _told([*[9.0] * 10, *[1.0] * WINDOW_STEPS, 2.0]) == [10 + WINDOW_STEPS]


@given(losses=st.lists(st.floats(0, 20), max_size=200))
def test_a_loss_below_the_mean_is_never_a_spike(losses):
    guard = SpikeGuard()
    for loss in losses:
        usual = guard.usual_before(loss)
        assert usual is None or loss > usual


class _Batches:
    """Every third sample is an issue."""

    def window_of(self, number):
        return ("python" if number % 3 else "issue"), number


def test_a_batch_is_named_by_its_samples_and_their_sources():
    assert describe_batch(_Batches(), step=1, batch_size=6) == "samples 0 to 5 (issue 2, python 4)"
    assert describe_batch(_Batches(), step=3, batch_size=4) == "samples 8 to 11 (issue 1, python 3)"
