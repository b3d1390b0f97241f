"""Time of one optimizer step by part: compute, what tensor ranks and stages send, the bubble, the replicas' sums.

The pipeline is DeepSpeed's 1F1B; `model/pipeline_schedule.py` runs its instruction streams one by one and a test holds
the sum written here to it. Nothing overlaps but what the engine overlaps: in ours that is gathering under ZeRO-3.
"""

from dataclasses import dataclass, fields

from components.planning.engine_facts import EngineFacts
from components.planning.hardware import Hardware
from components.planning.links import Ring, data_ring, message_bandwidth, tensor_ring
from components.planning.memory import FP32_BYTES, micro_batch_tokens, working_bytes
from components.planning.stages import Stage, stage_parameters, stages_of
from model.config import ModelConfig, PretrainConfig
from model.deepspeed_config import REDUCE_BUCKET_ELEMENTS
from model.model_size import forward_flops_per_token

_COLLECTIVES_OF_A_PASS = 2
"""All-reduces of a block in one direction, behind attention and behind feed-forward (arXiv 1909.08053, section 3);
under sequence parallelism each is a gather and a scatter of the same length (arXiv 2205.05198, section 4.2.2)."""

PREFETCH_ELEMENTS = 50_000_000
"""Weights that DeepSpeed gathers in one collective under ZeRO-3 (`stage3_prefetch_bucket_size`)."""

_ADAM_BYTES = 30
"""Read and written for one number: fp32 weight, two moments, gradient; written: the first three, the bf16 weight."""


@dataclass(frozen=True)
class StageTime:
    """Seconds of one micro-batch in one stage."""

    forward: float
    backward: float
    """With what is computed again."""
    tensor_forward: float
    tensor_backward: float
    message: float
    """One message to a neighbour stage."""
    messages: int
    """How many the stage waits for in a micro-batch."""

    @property
    def work(self) -> float:
        """Without messages."""
        return self.forward + self.backward + self.tensor_forward + self.tensor_backward

    @property
    def cycle(self) -> float:
        """From micro-batch to micro-batch while the pipeline is full."""
        return self.work + self.messages * self.message


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step."""

    compute: float
    """Of the slowest stage."""
    tensor_parallel: float
    messages: float
    """Between stages."""
    bubble: float
    """The slowest stage waits while the pipeline fills and drains."""
    data_parallel: float
    optimizer: float

    @property
    def total(self) -> float:
        """The whole step."""
        return sum(getattr(self, part) for part in TIME_PARTS)

    @property
    def bubble_fraction(self) -> float:
        """Of the time in the pipeline."""
        return self.bubble / (self.compute + self.tensor_parallel + self.messages + self.bubble)


TIME_PARTS = tuple(field.name for field in fields(StepTime))


def step_time(
    model: ModelConfig,
    vocab_size: int,
    config: PretrainConfig,
    hardware: Hardware,
    engine: EngineFacts,
    efficiency: float,
) -> StepTime:
    """One step at this efficiency. With m micro-batches it is (m - 1) cycles of the slowest stage and one way through
    all stages and back."""
    stages = stage_times(model, vocab_size, config, hardware, engine, efficiency)
    slowest = max(stages, key=lambda stage: stage.cycle)
    count = config.accumulation_steps
    way = sum(stage.work for stage in stages) + 2 * (len(stages) - 1) * slowest.message
    return StepTime(
        compute=count * (slowest.forward + slowest.backward),
        tensor_parallel=count * (slowest.tensor_forward + slowest.tensor_backward),
        messages=count * slowest.messages * slowest.message,
        bubble=way - slowest.cycle,
        data_parallel=_data_parallel_seconds(model, vocab_size, config, hardware, engine, slowest),
        optimizer=max(
            _optimizer_seconds(stage_parameters(stage, model, vocab_size, config.layout.tensor), config, hardware)
            for stage in stages_of(model, config.layout)
        ),
    )


def stage_times(
    model: ModelConfig,
    vocab_size: int,
    config: PretrainConfig,
    hardware: Hardware,
    engine: EngineFacts,
    efficiency: float,
) -> tuple[StageTime, ...]:
    """One micro-batch in every stage, first stage first."""
    layout = config.layout
    rate = hardware.kind.peak_flops_per_second(config.precision) * efficiency
    tokens = micro_batch_tokens(model, config)
    head_flops = 2 * model.hidden_size * vocab_size
    all_flops = forward_flops_per_token(model, vocab_size, model.context_length_tokens, "causal")
    block = tokens * (all_flops - head_flops) / model.num_layers / layout.tensor / rate
    head = tokens * head_flops / layout.tensor / rate
    stream_bytes = tokens * working_bytes(config) * model.hidden_size
    collective = tensor_ring(layout, hardware).all_reduce_seconds(stream_bytes)
    cut = layout.tensor if layout.sequence_parallel or engine.cuts_messages else 1
    message = stream_bytes / cut / message_bandwidth(layout, hardware) if layout.pipeline > 1 else 0.0
    again = 1 if config.activation_checkpointing == "blocks" else 0
    return tuple(
        StageTime(
            forward=stage.num_blocks * block + stage.is_last * head,
            backward=stage.num_blocks * (2 + again) * block + stage.is_last * 2 * head,
            tensor_forward=(stage.num_blocks * _COLLECTIVES_OF_A_PASS + stage.is_first) * collective,
            tensor_backward=(stage.num_blocks * _COLLECTIVES_OF_A_PASS * (1 + again) + stage.is_last) * collective,
            message=message,
            messages=_messages(stage, engine),
        )
        for stage in stages_of(model, layout)
    )


def _messages(stage: Stage, engine: EngineFacts) -> int:
    """To and from each neighbour; half as many where a message up and a message down cross."""
    neighbours = (not stage.is_first) + (not stage.is_last)
    return neighbours if engine.sends_while_receiving else 2 * neighbours


def _data_parallel_seconds(
    model: ModelConfig,
    vocab_size: int,
    config: PretrainConfig,
    hardware: Hardware,
    engine: EngineFacts,
    slowest: StageTime,
) -> float:
    """ZeRO-1: after the last micro-batch the fp32 sums are added up, after the optimizer the weights are gathered."""
    layout, ring = config.layout, data_ring(config.layout, hardware)
    stages = stages_of(model, layout)
    numbers = max(stage_parameters(stage, model, vocab_size, layout.tensor) for stage in stages)
    if layout.zero_stage == 3:
        return config.accumulation_steps * _zero_3_seconds(numbers, config, ring, slowest)
    reduce = ring.all_reduce_seconds if engine.reduction == "all_reduce" else ring.gather_seconds
    gathering = ring.gather_seconds(working_bytes(config) * numbers)
    return reduce(FP32_BYTES * numbers) + gathering + _tied_seconds(model, vocab_size, config, hardware)


def _zero_3_seconds(numbers: int, config: PretrainConfig, ring: Ring, slowest: StageTime) -> float:
    """In every micro-batch: weights are gathered for both passes while there is computation, gradients scattered after.

    ZeRO, arXiv 1910.02054, section 7.2.2; gathering overlaps, as DeepSpeed prefetches, scattering does not (our
    `overlap_comm` is off).
    """
    num_bytes = working_bytes(config) * numbers
    gathering = 2 * ring.gather_seconds(num_bytes, -(-numbers // PREFETCH_ELEMENTS))
    scattering = ring.gather_seconds(num_bytes, -(-numbers // REDUCE_BUCKET_ELEMENTS))
    return max(0.0, gathering - slowest.forward - slowest.backward) + scattering


def _tied_seconds(model: ModelConfig, vocab_size: int, config: PretrainConfig, hardware: Hardware) -> float:
    """First and last stage add up the gradients of the embedding that both hold."""
    if not model.tied_head or config.layout.pipeline == 1:
        return 0.0
    table_bytes = FP32_BYTES * vocab_size * model.hidden_size / config.layout.tensor
    return table_bytes / message_bandwidth(config.layout, hardware)


def _optimizer_seconds(numbers: int, config: PretrainConfig, hardware: Hardware) -> float:
    """AdamW on this replica's share, the norm of all sums read, the sums set to zero: bound by memory."""
    share = numbers / config.layout.data
    sums = share if config.layout.zero_stage == 3 else numbers
    return (_ADAM_BYTES * share + 2 * FP32_BYTES * sums) / hardware.kind.memory_bytes_per_second
