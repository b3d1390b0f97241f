"""Every layout that a pool could run, the fastest of those that fit, and the nearest to one that does not."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from components.planning.hardware import Hardware
from components.planning.layout_plan import LayoutPlan, plan_layout
from model.config import ModelConfig, ParallelLayout, PretrainConfig, misfits

_MICRO_BATCH_SIZES = (1, 2, 4, 8, 16)
_MOST_TENSOR_RANKS = 64
"""As `ParallelLayout` has it."""


@dataclass(frozen=True)
class PoolPlan:
    """What was asked, and what else the pool could do at the same global batch."""

    asked: LayoutPlan
    fitting: tuple[LayoutPlan, ...]
    """Fastest first, all devices of the pool at work (for a run on this machine: as many as were asked)."""
    refused: dict[str, int]
    """Of the layouts that were looked at, how many failed each kind of limit; one may fail several."""

    @property
    def best(self) -> LayoutPlan | None:
        """The fastest that fits."""
        return self.fitting[0] if self.fitting else None

    @property
    def nearest(self) -> LayoutPlan | None:
        """The one that fits and differs least from what was asked, the faster of two; None if none fits."""
        if not self.asked.refusals:
            return self.asked
        return min(
            self.fitting, key=lambda plan: (_distance(plan.config, self.asked.config), plan.step_seconds), default=None
        )


def plan_pool(
    model: ModelConfig, vocab_size: int, config: PretrainConfig, hardware: Hardware, *, num_devices: int | None = None
) -> PoolPlan:
    """Work out the asked layout and every other one of `num_devices` (default: the whole pool) at its global batch."""
    devices = num_devices or hardware.num_devices
    fitting: list[LayoutPlan] = []
    refused: Counter[str] = Counter()
    for layout in _layouts(devices, hardware, model.num_layers):
        shape = config.model_copy(update={"layout": layout})
        if misfits(model, vocab_size, shape.layout):
            refused["heads or vocabulary that do not divide"] += 1
            continue
        for candidate in _candidates(shape, config.global_batch_size):
            if candidate is None:
                refused["a global batch that does not divide"] += 1
                continue
            plan = plan_layout(model, vocab_size, candidate, hardware)
            if plan.refusals:
                refused["memory"] += 1
            else:
                fitting.append(plan)
    fitting.sort(key=lambda plan: plan.step_seconds)
    return PoolPlan(plan_layout(model, vocab_size, config, hardware), tuple(fitting), dict(refused))


def _layouts(devices: int, hardware: Hardware, num_layers: int) -> Iterator[ParallelLayout]:
    """Tensor ranks stay in a node; ZeRO-3 stands alone."""
    shared = math.gcd(devices, hardware.devices_per_node)
    for tensor in [size for size in _divisors(shared) if size <= _MOST_TENSOR_RANKS]:
        for pipeline in _divisors(devices // tensor):
            if pipeline > num_layers:
                continue
            data = devices // tensor // pipeline
            for sequence_parallel in (False, True) if tensor > 1 else (False,):
                yield ParallelLayout(
                    data=data,
                    tensor=tensor,
                    pipeline=pipeline,
                    sequence_parallel=sequence_parallel,
                    zero_stage=1,
                )
            if tensor == pipeline == 1:
                yield ParallelLayout(data=data, tensor=1, pipeline=1, sequence_parallel=False, zero_stage=3)


def _candidates(shape: PretrainConfig, global_batch_size: int) -> Iterator[PretrainConfig | None]:
    """The layout with every micro-batch and with and without recomputing; None where the batch does not divide."""
    for micro_batch_size in _MICRO_BATCH_SIZES:
        accumulation_steps, rest = divmod(global_batch_size, micro_batch_size * shape.layout.data)
        if rest or not accumulation_steps:
            yield None
            continue
        for checkpointing in ("none", "blocks"):
            yield shape.model_copy(
                update={
                    "micro_batch_size": micro_batch_size,
                    "accumulation_steps": accumulation_steps,
                    "activation_checkpointing": checkpointing,
                }
            )


def _divisors(number: int) -> list[int]:
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def _distance(one: PretrainConfig, other: PretrainConfig) -> float:
    """Doublings and halvings of the four numbers, and one for each switch that is turned."""
    pairs = (
        (one.layout.tensor, other.layout.tensor),
        (one.layout.pipeline, other.layout.pipeline),
        (one.layout.data, other.layout.data),
        (one.micro_batch_size, other.micro_batch_size),
    )
    switches = (
        one.layout.sequence_parallel != other.layout.sequence_parallel,
        one.layout.zero_stage != other.layout.zero_stage,
        one.activation_checkpointing != other.activation_checkpointing,
    )
    return sum(abs(math.log2(mine / theirs)) for mine, theirs in pairs) + sum(switches)
