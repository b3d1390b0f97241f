"""Continue a prompt, one token at a time, with a key/value cache: greedy, or drawn from the nucleus.

V: vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.key_value_cache import KeyValueCache
from model.special_tokens import END_OF_TEXT
from model.transformer import CodeModel


class GenerationError(Exception):
    """A continuation that cannot be made as asked; the message says what is allowed."""


@torch.inference_mode()
def generate(
    model: CodeModel,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop_ids: frozenset[int],
) -> list[int]:
    """The ids that follow the prompt: at most `max_new_tokens`, up to and without the first of `stop_ids`.

    Temperature 0 takes the likeliest token; above it, tokens are drawn by `seed` from the smallest set that
    holds `top_p` of the probability. A prompt that leaves no room in the context is cut on the left; an empty
    one starts a new document. GenerationError if no prompt token fits, or if a number is out of range.
    """
    _check(model, max_new_tokens, temperature, top_p)
    room = model.config.context_length_tokens - max_new_tokens
    unread = list(prompt_ids or [END_OF_TEXT])[-room:]
    device = model.head_weight.device
    cache = KeyValueCache(
        model.config,
        batch_size=1,
        capacity_tokens=len(unread) + max_new_tokens,
        dtype=model.head_weight.dtype,
        device=device,
    )
    generator = torch.Generator().manual_seed(seed)
    answer: list[int] = []
    while len(answer) < max_new_tokens:
        logits_V = model.next_token_logits(torch.tensor([unread], device=device), cache)[0]
        token = _choose(logits_V.float().cpu(), temperature, top_p, generator)
        if token in stop_ids:
            break
        answer.append(token)
        unread = [token]
    return answer


def _check(model: CodeModel, max_new_tokens: int, temperature: float, top_p: float) -> None:
    context = model.config.context_length_tokens
    if not 1 <= max_new_tokens < context:
        raise GenerationError(
            f"max_new_tokens {max_new_tokens} must be from 1 to {context - 1}, one below the model's context"
        )
    if not 0.0 <= temperature < float("inf"):
        raise GenerationError(f"temperature {temperature} must be 0 (greedy) or above")
    if not 0.0 < top_p <= 1.0:
        raise GenerationError(f"top_p {top_p} must be above 0 and at most 1")


def _choose(logits_V: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    if temperature == 0.0:
        return int(logits_V.argmax())
    probabilities_V, ids_V = torch.softmax(logits_V / temperature, dim=0).sort(descending=True, stable=True)
    before_V = probabilities_V.cumsum(0) - probabilities_V
    nucleus_V = probabilities_V.masked_fill(before_V >= top_p, 0.0)
    return int(ids_V[torch.multinomial(nucleus_V, 1, generator=generator)])
