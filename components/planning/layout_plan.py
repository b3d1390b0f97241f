"""The plan of one layout: whether it can be had, its memory, its time as a range, and what the whole run takes."""

import math
from dataclasses import dataclass

from components.planning.engine_facts import OUR_ENGINE, EngineFacts
from components.planning.hardware import Hardware
from components.planning.layout_limits import refusals
from components.planning.memory import FP32_BYTES, StageMemory, memory_of_stages
from components.planning.run_cost import RunCost, run_cost
from components.planning.step_time import StepTime, step_time
from model.config import ModelConfig, ParallelLayout, PretrainConfig
from model.model_size import forward_flops_per_token, parameter_count

MFU_FORMULA = (
    "3 x forward operations of the model (causal pairs of tokens, arXiv 2104.04473 section 5.1) x tokens / "
    "(seconds x devices x peak)"
)


@dataclass(frozen=True)
class RunEstimate:
    """A whole run at one efficiency."""

    step: StepTime
    tokens_per_second: float
    mfu: float
    """By MFU_FORMULA; what is computed twice counts once."""
    days: float
    cost: RunCost
    checkpoint_interval_seconds: float
    """Young's and Daly's best distance between checkpoints: sqrt(2 x stall x mean time between interruptions)."""


@dataclass(frozen=True)
class LayoutPlan:
    """Everything that is known of one layout before it is run."""

    config: PretrainConfig
    refusals: tuple[str, ...]
    """Why it cannot be had; empty if it can."""
    memory: tuple[StageMemory, ...]
    """Of one device of each stage."""
    slow: RunEstimate
    """At the low end of the hardware's efficiency."""
    fast: RunEstimate
    """At its high end."""
    parameters: int
    checkpoint_bytes: int
    """fp32 weights and two moments of the whole model."""

    @property
    def layout(self) -> ParallelLayout:
        """How the processes share the work."""
        return self.config.layout

    @property
    def largest_memory_bytes(self) -> float:
        """Of the fullest device."""
        return max(stage.total for stage in self.memory)

    @property
    def step_seconds(self) -> float:
        """The middle of the range; what layouts are compared by."""
        return (self.slow.step.total + self.fast.step.total) / 2

    @property
    def name(self) -> str:
        """The layout in a few words, for tables."""
        layout, config = self.layout, self.config
        parts = [f"TP{layout.tensor}", f"PP{layout.pipeline}", f"DP{layout.data}"]
        parts += ["SP"] if layout.sequence_parallel else []
        parts += ["ZeRO-3"] if layout.zero_stage == 3 else []
        parts += ["recompute"] if config.activation_checkpointing == "blocks" else []
        return f"{' '.join(parts)}, micro {config.micro_batch_size}"


def plan_layout(
    model: ModelConfig,
    vocab_size: int,
    config: PretrainConfig,
    hardware: Hardware,
    engine: EngineFacts = OUR_ENGINE,
) -> LayoutPlan:
    """Work out one layout; also of one that cannot be had, where its numbers say by how much."""
    memory = memory_of_stages(model, vocab_size, config, hardware, engine)
    parameters = parameter_count(model, vocab_size)
    efficiency = hardware.kind.efficiency
    slow, fast = (
        _estimate(model, vocab_size, config, hardware, engine, share) for share in (efficiency.low, efficiency.high)
    )
    return LayoutPlan(
        config=config,
        refusals=refusals(model, vocab_size, config, hardware, memory),
        memory=memory,
        slow=slow,
        fast=fast,
        parameters=parameters,
        checkpoint_bytes=3 * FP32_BYTES * parameters,
    )


def _estimate(
    model: ModelConfig,
    vocab_size: int,
    config: PretrainConfig,
    hardware: Hardware,
    engine: EngineFacts,
    efficiency: float,
) -> RunEstimate:
    step = step_time(model, vocab_size, config, hardware, engine, efficiency)
    tokens = config.global_batch_size * model.context_length_tokens
    forward = forward_flops_per_token(model, vocab_size, model.context_length_tokens, "causal")
    run_seconds = config.num_steps * step.total
    devices = config.layout.world_size
    between = hardware.device_hours_between_interruptions * 3600 / devices
    return RunEstimate(
        step=step,
        tokens_per_second=tokens / step.total,
        mfu=3 * forward * tokens / (step.total * devices * hardware.kind.peak_flops_per_second(config.precision)),
        days=run_seconds / 86_400,
        cost=run_cost(run_seconds * devices / 3600, hardware.costs),
        checkpoint_interval_seconds=math.sqrt(2 * hardware.checkpoint_stall_seconds * between),
    )
