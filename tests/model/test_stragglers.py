"""Which rank is slow. Seconds: below one."""

import time

import pytest
import torch
from torch import nn

from model.config import ParallelLayout
from model.stragglers import SLOW_RATIO, ForwardClock, stragglers


def _layout(data=1, tensor=1, pipeline=1):
    return ParallelLayout(data=data, tensor=tensor, pipeline=pipeline, sequence_parallel=False, zero_stage=1)


@pytest.mark.parametrize(
    ("layout", "seconds", "slow"),
    [
        (_layout(data=4), [1.0, 1.1, 2.2, 0.9], {2: 2.2}),
        (_layout(data=4), [1.0, 1.1, 1.4, 0.9], {}),
        (_layout(data=2), [1.0, 3.0], {1: 3.0}),
        (_layout(data=2), [3.0, 1.0], {0: 3.0}),
        (_layout(pipeline=2), [1.0, 3.0], {}),  # stages have other work
        (_layout(data=2, pipeline=2), [1.0, 1.0, 3.0, 3.1], {}),
        (_layout(data=2, pipeline=2), [1.0, 2.0, 3.0, 3.1], {1: 2.0}),
        (_layout(data=2, tensor=2), [1.0, 1.0, 2.0, 2.0], {2: 2.0, 3: 2.0}),  # tensor ranks are slow together
        (_layout(), [1.0], {}),
        (_layout(data=2), [0.0, 0.0], {}),
    ],
)
def test_the_slow_ranks_of_a_stage(layout, seconds, slow):
    assert stragglers(seconds, layout) == pytest.approx(slow)
    assert all(ratio >= SLOW_RATIO for ratio in slow.values())


class _Sleeper(nn.Module):
    def forward(self, seconds):
        time.sleep(seconds)
        return seconds


def test_the_clock_adds_up_training_passes_only_and_starts_anew_when_read():
    module = _Sleeper()
    clock = ForwardClock(module, torch.device("cpu"))
    for _ in range(3):
        module(0.01)
    module.eval()
    module(0.5)
    module.train()
    assert 0.03 <= clock.take_seconds() < 0.4
    assert clock.take_seconds() == 0.0
