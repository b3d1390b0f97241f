"""The network as a row of layers, each fed with what the one before it gave: what a pipeline deals out to its stages.

Between layers runs the residual stream x_BTC, with documents_BT beside it where attention stays within documents.
Names of parameters are those of `CodeModel`, so that a weight is the same weight in every layout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from model.config import ModelConfig, PretrainConfig
from model.loss import cross_entropy
from model.tensor_parallel import LayerNorm, TensorGroup, VocabularyEmbedding, enter
from model.transformer import Block, LearnedPositions, document_numbers

Stream = Tensor | tuple[Tensor, Tensor]


class PipelineTokens(VocabularyEmbedding):
    """The embedding; at the end of the pipeline, where the head is tied to it, its weight alone is used."""

    def __init__(self, vocab_size: int, hidden_size: int, group: TensorGroup, within_documents: bool) -> None:
        super().__init__(vocab_size, hidden_size, group)
        self.within_documents = within_documents

    def forward(self, tokens_BT: Tensor) -> Any:
        """Open the stream."""
        x_BTC = super().forward(tokens_BT)
        return (x_BTC, document_numbers(tokens_BT)) if self.within_documents else x_BTC


class PipelinePositions(LearnedPositions):
    """Learned positions on the stream."""

    def forward(self, stream: Stream) -> Stream:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Add them."""
        return _on_stream(super().forward, stream)


class PipelineBlock(Block):
    """A block on the stream."""

    def forward(self, stream: Stream) -> Stream:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Pass it on."""
        if isinstance(stream, tuple):
            return super().forward(*stream), stream[1]
        return super().forward(stream)


class PipelineNorm(LayerNorm):
    """The last LayerNorm; it closes the stream."""

    def forward(self, stream: Stream) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The residual stream alone."""
        return super().forward(stream[0] if isinstance(stream, tuple) else stream)


class PipelineHead(VocabularyEmbedding):
    """A head of its own."""

    def forward(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the loss is computed from."""
        return _for_the_loss(self, x_BTC)


@dataclass(frozen=True)
class Layer:
    """One layer of the row: how it is built, and what its parameters' names begin with."""

    name: str
    kind: type[nn.Module]
    arguments: tuple[Any, ...]
    is_shared: bool = False
    """Whether the first and the last stage both hold it."""
    as_head: Callable[[Any, Tensor], tuple[Tensor, Tensor]] | None = None
    """How it is used as head, at the end of the row."""


def layers_of(config: ModelConfig, vocab_size: int, group: TensorGroup, within_documents: bool) -> list[Layer]:
    """The row of layers, first to last; only those of its own stage are built by a rank."""
    table = (vocab_size, config.hidden_size, group)
    norm = (config.hidden_size, config.layer_norm_epsilon, group)
    tokens = Layer("tokens", PipelineTokens, (*table, within_documents), is_shared=config.tied_head)
    row = [tokens]
    if config.rope_theta is None:
        row.append(Layer("positions", PipelinePositions, (config, group)))
    row += [Layer(f"blocks.{number}", PipelineBlock, (config, group)) for number in range(config.num_layers)]
    row.append(Layer("final_norm", PipelineNorm, norm))
    if config.tied_head:
        return [*row, Layer("tokens", PipelineTokens, tokens.arguments, is_shared=True, as_head=_for_the_loss)]
    return [*row, Layer("head", PipelineHead, table)]


def loss_of(config: PretrainConfig, group: TensorGroup) -> Callable[[tuple[Tensor, Tensor], Tensor], Tensor]:
    """What the last stage computes of the last layer's outputs and the targets_BT: the mean nats per token."""

    def loss(outputs: tuple[Tensor, Tensor], targets_BT: Tensor) -> Tensor:
        x_BTC, head_VC = outputs
        return cross_entropy(
            x_BTC.flatten(0, 1),
            head_VC,
            targets_BT.flatten(),
            group,
            chunk_tokens=config.loss_chunk_tokens,
            z_loss_weight=config.z_loss_weight,
            compiled=config.compile_blocks,
        )

    return loss


def _for_the_loss(head: VocabularyEmbedding, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
    """A view of the weight and not the weight, for DeepSpeed clears gradients when the first of a layer's outputs gets
    one, and looks only at outputs that were computed: the weight's own gradient would be there before and be lost.
    """
    return enter(x_BTC, head.group), head.weight.view_as(head.weight)


def _on_stream(layer: Callable[[Tensor], Tensor], stream: Stream) -> Stream:
    return (layer(stream[0]), stream[1]) if isinstance(stream, tuple) else layer(stream)
