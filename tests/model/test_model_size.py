"""Parameters as published and as built, work as others counted it."""

import pytest
import torch

from model.config import ModelConfig
from model.model_size import forward_flops_per_token, parameter_count, seen_tokens
from model.transformer import CodeModel
from tests.model.random_models import FAMILIES, random_config


def gpt_bigcode(num_layers, hidden_size, num_heads, context_length_tokens):
    return ModelConfig(
        family="gpt_bigcode",
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_key_value_heads=1,
        feed_forward_size=4 * hidden_size,
        context_length_tokens=context_length_tokens,
        rope_theta=None,
        attention_window_tokens=None,
        tied_head=True,
        activation_function="gelu_pytorch_tanh",
        layer_norm_epsilon=1e-5,
        init_std=0.02,
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(15))
def test_the_count_is_that_of_the_built_model(family, seed):
    config = random_config(family, seed)
    with torch.device("meta"):
        model = CodeModel(config, 70)
    assert parameter_count(config, 70) == sum(parameter.numel() for parameter in model.parameters())


def test_tiny_starcoder_has_the_published_number_of_parameters():
    """The large models stand in params/, see tests/components/test_published_runs.py; this one has no file."""
    assert parameter_count(gpt_bigcode(20, 768, 12, 8192), 49_152) == 164_144_128


def test_starcoderbase_takes_what_bigcodes_formula_says():
    """Megatron-LM's formula as in BigCode's fork, for 20 (MQA) and with both passes: 116.9 GFLOP a token at 8,192."""
    config, sequence = gpt_bigcode(40, 6144, 48, 8192), 8192
    layers, hidden, head, vocab = 40, 6144, 128, 49_152
    published = 3 * layers * hidden**2 * (20 + 4 * sequence / hidden + 4 * head / hidden) + 6 * hidden * vocab
    assert published == pytest.approx(116.9e9, rel=1e-3)
    assert 3 * forward_flops_per_token(config, vocab, sequence, "full") == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(("sequence", "expected"), [(2048, 7.32e9), (8192, 9.14e9)])
def test_a_billion_parameters_take_less_where_pairs_are_counted_once(sequence, expected):
    config = gpt_bigcode(24, 2048, 16, 8192)
    assert 3 * forward_flops_per_token(config, 49_152, sequence, "causal") == pytest.approx(expected, rel=2e-3)


def test_weights_alone_are_twice_the_parameters_that_multiply():
    config = gpt_bigcode(40, 6144, 48, 8192)
    counted = forward_flops_per_token(config, 49_152, 8192, "weights")
    positions = 8192 * 6144
    assert counted == pytest.approx(2 * (parameter_count(config, 49_152) - positions), rel=1e-3)


@pytest.mark.parametrize(("sequence", "window"), [(1, None), (7, None), (7, 1), (7, 3), (7, 7), (7, 20)])
def test_seen_tokens_are_counted_as_if_one_by_one(sequence, window):
    counts = [min(place + 1, window or sequence) for place in range(sequence)]
    assert seen_tokens(sequence, window) == pytest.approx(sum(counts) / sequence)


def test_a_window_saves_work_only_beyond_it():
    wide = random_config("starcoder2", 1).model_copy(update={"attention_window_tokens": None})
    narrow = wide.model_copy(update={"attention_window_tokens": 8})
    assert forward_flops_per_token(wide, 70, 8) == forward_flops_per_token(narrow, 70, 8)
    assert forward_flops_per_token(wide, 70, 32) > forward_flops_per_token(narrow, 70, 32)
