"""Random shapes of both families, and models whose every weight is random."""

import random

import torch

from model.config import ModelConfig
from model.transformer import CodeModel, initialize

FAMILIES = ("gpt_bigcode", "starcoder2")
VOCAB_SIZE = 70


def random_config(family, seed):
    """Any shape that the family allows, small; windows are often smaller than the context."""
    draw = random.Random(f"{family} {seed}")
    is_starcoder2 = family == "starcoder2"
    num_key_value_heads = draw.randint(1, 4) if is_starcoder2 else 1
    num_heads = num_key_value_heads * draw.randint(1, 5)
    head_size = 2 * draw.randint(1, 8) if is_starcoder2 else draw.randint(1, 16)
    context = draw.randint(16, 48)
    return ModelConfig(
        family=family,
        num_layers=draw.randint(1, 4),
        hidden_size=num_heads * head_size * (1 if num_heads * head_size >= 8 else 8),
        num_heads=num_heads,
        num_key_value_heads=num_key_value_heads,
        feed_forward_size=draw.randint(8, 150),
        context_length_tokens=context,
        rope_theta=10 ** draw.uniform(1, 6) if is_starcoder2 else None,
        attention_window_tokens=draw.choice([None, draw.randint(1, 12), context]) if is_starcoder2 else None,
        tied_head=draw.random() < 0.5,
        activation_function=draw.choice(["gelu_pytorch_tanh", "gelu"]),
        layer_norm_epsilon=10 ** draw.uniform(-6, -2),
        init_std=0.1,
    )


def random_model(config, seed=2, vocab_size=VOCAB_SIZE):
    """Every weight is random, biases and norms too, so that none can be lost or swapped unseen."""
    model = CodeModel(config, vocab_size)
    initialize(model, config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def random_tokens(seed, batch_size, length, vocab_size=VOCAB_SIZE):
    return torch.randint(vocab_size, (batch_size, length), generator=torch.Generator().manual_seed(seed))
