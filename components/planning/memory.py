"""Memory of one device by part, for every stage of the pipeline: what our engine holds when it holds most.

The most is held as the first backward pass of the step begins, when the stage keeps the activations of as many
micro-batches as 1F1B lets it start (arXiv 2006.09503, section 3.2). What a block keeps for its backward pass is counted
from `model/transformer.py`, tensor by tensor; a test counts what PyTorch really saves.

Symbols: N tokens of a micro-batch, e bytes of a working number.
"""

from dataclasses import dataclass, fields

from components.planning.engine_facts import EngineFacts
from components.planning.hardware import Hardware
from components.planning.stages import Stage, key_value_numbers, stage_parameters, stages_of
from model.config import ModelConfig, PretrainConfig
from model.deepspeed_config import REDUCE_BUCKET_ELEMENTS

FP32_BYTES = 4
_NORM_STATISTICS_BYTES = 2 * FP32_BYTES
"""Mean and inverse deviation of one token in one LayerNorm."""

_LOGIT_COPIES = 6
"""At most so many fp32 tensors of the size of a chunk's logits does the loss have at a time; a test counts them."""

LIVE_PARAMETERS = 1_000_000_000
"""Under ZeRO-3 DeepSpeed keeps up to so many gathered weights for their next use (`stage3_max_live_parameters`)."""

ALLOCATOR_FRACTION = 0.1
"""Our margin for holes between blocks of PyTorch's allocator and for NCCL's buffers, of all that is counted."""


@dataclass(frozen=True)
class StageMemory:
    """Bytes of one device of the stage."""

    weights: float
    gradients: float
    optimizer: float
    """fp32 weights and Adam's two moments, this replica's share."""
    activations: float
    """Of norms and feed-forward layers, of all micro-batches in flight."""
    attention: float
    """Queries, keys, values and what was mixed, of all micro-batches in flight."""
    loss: float
    messages: float
    """What waits between stages, and buffers of collectives."""
    reserve: float
    """Driver, kernels, allocator."""

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, part) for part in MEMORY_PARTS)


MEMORY_PARTS = tuple(field.name for field in fields(StageMemory))


def memory_of_stages(
    model: ModelConfig, vocab_size: int, config: PretrainConfig, hardware: Hardware, engine: EngineFacts
) -> tuple[StageMemory, ...]:
    """The devices of each stage, first stage first."""
    return tuple(
        _stage_memory(stage, model, vocab_size, config, hardware, engine) for stage in stages_of(model, config.layout)
    )


def _stage_memory(
    stage: Stage,
    model: ModelConfig,
    vocab_size: int,
    config: PretrainConfig,
    hardware: Hardware,
    engine: EngineFacts,
) -> StageMemory:
    numbers = stage_parameters(stage, model, vocab_size, config.layout.tensor)
    weights, gradients, optimizer = state_bytes(numbers, config, engine)
    stream, attention = _kept_bytes(stage, model, config, engine)
    parts = (
        weights,
        gradients,
        optimizer,
        stream + _workspace_bytes(model, config),
        attention,
        loss_bytes(model, vocab_size, config) if stage.is_last else 0.0,
        _message_bytes(stage, model, config),
    )
    reserve = hardware.kind.reserved_bytes + ALLOCATOR_FRACTION * sum(parts)
    return StageMemory(*parts, reserve=reserve)


def working_bytes(config: PretrainConfig) -> int:
    """Of a working number: e."""
    return 2 if config.precision == "bf16" else FP32_BYTES


def state_bytes(numbers: int, config: PretrainConfig, engine: EngineFacts) -> tuple[float, float, float]:
    """Weights, gradients and optimizer of a rank with so many numbers.

    In bf16 the working weights take 2 bytes and the sums of gradients 4, beside them, with DeepSpeed's BF16_Optimizer,
    the gradients of one micro-batch in bf16; 12 bytes of fp32 weights and moments are shared out over the replicas
    (ZeRO, arXiv 1910.02054, section 5.1). ZeRO-3 shares out weights and gradients too (section 5.3). DeepSpeed's other
    optimizers have a bucket to send gradients from, however small the model.
    """
    replicas, working = config.layout.data, working_bytes(config)
    optimizer = 3 * FP32_BYTES * numbers / replicas
    bucket = REDUCE_BUCKET_ELEMENTS * working
    if config.layout.zero_stage == 3:
        live = min(numbers, LIVE_PARAMETERS) * working
        return numbers * working / replicas + live, FP32_BYTES * numbers / replicas + bucket, optimizer
    if config.precision == "fp32":
        return FP32_BYTES * numbers, FP32_BYTES * (numbers + numbers / replicas) + bucket, optimizer
    kept = FP32_BYTES + (working if engine.keeps_bf16_gradients else 0)
    return working * numbers, kept * numbers, optimizer


def micro_batches_in_flight(stage: Stage, accumulation_steps: int) -> int:
    """How many forward passes 1F1B starts before the first backward pass ends."""
    return min(stage.num_stages - stage.number, accumulation_steps)


def micro_batch_tokens(model: ModelConfig, config: PretrainConfig) -> int:
    """Tokens of one replica in one forward pass: N."""
    return config.micro_batch_size * model.context_length_tokens


def _token_share(config: PretrainConfig) -> int:
    """Into how many parts sequence parallelism cuts the tokens between two shared computations."""
    return config.layout.tensor if config.layout.sequence_parallel else 1


def block_stream_bytes(model: ModelConfig, config: PretrainConfig, engine: EngineFacts) -> float:
    """What a block keeps of one micro-batch for its backward pass, without its attention.

    Both norms keep their input, the layers behind them theirs (of all tokens: our `enter` gathers before they keep),
    the feed-forward layer what goes into the GELU and what comes out.
    """
    tokens, working, tensor = micro_batch_tokens(model, config), working_bytes(config), config.layout.tensor
    share = _token_share(config)
    inputs_share = 1 if engine.keeps_gathered_inputs else share
    norms = 2 * (working * model.hidden_size + _NORM_STATISTICS_BYTES) / share
    inputs = 2 * working * model.hidden_size / inputs_share
    wide = 2 * working * model.feed_forward_size / tensor
    return tokens * (norms + inputs + wide)


def block_attention_bytes(model: ModelConfig, config: PretrainConfig) -> float:
    """What a fused attention kernel keeps of one micro-batch: queries, keys, values, its output, a sum per head."""
    tokens, working, tensor = micro_batch_tokens(model, config), working_bytes(config), config.layout.tensor
    heads = model.num_heads / tensor
    tables = 0.0 if model.rope_theta is None else _rotation_bytes(model, working)
    if model.num_key_value_heads > 1 and model.num_key_value_heads % tensor:
        keys_values = 2 * model.hidden_size / tensor  # each query head has a copy of its own
        tables += 2 * 8 * heads  # int64, of which head
    else:
        own = key_value_numbers(model, tensor)
        # Turned keys are new tensors; those before the turn lie in one piece with the values and stay.
        keys_values = own * (1.0 if model.rope_theta is None else 1.5)
    per_token = working * (2 * model.hidden_size / tensor + keys_values) + FP32_BYTES * heads
    return tokens * per_token + tables


def _rotation_bytes(model: ModelConfig, working: int) -> int:
    """Cosines and sines of the angles; in bf16 queries and keys each have their own."""
    copies = 1 if working == FP32_BYTES else 2
    return copies * 2 * working * model.context_length_tokens * model.head_size


def _kept_bytes(stage: Stage, model: ModelConfig, config: PretrainConfig, engine: EngineFacts) -> tuple[float, float]:
    """Of all blocks and micro-batches in flight: what is not attention, and attention."""
    in_flight = micro_batches_in_flight(stage, config.accumulation_steps)
    stream = block_stream_bytes(model, config, engine)
    attention = block_attention_bytes(model, config)
    if config.activation_checkpointing == "none":
        return in_flight * stage.num_blocks * stream, in_flight * stage.num_blocks * attention
    borders = in_flight * stage.num_blocks * _stream_bytes(model, config)
    return borders + stream, attention


def _stream_bytes(model: ModelConfig, config: PretrainConfig) -> float:
    """The residual stream of one micro-batch."""
    tokens = micro_batch_tokens(model, config) / _token_share(config)
    return tokens * working_bytes(config) * model.hidden_size


def _workspace_bytes(model: ModelConfig, config: PretrainConfig) -> float:
    """Gradients under way in the widest place of a backward pass: before, inside and behind the GELU."""
    wide = 2 * model.feed_forward_size / config.layout.tensor
    return micro_batch_tokens(model, config) * working_bytes(config) * (model.hidden_size + wide)


def loss_bytes(model: ModelConfig, vocab_size: int, config: PretrainConfig) -> float:
    """Of `model/loss.py`: logits of a chunk, the gradients of head and stream that are kept, the last norm's input."""
    tokens, working, tensor = micro_batch_tokens(model, config), working_bytes(config), config.layout.tensor
    chunk = min(config.loss_chunk_tokens, tokens) * vocab_size / tensor * (working + _LOGIT_COPIES * FP32_BYTES)
    head = vocab_size / tensor * model.hidden_size * (FP32_BYTES + working)
    last_norm = tokens * (working * model.hidden_size + _NORM_STATISTICS_BYTES) / _token_share(config)
    return chunk + head + 2 * tokens * working * model.hidden_size + last_norm


def _message_bytes(stage: Stage, model: ModelConfig, config: PretrainConfig) -> float:
    """DeepSpeed keeps what came in and what went out of each micro-batch in flight, and has buffers to receive into."""
    if stage.num_stages == 1:
        return 0.0
    kept = micro_batches_in_flight(stage, config.accumulation_steps) * ((not stage.is_first) + (not stage.is_last))
    buffers = (not stage.is_first) + (not stage.is_last)
    return (kept + buffers) * _stream_bytes(model, config)
