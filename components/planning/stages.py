"""Which part of the network each pipeline stage holds, and how many numbers of it one rank."""

from dataclasses import dataclass

from model.config import ModelConfig, ParallelLayout


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline; the first holds the embedding, the last one the head."""

    number: int
    num_stages: int
    num_blocks: int

    @property
    def is_first(self) -> bool:
        """Whether tokens enter here."""
        return self.number == 0

    @property
    def is_last(self) -> bool:
        """Whether the loss is computed here."""
        return self.number == self.num_stages - 1


def stages_of(model: ModelConfig, layout: ParallelLayout) -> tuple[Stage, ...]:
    """Blocks are dealt out as evenly as can be, the earlier stages first (DeepSpeed's `partition_balanced`)."""
    each, rest = divmod(model.num_layers, layout.pipeline)
    return tuple(Stage(number, layout.pipeline, each + (number < rest)) for number in range(layout.pipeline))


def key_value_numbers(model: ModelConfig, tensor: int) -> int:
    """Keys and values of one token on one rank: shared out if there are enough heads, else every rank has them all."""
    numbers = 2 * model.num_key_value_heads * model.head_size
    return numbers // tensor if model.num_key_value_heads % tensor == 0 else numbers


def block_parameters(model: ModelConfig, tensor: int) -> int:
    """Numbers of one block on one rank (`model/transformer.py`)."""
    hidden, wide = model.hidden_size, model.feed_forward_size
    attention = (
        (hidden + 1) * (hidden // tensor + key_value_numbers(model, tensor)) + hidden * hidden // tensor + hidden
    )
    feed_forward = (hidden + 1) * wide // tensor + wide * hidden // tensor + hidden
    return attention + feed_forward + 4 * hidden


def stage_parameters(stage: Stage, model: ModelConfig, vocab_size: int, tensor: int) -> int:
    """Numbers of one rank of the stage. A tied head is the embedding; at the far end of a pipeline it is a copy."""
    table = vocab_size // tensor * model.hidden_size
    numbers = stage.num_blocks * block_parameters(model, tensor)
    if stage.is_first:
        numbers += table
        if model.rope_theta is None:
            numbers += model.context_length_tokens * model.hidden_size
    if stage.is_last:
        numbers += 2 * model.hidden_size
        if not (model.tied_head and stage.is_first):
            numbers += table
    return numbers
