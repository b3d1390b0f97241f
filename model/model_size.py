"""How large a model is and how much work a token is: arithmetic on its shape, without building it."""

from typing import Literal

from model.config import ModelConfig

Counted = Literal["causal", "full", "weights"]


def parameter_count(config: ModelConfig, vocab_size: int) -> int:
    """Trainable numbers; a tied head counts once."""
    hidden, wide = config.hidden_size, config.feed_forward_size
    key_value_size = 2 * config.num_key_value_heads * config.head_size
    attention = 2 * (hidden + 1) * hidden + (hidden + 1) * key_value_size
    feed_forward = (hidden + 1) * wide + (wide + 1) * hidden
    norm = 2 * hidden
    positions = config.context_length_tokens * hidden if config.rope_theta is None else 0
    tables = vocab_size * hidden * (1 if config.tied_head else 2)
    return tables + positions + config.num_layers * (attention + feed_forward + 2 * norm) + norm


def forward_flops_per_token(
    config: ModelConfig, vocab_size: int, sequence_tokens: int, counted: Counted = "causal"
) -> float:
    """Multiplications and additions of one token's forward pass; a backward pass takes twice as many.

    Matrix products only, as in Megatron-LM (arXiv 2104.04473, section 5.1): two operations for each weight, and four
    for each pair of tokens, head and number of a head. `causal` counts the pairs that are seen, `full` all pairs of the
    sequence as BigCode's logs did, `weights` none, which is the usual 2N of 6N.
    """
    hidden = config.hidden_size
    key_value_size = 2 * config.num_key_value_heads * config.head_size
    weights = hidden * (2 * hidden + key_value_size + 2 * config.feed_forward_size)
    pairs = {
        "causal": seen_tokens(sequence_tokens, config.attention_window_tokens),
        "full": float(sequence_tokens),
        "weights": 0.0,
    }[counted]
    return config.num_layers * (2 * weights + 4 * pairs * hidden) + 2 * hidden * vocab_size


def seen_tokens(sequence_tokens: int, window_tokens: int | None) -> float:
    """How many tokens a token sees on average, itself included."""
    window = min(window_tokens or sequence_tokens, sequence_tokens)
    return window - window * (window - 1) / (2 * sequence_tokens)
