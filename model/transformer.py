"""The network: the decoder of StarCoder and StarCoder2 in plain PyTorch, its first weights and its loss.

Pre-LayerNorm blocks, GELU, biases everywhere, no dropout. One transformer serves both families: they
differ in how positions are told (learned rows or rotated pairs), in how many key/value heads there are, in the window
of attention and in whether the head is the embedding. The layers come in parts that several ranks may share
(`tensor_parallel.py`); alone, each is the plain layer.

Shapes, as suffixes of tensor names:
    B  sequences            C  hidden size            H  query heads of this rank
    T  tokens of this call  F  feed-forward size      G  key/value heads of this rank
    S  tokens seen so far   V  vocabulary             D  head size
"""

import hashlib
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from model.attention import attend, rotate, rotation
from model.config import ModelConfig
from model.key_value_cache import KeyValueCache, LayerCache
from model.loss import cross_entropy
from model.special_tokens import END_OF_TEXT
from model.tensor_parallel import (
    ALONE,
    ColumnParallelLinear,
    LayerNorm,
    ReplicatedLinear,
    RowParallelLinear,
    TensorGroup,
    VocabularyEmbedding,
    enter,
    on_own_tokens,
    own_tokens,
)


class Attention(nn.Module):
    """Query heads share key/value heads: all of them one (MQA), or some of them each (GQA)."""

    def __init__(self, config: ModelConfig, group: TensorGroup) -> None:
        super().__init__()
        self.config = config
        self.group = group
        self.num_heads = group.share(config.num_heads, "num_heads")
        key_value_size = 2 * config.num_key_value_heads * config.head_size
        self.query = ColumnParallelLinear(config.hidden_size, config.hidden_size, group, "hidden_size")
        # Too few key/value heads to share out: each rank computes them all, and its queries take what is theirs.
        self.is_shared_out = config.num_key_value_heads % group.size == 0
        self.key_value = (
            ColumnParallelLinear(config.hidden_size, key_value_size, group, "num_key_value_heads")
            if self.is_shared_out
            else ReplicatedLinear(config.hidden_size, key_value_size, group)
        )
        self.output = RowParallelLinear(config.hidden_size, config.hidden_size, group, "hidden_size")

    def forward(self, x_BTC: Tensor, documents_BT: Tensor | None, cache: LayerCache | None) -> Tensor:
        """Mix each token with those before it; with a cache, also with the tokens read in earlier calls."""
        x_BTC = enter(x_BTC, self.group)
        q_BTHD = self.query(x_BTC).unflatten(2, (self.num_heads, self.config.head_size))
        # Rows of the projection: of each key/value head first its key, then its value.
        kv_BTGXD = self.key_value(x_BTC).unflatten(2, (-1, 2, self.config.head_size))
        k_BTGD, v_BTGD = kv_BTGXD.unbind(3)
        if self.config.rope_theta is not None:
            start = cache.length if cache else 0
            positions_T = torch.arange(start, start + x_BTC.shape[1], device=x_BTC.device)
            angles = rotation(positions_T, self.config.head_size, self.config.rope_theta)
            q_BTHD, k_BTGD = rotate(q_BTHD, *angles), rotate(k_BTGD, *angles)
        k_BSGD, v_BSGD = cache.append(k_BTGD, v_BTGD) if cache else (k_BTGD, v_BTGD)
        if not self.is_shared_out and self.config.num_key_value_heads > 1:
            k_BSGD, v_BSGD = k_BSGD[:, :, self._own_heads()], v_BSGD[:, :, self._own_heads()]
        mixed_BTHD = attend(
            q_BTHD, k_BSGD, v_BSGD, window=self.config.attention_window_tokens, documents_BT=documents_BT
        )
        return self.output(mixed_BTHD.flatten(2))

    def _own_heads(self) -> list[int]:
        """The key/value head of each query head of this rank."""
        served = self.config.num_heads // self.config.num_key_value_heads
        first = self.group.rank * self.num_heads
        return [head // served for head in range(first, first + self.num_heads)]


class FeedForward(nn.Module):
    """Two linear maps around a GELU, on each token alone."""

    def __init__(self, config: ModelConfig, group: TensorGroup) -> None:
        super().__init__()
        self.group = group
        self.gelu_form = "tanh" if config.activation_function == "gelu_pytorch_tanh" else "none"
        self.widen = ColumnParallelLinear(config.hidden_size, config.feed_forward_size, group, "feed_forward_size")
        self.narrow = RowParallelLinear(config.feed_forward_size, config.hidden_size, group, "feed_forward_size")

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Widen, bend, narrow."""
        return self.narrow(F.gelu(self.widen(enter(x_BTC, self.group)), approximate=self.gelu_form))


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to what it read through a LayerNorm."""

    def __init__(self, config: ModelConfig, group: TensorGroup = ALONE) -> None:
        super().__init__()
        self.is_recomputed = False
        """Whether the backward pass computes the block again in place of keeping what it computed."""
        self.attention_norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon, group)
        self.attention = Attention(config, group)
        self.feed_forward_norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon, group)
        self.feed_forward = FeedForward(config, group)

    def forward(self, x_BTC: Tensor, documents_BT: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """Pass the residual stream on."""
        if self.is_recomputed and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(self._add_to, x_BTC, documents_BT, cache, use_reentrant=False))
        return self._add_to(x_BTC, documents_BT, cache)

    def _add_to(self, x_BTC: Tensor, documents_BT: Tensor | None, cache: LayerCache | None) -> Tensor:
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), documents_BT, cache)
        return x_BTC + self.feed_forward(self.feed_forward_norm(x_BTC))


class LearnedPositions(nn.Module):
    """A row of numbers for each place in the context, added to the token that stands there."""

    def __init__(self, config: ModelConfig, group: TensorGroup = ALONE) -> None:
        super().__init__()
        self.group = group
        self.weight = nn.Parameter(torch.empty(config.context_length_tokens, config.hidden_size))

    def forward(self, x_BTC: Tensor, start: int = 0) -> Tensor:
        """Add the rows of the tokens' places; the first token of the sequence stands at `start`."""
        num_tokens = x_BTC.shape[1] * (self.group.size if self.group.sequence_parallel else 1)
        weight = on_own_tokens(self.weight, self.group)
        return x_BTC + own_tokens(weight[start : start + num_tokens], self.group)


class CodeModel(nn.Module):
    """The language model. Its weights are arbitrary until `initialize` or `load_state_dict` has set them."""

    def __init__(self, config: ModelConfig, vocab_size: int, group: TensorGroup = ALONE) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.group = group
        self.tokens = VocabularyEmbedding(vocab_size, config.hidden_size, group)
        self.positions = LearnedPositions(config, group) if config.rope_theta is None else None
        self.blocks = nn.ModuleList(Block(config, group) for _ in range(config.num_layers))
        self.final_norm = LayerNorm(config.hidden_size, config.layer_norm_epsilon, group)
        self.head = None if config.tied_head else VocabularyEmbedding(vocab_size, config.hidden_size, group)

    def forward(self, tokens_BT: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """logits_BTV of the token after each; a cache supplies the tokens read before and takes these in."""
        return F.linear(self.hidden(tokens_BT, cache), self.head_weight)

    def next_token_logits(self, tokens_BT: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """logits_BV after the last token only: a long prompt costs no T x V table."""
        return F.linear(self.hidden(tokens_BT, cache)[:, -1], self.head_weight)

    def hidden(
        self, tokens_BT: Tensor, cache: KeyValueCache | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """The residual stream after the last LayerNorm, x_BTC; ValueError beyond the context."""
        start = cache.length if cache else 0
        end = start + tokens_BT.shape[1]
        if end > self.config.context_length_tokens:
            raise ValueError(f"{end} tokens do not fit the context of {self.config.context_length_tokens}")
        x_BTC = self.tokens(tokens_BT)
        if self.positions is not None:
            x_BTC = self.positions(x_BTC, start)
        layer_caches = cache.layers if cache else [None] * len(self.blocks)
        for block, layer_cache in zip(self.blocks, layer_caches, strict=True):
            x_BTC = block(x_BTC, documents_BT, layer_cache)
        return self.final_norm(x_BTC)

    def loss(
        self,
        tokens_BT: Tensor,
        targets_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        chunk_tokens: int = 2048,
        z_loss_weight: float = 0.0,
        compiled: bool = False,
    ) -> Tensor:
        """Mean cross-entropy in nats over targets that are not IGNORED_TARGET; summed up in float32."""
        x_NC = enter(self.hidden(tokens_BT, documents_BT=documents_BT), self.group).flatten(0, 1)
        return cross_entropy(
            x_NC,
            self.head_weight,
            targets_BT.flatten(),
            self.group,
            chunk_tokens=chunk_tokens,
            z_loss_weight=z_loss_weight,
            compiled=compiled,
        )

    @property
    def head_weight(self) -> Tensor:
        """What turns the residual stream into logits, (V, C)."""
        return (self.head or self.tokens).weight


def document_numbers(tokens_BT: Tensor) -> Tensor:
    """documents_BT: 0 for the first document of each sequence, one more after each end-of-text."""
    is_end_BT = tokens_BT == END_OF_TEXT
    return is_end_BT.cumsum(dim=1) - is_end_BT.long()


def parameter_shapes(config: ModelConfig, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """The shape of every whole parameter by its name, without building the model; a tied head is not among them."""
    with torch.device("meta"):
        model = CodeModel(config, vocab_size)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def initialize(model: CodeModel, config: ModelConfig, seed: int) -> None:
    """Set all weights of a model that is not shared; the same seed gives the same ones."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(initial_weight(name, parameter.shape, config, seed))


def initial_weight(name: str, shape: Sequence[int], config: ModelConfig, seed: int) -> Tensor:
    """The first value of the whole parameter `name`, float32: a function of seed, name and shape.

    Nothing else enters, neither order nor ranks, so any rank can draw a parameter and cut its part from it.
    Normal with `init_std`; output projections divided by sqrt(2 x num_layers), as the residual stream adds up
    that many of them (Megatron-LM's scaled init, used for all StarCoder models); biases 0, LayerNorm 1.
    """
    if name.endswith(".bias"):
        return torch.zeros(*shape)
    if name.endswith("_norm.weight"):
        return torch.ones(*shape)
    std = config.init_std
    if name.endswith((".output.weight", ".narrow.weight")):
        std /= math.sqrt(2 * config.num_layers)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(*shape, generator=generator) * std
