"""The network: a GPTBigCode decoder (StarCoder) in plain PyTorch, its first weights and its loss.

Pre-LayerNorm blocks, learned positions, multi-query attention, GELU in its tanh form, biases everywhere, the
output head tied to the embedding, no dropout. Parameters bear the names and the layout of Hugging Face's
GPTBigCode, so weights move in and out without a map.

Shapes, as suffixes of tensor names:
    B  sequences            C  hidden size              H  query heads
    T  tokens of this call  F  feed-forward size        D  head size, C / H
    S  tokens seen so far   V  vocabulary               1  the only key/value head
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ModelConfig
from model.key_value_cache import KeyValueCache, LayerCache
from model.special_tokens import IGNORED_TARGET


class MultiQueryAttention(nn.Module):
    """Causal attention in which all query heads share one head of keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.head_size = config.hidden_size // config.num_heads
        # Rows of the fused projection: all query heads, then the key head, then the value head.
        self.c_attn = nn.Linear(config.hidden_size, config.hidden_size + 2 * self.head_size)
        self.c_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTC: Tensor, cache: LayerCache | None) -> Tensor:
        """Mix each token with those before it; with a cache, also with the tokens read in earlier calls."""
        sizes = (self.num_heads * self.head_size, self.head_size, self.head_size)
        q_BTC, k_BTD, v_BTD = self.c_attn(x_BTC).split(sizes, dim=2)
        q_BTHD = q_BTC.unflatten(2, (self.num_heads, self.head_size))
        k_BSD, v_BSD = cache.append(k_BTD, v_BTD) if cache else (k_BTD, v_BTD)
        k_B1SD, v_B1SD = k_BSD.unsqueeze(1), v_BSD.unsqueeze(1)
        if q_BTHD.shape[1] == 1:
            mixed_BTHD = _attend_from_one_token(q_BTHD, k_B1SD, v_B1SD)
        else:
            mixed_BTHD = _attend(q_BTHD, k_B1SD, v_B1SD)
        return self.c_proj(mixed_BTHD.flatten(2))


def _attend(q_BTHD: Tensor, k_B1SD: Tensor, v_B1SD: Tensor) -> Tensor:
    """T tokens, the last of S, each look at themselves and at all before."""
    q_BHTD = q_BTHD.transpose(1, 2)
    num_heads, num_new, num_seen = q_BHTD.shape[1], q_BHTD.shape[2], k_B1SD.shape[2]
    k_BHSD, v_BHSD = (shared.expand(-1, num_heads, -1, -1) for shared in (k_B1SD, v_B1SD))
    if num_new == num_seen:
        mixed_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, is_causal=True)
    else:
        all_TS = torch.ones(num_new, num_seen, dtype=torch.bool, device=q_BTHD.device)
        visible_TS = all_TS.tril(num_seen - num_new)
        mixed_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, attn_mask=visible_TS)
    return mixed_BHTD.transpose(1, 2)


def _attend_from_one_token(q_B1HD: Tensor, k_B1SD: Tensor, v_B1SD: Tensor) -> Tensor:
    """The last token looks at all: its heads stand where queries stand, one matrix product per sequence."""
    return F.scaled_dot_product_attention(q_B1HD, k_B1SD, v_B1SD)


class FeedForward(nn.Module):
    """Two linear maps around a GELU, on each token alone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.hidden_size, config.feed_forward_size)
        self.c_proj = nn.Linear(config.feed_forward_size, config.hidden_size)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Widen, bend, narrow."""
        return self.c_proj(F.gelu(self.c_fc(x_BTC), approximate="tanh"))


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to what it read through a LayerNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attn = MultiQueryAttention(config)
        self.ln_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.mlp = FeedForward(config)

    def forward(self, x_BTC: Tensor, cache: LayerCache | None) -> Tensor:
        """Pass the residual stream on."""
        x_BTC = x_BTC + self.attn(self.ln_1(x_BTC), cache)
        return x_BTC + self.mlp(self.ln_2(x_BTC))


class Decoder(nn.Module):
    """Embeddings, blocks and the last LayerNorm: everything but the head."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, config.hidden_size)
        self.wpe = nn.Embedding(config.context_length_tokens, config.hidden_size)
        self.h = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.ln_f = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)

    def forward(self, tokens_BT: Tensor, cache: KeyValueCache | None) -> Tensor:
        """The residual stream after the last LayerNorm, x_BTC; ValueError beyond the context."""
        start = cache.length if cache else 0
        end = start + tokens_BT.shape[1]
        if end > self.wpe.num_embeddings:
            raise ValueError(f"{end} tokens do not fit the context of {self.wpe.num_embeddings}")
        positions_T = torch.arange(start, end, device=tokens_BT.device)
        x_BTC = self.wte(tokens_BT) + self.wpe(positions_T)
        layer_caches = cache.layers if cache else [None] * len(self.h)
        for block, layer_cache in zip(self.h, layer_caches, strict=True):
            x_BTC = block(x_BTC, layer_cache)
        return self.ln_f(x_BTC)


class CodeModel(nn.Module):
    """The language model. Its weights are arbitrary until `initialize` or `load_state_dict` has set them."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.transformer = Decoder(config, vocab_size)

    def forward(self, tokens_BT: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """logits_BTV of the token after each; a cache supplies the tokens read before and takes these in."""
        return self._head(self.transformer(tokens_BT, cache))

    def next_token_logits(self, tokens_BT: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """logits_BV after the last token only: a long prompt costs no T x V table."""
        return self._head(self.transformer(tokens_BT, cache)[:, -1])

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean cross-entropy in nats over targets that are not IGNORED_TARGET; summed up in float32."""
        logits_BTV = self(tokens_BT)
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=IGNORED_TARGET)

    def _head(self, x: Tensor) -> Tensor:
        return F.linear(x, self.transformer.wte.weight)


def parameter_count(config: ModelConfig, vocab_size: int) -> int:
    """Trainable numbers of a model, without building it; the tied head counts once."""
    hidden, wide = config.hidden_size, config.feed_forward_size
    head_size = hidden // config.num_heads
    attention = (hidden + 1) * (hidden + 2 * head_size) + (hidden + 1) * hidden
    feed_forward = (hidden + 1) * wide + (wide + 1) * hidden
    norm = 2 * hidden
    block = attention + feed_forward + 2 * norm
    return (vocab_size + config.context_length_tokens) * hidden + config.num_layers * block + norm


def initialize(model: CodeModel, config: ModelConfig, seed: int) -> None:
    """Set all weights; the same seed gives the same model, in whatever layout it will be trained."""
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
    if ".ln_" in name:
        return torch.ones(*shape)
    std = config.init_std
    if name.endswith(".c_proj.weight"):
        std /= math.sqrt(2 * config.num_layers)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(*shape, generator=generator) * std
