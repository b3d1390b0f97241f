"""The shape of the bidirectional encoder; pydantic only, no torch."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class EncoderConfig(BaseModel):
    """A BERT-like encoder whose tokens are bags of features.

    StarEncoder (its card and bigcode-encoder `exp_configs.py`): 12 layers, hidden size 768, 12 heads, feed-forward
    3072, 1024 positions, 49,156 tokens, each a bag of one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_layers: Annotated[int, Field(ge=1, le=200)]
    hidden_size: Annotated[int, Field(ge=8)]
    num_heads: Annotated[int, Field(ge=1)]
    feed_forward_size: Annotated[int, Field(ge=8)]
    context_length_tokens: Annotated[int, Field(ge=8, le=131_072)]
    num_features: Annotated[int, Field(ge=16, le=2**24)]
    """Rows of the embedding: the vocabulary, or the buckets that features are hashed into."""
    dropout_fraction: Annotated[float, Field(ge=0, lt=1)]
    layer_norm_epsilon: Annotated[float, Field(gt=0)]
    init_std: Annotated[float, Field(gt=0)]
    """Standard deviation of all initial matrices."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "EncoderConfig":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}; change one of them"
            )
        return self


class ClassifierTrainingConfig(BaseModel):
    """How a token classifier is trained. Everything here changes the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: Annotated[int, Field(ge=1)]
    """Sequences in one optimizer step."""
    max_steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    gradient_clip_norm: Annotated[float, Field(gt=0)]
    validate_every_steps: Annotated[int, Field(ge=1)]
    patience_validations: Annotated[int, Field(ge=1)]
    """Validations in a row without an improvement after which the training stops."""
    min_improvement: Annotated[float, Field(ge=0, le=1)]
    """How much a score must be above the best one to count as better."""
    num_threads: Annotated[int, Field(ge=1, le=256)]
    """CPU threads; the order of floating-point sums depends on it."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
