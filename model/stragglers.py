"""Which ranks are slower than those that do the same work: a device that throttles holds up all of them.

The time of a step tells nothing, as every rank waits for the slowest. Compared is the time in the forward pass of a
rank's own layers, between ranks of one stage. Tensor neighbours wait for each other in it and are slow together.
"""

import statistics
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from torch import nn

from model.config import ParallelLayout
from model.rank_places import place_of

SLOW_RATIO = 1.5
"""So much longer than the median of its stage is worth a note."""


class ForwardClock:
    """Seconds that a module spends in forward passes of the training."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._passes: list[tuple[Any, Any]] = []
        self._started: Any = None
        module.register_forward_pre_hook(self._start)
        module.register_forward_hook(self._stop)

    def take_seconds(self) -> float:
        """All passes since the last call."""
        passes, self._passes = self._passes, []
        if not self._on_gpu:
            return sum(end - start for start, end in passes)
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in passes) / 1000

    def _start(self, module: nn.Module, _inputs: object) -> None:
        self._started = self._now() if module.training else None

    def _stop(self, _module: nn.Module, _inputs: object, _outputs: object) -> None:
        if self._started is not None:
            self._passes.append((self._started, self._now()))

    def _now(self) -> Any:
        if not self._on_gpu:
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def stragglers(seconds: Sequence[float], layout: ParallelLayout) -> dict[int, float]:
    """By rank, how many times as long as its stage's median those took that took SLOW_RATIO times or more."""
    stages = [place_of(rank, layout).stage for rank in range(layout.world_size)]
    ratios: dict[int, float] = {}
    for rank, (stage, own) in enumerate(zip(stages, seconds, strict=True)):
        # The lower middle: of two replicas the faster is the measure.
        usual = statistics.median_low(other for other, its in zip(seconds, stages, strict=True) if its == stage)
        if usual and own >= SLOW_RATIO * usual:
            ratios[rank] = own / usual
    return ratios
