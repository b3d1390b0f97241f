"""Decoding with a key/value cache against the transformers library, with the same weights and the same cache.

Two layers of SantaCoder (2,048 wide, 16 heads of 128 over one key/value head) near the end of its context, and of its
vocabulary the share of two of 24 layers. The cache is filled with the same random numbers on both sides, so that only
decoding is timed; in float32 both must say the same tokens.
"""

import torch
from transformers import DynamicCache

from benchmarks.comparison import Comparison, alternate
from benchmarks.network import models
from model.config import ModelConfig
from model.key_value_cache import KeyValueCache
from model.transformer import CodeModel

SEEN_TOKENS, NEW_TOKENS = 2000, 16
VOCAB_SIZE = 49_152 * 2 // 24
SHAPE = ModelConfig(
    family="gpt_bigcode",
    num_layers=2,
    hidden_size=2048,
    num_heads=16,
    num_key_value_heads=1,
    feed_forward_size=8192,
    context_length_tokens=2048,
    rope_theta=None,
    attention_window_tokens=None,
    tied_head=True,
    activation_function="gelu_pytorch_tanh",
    layer_norm_epsilon=1e-5,
    init_std=0.022,
)

Cached = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, (batch, SEEN_TOKENS, 1, head size)."""


def compare() -> list[Comparison]:
    """One sequence and many in float32, some in bfloat16."""
    torch.set_num_threads(1)
    return [_decoding(1, torch.float32), _decoding(32, torch.float32), _decoding(8, torch.bfloat16)]


def _decoding(batch_size: int, dtype: torch.dtype) -> Comparison:
    ours, peer = (model.to(dtype).eval() for model in models(SHAPE, VOCAB_SIZE))
    generator = torch.Generator().manual_seed(0)
    shape = (2, batch_size, SEEN_TOKENS, 1, SHAPE.head_size)
    seen: Cached = [tuple(torch.randn(shape, generator=generator).to(dtype)) for _ in range(SHAPE.num_layers)]
    first = torch.randint(VOCAB_SIZE, (batch_size, 1), generator=generator)
    said, peer_said = decode_ours(ours, seen, first), decode_peer(peer, seen, first)
    if dtype == torch.float32 and not torch.equal(said, peer_said):
        raise RuntimeError("the two models say different tokens, so their speed cannot be compared")
    seconds = alternate(lambda: decode_ours(ours, seen, first), lambda: decode_peer(peer, seen, first), repetitions=5)
    kind = "bf16" if dtype == torch.bfloat16 else "fp32"
    what = f"decoding behind {SEEN_TOKENS:,} tokens, batch {batch_size}, {kind}"
    return Comparison(what, "tokens/s", batch_size * NEW_TOKENS, "transformers GPTBigCode, sdpa", *seconds)


@torch.inference_mode()
def decode_ours(model: CodeModel, seen: Cached, unread: torch.Tensor) -> torch.Tensor:
    """The likeliest NEW_TOKENS of each sequence."""
    cache = KeyValueCache(model.config, len(unread), SEEN_TOKENS + NEW_TOKENS, dtype=model.head_weight.dtype)
    for layer, (keys, values) in zip(cache.layers, seen, strict=True):
        layer.append(keys, values)
    said: list[torch.Tensor] = []
    for _ in range(NEW_TOKENS):
        unread = model.next_token_logits(unread, cache).float().argmax(dim=1, keepdim=True)
        said.append(unread)
    return torch.cat(said, dim=1)


@torch.inference_mode()
def decode_peer(model: torch.nn.Module, seen: Cached, unread: torch.Tensor) -> torch.Tensor:
    """The same without what `generate` adds to each step."""
    cache = DynamicCache()
    for number, (keys, values) in enumerate(seen):
        cache.update(keys.transpose(1, 2), values.transpose(1, 2), number)
    said: list[torch.Tensor] = []
    for _ in range(NEW_TOKENS):
        logits = model(input_ids=unread, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        unread = logits[:, -1].float().argmax(dim=1, keepdim=True)
        said.append(unread)
    return torch.cat(said, dim=1)
