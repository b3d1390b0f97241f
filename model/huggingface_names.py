"""Which of our parameters are which tensors of a Hugging Face model, and how their rows are arranged there.

GPTBigCode stacks queries, keys and values in one matrix. Starcoder2 has a matrix for each; ours keeps the key and the
value of a key/value head next to each other, so that tensor-parallel ranks can be dealt whole heads.

Shapes: O outputs, G key/value heads, D head size.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from model.config import ModelConfig

How = Literal["equal", "stacked", "interleaved"]


@dataclass(frozen=True)
class Match:
    """Parameters of ours and tensors of theirs that hold the same numbers."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    how: How
    """equal: one for one; stacked: theirs is ours one below the other; interleaved: ours takes turns, D rows each."""


_GPT_BIGCODE: Mapping[str, str] = MappingProxyType(
    {
        "tokens": "transformer.wte",
        "positions": "transformer.wpe",
        "blocks": "transformer.h",
        "attention_norm": "ln_1",
        "attention.query attention.key_value": "attn.c_attn",
        "attention.output": "attn.c_proj",
        "feed_forward_norm": "ln_2",
        "feed_forward.widen": "mlp.c_fc",
        "feed_forward.narrow": "mlp.c_proj",
        "final_norm": "transformer.ln_f",
        "head": "lm_head",
    }
)
_STARCODER2: Mapping[str, str] = MappingProxyType(
    {
        "tokens": "model.embed_tokens",
        "blocks": "model.layers",
        "attention_norm": "input_layernorm",
        "attention.query": "self_attn.q_proj",
        "attention.key_value": "self_attn.k_proj self_attn.v_proj",
        "attention.output": "self_attn.o_proj",
        "feed_forward_norm": "post_attention_layernorm",
        "feed_forward.widen": "mlp.c_fc",
        "feed_forward.narrow": "mlp.c_proj",
        "final_norm": "model.norm",
        "head": "lm_head",
    }
)
NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType({"gpt_bigcode": _GPT_BIGCODE, "starcoder2": _STARCODER2})
"""By family: our module to theirs, several of one for one of the other. Modules in a block stand without the block."""

_BARE = ("tokens", "positions", "head")
"""Modules that have a weight and no bias."""

TIED_HEAD = "lm_head.weight"
EMBEDDING: Mapping[str, str] = MappingProxyType(
    {family: f"{names['tokens']}.weight" for family, names in NAMES.items()}
)
"""The tensor that a tied head equals."""


def matches(config: ModelConfig) -> Iterator[Match]:
    """Every parameter of the model once, in the order in which a token meets them."""
    names = NAMES[config.family]
    inside = [module for module in names if module.startswith(("attention", "feed_forward"))]
    yield from _matches_of(names, "tokens")
    if config.rope_theta is None:
        yield from _matches_of(names, "positions")
    for number in range(config.num_layers):
        for module in inside:
            yield from _matches_of(names, module, f"blocks.{number}.", f"{names['blocks']}.{number}.")
    yield from _matches_of(names, "final_norm")
    if not config.tied_head:
        yield from _matches_of(names, "head")


def _matches_of(names: Mapping[str, str], modules: str, ours_in: str = "", theirs_in: str = "") -> Iterator[Match]:
    ours, theirs = modules.split(), names[modules].split()
    how: How = "stacked" if len(ours) > 1 else "interleaved" if len(theirs) > 1 else "equal"
    for kind in ("weight",) if modules in _BARE else ("weight", "bias"):
        yield Match(
            tuple(f"{ours_in}{module}.{kind}" for module in ours),
            tuple(f"{theirs_in}{module}.{kind}" for module in theirs),
            how,
        )


def to_theirs(match: Match, ours: Sequence[Tensor], config: ModelConfig) -> list[Tensor]:
    """The tensors of `match.theirs`, out of those of `match.ours`."""
    if match.how == "stacked":
        return [torch.cat(list(ours))]
    if match.how == "interleaved":
        key, value = ours[0].unflatten(0, (config.num_key_value_heads, 2, config.head_size)).unbind(1)
        return [key.flatten(0, 1), value.flatten(0, 1)]
    return list(ours)


def to_ours(match: Match, theirs: Sequence[Tensor], config: ModelConfig) -> list[Tensor]:
    """The tensors of `match.ours`, out of those of `match.theirs`."""
    if match.how == "stacked":
        return list(theirs[0].split([config.hidden_size, 2 * config.head_size]))
    if match.how == "interleaved":
        key, value = (part.unflatten(0, (config.num_key_value_heads, config.head_size)) for part in theirs)
        return [torch.stack([key, value], dim=1).flatten(0, 2)]
    return list(theirs)
