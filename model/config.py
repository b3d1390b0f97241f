"""What the network is and how it is trained; pydantic only, no torch.

Sizes follow GPTBigCode (StarCoder paper, section 5: multi-query attention, learned positions, 4x feed-forward).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class ModelConfig(BaseModel):
    """The shape of a GPTBigCode decoder; the vocabulary's size comes from the tokenizer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["gpt_bigcode"]
    num_layers: Annotated[int, Field(ge=1, le=200)]
    hidden_size: Annotated[int, Field(ge=8)]
    num_heads: Annotated[int, Field(ge=1)]
    """Query heads; one key/value head serves them all (multi-query attention)."""
    feed_forward_size: Annotated[int, Field(ge=8)]
    context_length_tokens: Annotated[int, Field(ge=8, le=131_072)]
    layer_norm_epsilon: Annotated[float, Field(gt=0)]
    init_std: Annotated[float, Field(gt=0)]
    """Standard deviation of the initial weights; output projections get it divided by sqrt(2 x num_layers)."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}; change one of them"
            )
        return self


class FillInMiddleConfig(BaseModel):
    """How often a document is turned so that its middle comes last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Fraction
    """Share of document segments that are transformed."""
    spm_rate: Fraction
    """Share of the transformed ones in suffix-prefix-middle order; the rest are prefix-suffix-middle."""


class PretrainConfig(BaseModel):
    """The training run. Everything here changes the weights, so it is identity, the number of processes too."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: Annotated[int, Field(ge=1)]
    """The meaning of the step; raised by hand when the step computes something else from the same parameters."""
    num_processes: Annotated[int, Field(ge=1, le=4096)]
    """Data-parallel ranks; the sums of their gradients depend on it."""
    threads_per_process: Annotated[int, Field(ge=1, le=256)]
    """CPU threads of a rank; the order of floating-point sums depends on it."""
    precision: Literal["fp32", "bf16"]
    micro_batch_size: Annotated[int, Field(ge=1)]
    """Samples of one rank in one forward pass."""
    accumulation_steps: Annotated[int, Field(ge=1)]
    num_steps: Annotated[int, Field(ge=1)]
    """Optimizer steps."""
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    min_learning_rate: Annotated[float, Field(ge=0, le=1)]
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    adam_beta1: Annotated[float, Field(ge=0, lt=1)]
    adam_beta2: Annotated[float, Field(ge=0, lt=1)]
    adam_epsilon: Annotated[float, Field(gt=0)]
    gradient_clip_norm: Annotated[float, Field(gt=0)]
    fill_in_middle: FillInMiddleConfig
    validate_every_steps: Annotated[int, Field(ge=1)]
    validation_batches: Annotated[int, Field(ge=1)]
    checkpoint_every_steps: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @property
    def global_batch_size(self) -> int:
        """Samples in one optimizer step, over all ranks and accumulations."""
        return self.micro_batch_size * self.accumulation_steps * self.num_processes

    @model_validator(mode="after")
    def _schedule_is_sound(self) -> "PretrainConfig":
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(f"min_learning_rate {self.min_learning_rate} is above learning_rate {self.learning_rate}")
        if self.warmup_steps >= self.num_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below num_steps {self.num_steps}")
        return self
