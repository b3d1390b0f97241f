"""What the network is and how it is trained; pydantic only, no torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.training_errors import LayoutError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class ModelConfig(BaseModel):
    """The shape of a decoder of either family; the vocabulary's size comes from the tokenizer.

    The families differ in these numbers alone (StarCoder section 5, StarCoder2 section 6): GPTBigCode has one
    key/value head and learned positions, StarCoder2 groups of heads, rotary positions and a window of attention.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    family: Literal["gpt_bigcode", "starcoder2"]
    num_layers: Annotated[int, Field(ge=1, le=200)]
    hidden_size: Annotated[int, Field(ge=8)]
    num_heads: Annotated[int, Field(ge=1)]
    """Query heads."""
    num_key_value_heads: Annotated[int, Field(ge=1)]
    """Each serves num_heads / num_key_value_heads query heads; 1 is multi-query attention (arXiv 1911.02150)."""
    feed_forward_size: Annotated[int, Field(ge=8)]
    context_length_tokens: Annotated[int, Field(ge=8, le=131_072)]
    rope_theta: Annotated[float, Field(gt=1)] | None
    """Base of the rotary angles (RoFormer, arXiv 2104.09864, section 3.2.2); None for learned positions."""
    attention_window_tokens: Annotated[int, Field(ge=1)] | None
    """A token sees itself and so many less one before it; None for all of them."""
    tied_head: bool
    """Whether the output head is the embedding."""
    layer_norm_epsilon: Annotated[float, Field(gt=0)]
    init_std: Annotated[float, Field(gt=0)]
    """Standard deviation of the initial weights; output projections get it divided by sqrt(2 x num_layers)."""

    @property
    def head_size(self) -> int:
        """Numbers in a query, a key or a value of one head."""
        return self.hidden_size // self.num_heads

    @model_validator(mode="after")
    def _is_one_of_the_family(self) -> "ModelConfig":
        for whole, part in (("hidden_size", "num_heads"), ("num_heads", "num_key_value_heads")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole} {getattr(self, whole)} is not divisible by {part} {getattr(self, part)}; "
                    "change one of them"
                )
        if self.family == "gpt_bigcode":
            wanted = {"num_key_value_heads": 1, "rope_theta": None, "attention_window_tokens": None}
            for name, value in wanted.items():
                if getattr(self, name) != value:
                    said = "null" if value is None else value
                    raise ValueError(f"{name} {getattr(self, name)} is not gpt_bigcode's; set it to {said}")
        elif self.rope_theta is None:
            raise ValueError("rope_theta null is not starcoder2's; set it, for example to 100000.0")
        elif self.head_size % 2:
            raise ValueError(f"a head of {self.head_size} numbers has no pairs; make hidden_size / num_heads even")
        return self


class FillInMiddleConfig(BaseModel):
    """How often a document is turned so that its middle comes last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Fraction
    """Share of document segments that are transformed."""
    spm_rate: Fraction
    """Share of the transformed ones in suffix-prefix-middle order; the rest are prefix-suffix-middle."""


class ParallelLayout(BaseModel):
    """How many processes train together, and which part of the work is each one's.

    Ranks are numbered with tensor neighbours next to each other, so that they share a node; then data, then pipeline.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[int, Field(ge=1, le=65_536)]
    """Replicas; each reads other samples."""
    tensor: Annotated[int, Field(ge=1, le=64)]
    """Ranks that share each layer (Megatron-LM, arXiv 1909.08053, section 3)."""
    pipeline: Annotated[int, Field(ge=1, le=200)]
    """Stages, each some of the layers (1F1B, arXiv 2006.09503)."""
    sequence_parallel: bool
    """Whether tensor ranks also share the tokens between the blocks (arXiv 2205.05198, section 4.2.2)."""
    zero_stage: Literal[1, 3]
    """What the replicas share of the state: 1 moments and fp32 weights, 3 the working weights too."""

    @property
    def world_size(self) -> int:
        """Processes in all."""
        return self.data * self.tensor * self.pipeline

    @model_validator(mode="after")
    def _can_be_had(self) -> "ParallelLayout":
        if self.sequence_parallel and self.tensor == 1:
            raise ValueError("sequence_parallel is for layouts with tensor above 1; turn it off")
        if self.zero_stage == 3 and self.tensor * self.pipeline > 1:
            raise ValueError(
                f"zero_stage 3 shares the weights over data alone; set tensor {self.tensor} and pipeline "
                f"{self.pipeline} to 1, or zero_stage to 1"
            )
        return self


def misfits(model: ModelConfig, vocab_size: int, layout: ParallelLayout) -> tuple[str, ...]:
    """What keeps the layout from giving every rank an equal part of each layer, each with both numbers; empty if none.

    Key/value heads need not divide: where they do not, each rank computes them all.
    """
    divided = {
        "model.num_heads": model.num_heads,
        "model.feed_forward_size": model.feed_forward_size,
        "the vocabulary": vocab_size,
    }
    if layout.sequence_parallel:
        divided["model.context_length_tokens"] = model.context_length_tokens
    reasons = [
        f"{name} {size:,} is not divisible by layout.tensor {layout.tensor}"
        for name, size in divided.items()
        if size % layout.tensor
    ]
    if layout.pipeline > model.num_layers:
        reasons.append(f"layout.pipeline {layout.pipeline} has more stages than model.num_layers {model.num_layers}")
    return tuple(reasons)


def require_fitting(model: ModelConfig, vocab_size: int, layout: ParallelLayout) -> None:
    """LayoutError if anything is in `misfits`."""
    reasons = misfits(model, vocab_size, layout)
    if reasons:
        raise LayoutError(f"pretrain.layout does not fit the model: {'; '.join(reasons)}; change one of them")


_MAY_CHANGE = frozenset({"context_length_tokens", "rope_theta", "attention_window_tokens", "init_std"})
"""What a model may have otherwise than the one that it starts from: no weight depends on it."""


def require_same_network(model: ModelConfig, vocab_size: int, start: ModelConfig, start_vocab_size: int) -> None:
    """LayoutError unless a model can begin with the weights of `start`; rotary positions may reach further than its."""
    here, there = (
        {**config.model_dump(), "vocab_size": size} for config, size in ((model, vocab_size), (start, start_vocab_size))
    )
    free = _MAY_CHANGE if model.rope_theta is not None else _MAY_CHANGE - {"context_length_tokens"}
    differing = [
        f"{name} (there {there[name]}, here {here[name]})"
        for name in here
        if name not in free and here[name] != there[name]
    ]
    if differing:
        raise LayoutError(
            f"pretrain.start_from holds another network, which differs in {', '.join(differing)}; give the parameters "
            "that it was trained with, or another directory"
        )


class PretrainConfig(BaseModel):
    """The training run. Everything here changes the weights, so it is identity, the number of processes too."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: Annotated[int, Field(ge=1)]
    """The meaning of the step; raised by hand when the step computes something else from the same parameters."""
    layout: ParallelLayout
    """The sums of gradients depend on it."""
    threads_per_process: Annotated[int, Field(ge=1, le=256)]
    """CPU threads of a rank; the order of floating-point sums depends on it."""
    precision: Literal["fp32", "bf16"]
    document_attention: Literal["across", "within"]
    """Whether a token sees the documents before its own in the window, as in the papers, or its own alone."""
    activation_checkpointing: Literal["none", "blocks"]
    """What is computed again in the backward pass in place of being kept (arXiv 1604.06174)."""
    compile_blocks: bool
    """Whether torch.compile fuses each block and the loss; changes the order of sums."""
    loss_chunk_tokens: Annotated[int, Field(ge=1)]
    """Tokens whose logits are in memory at a time."""
    z_loss_weight: Annotated[float, Field(ge=0)]
    """Of the mean squared log of the softmax's divisor (PaLM, arXiv 2204.02311, section 5); 0 turns it off."""
    micro_batch_size: Annotated[int, Field(ge=1)]
    """Samples of one replica in one forward pass."""
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
    blend: dict[SourceName, Annotated[float, Field(ge=0)]]
    """Weight of each source of the token shards (`python`, `issue`); only ratios count, 0 leaves a source out.

    Empty: each weighs as much as it holds, so all are read equally often (StarCoder's choice, arXiv 2305.06161).
    """
    validate_every_steps: Annotated[int, Field(ge=1)]
    validation_batches: Annotated[int, Field(ge=1)]
    """Of micro_batch_size windows, of all sources together; with fewer batches than sources the smallest have none."""
    checkpoint_every_steps: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    start_from: Annotated[str, Field(min_length=1)] | None
    """A Hugging Face directory, from the workspace, whose weights the run begins with; None draws them by `seed`.

    The optimizer begins anew. What counts is the directory's content, not its name.
    """

    @property
    def global_batch_size(self) -> int:
        """Samples in one optimizer step, over all replicas and accumulations."""
        return self.micro_batch_size * self.accumulation_steps * self.layout.data

    @model_validator(mode="after")
    def _schedule_is_sound(self) -> "PretrainConfig":
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(f"min_learning_rate {self.min_learning_rate} is above learning_rate {self.learning_rate}")
        if self.warmup_steps >= self.num_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below num_steps {self.num_steps}")
        if self.blend and not any(self.blend.values()):
            raise ValueError("blend leaves every source out; give one a weight above 0, or {} for all by their size")
        return self
