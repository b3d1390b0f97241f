"""Sizes, causality, the cache, the first weights and the loss."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import ModelConfig
from model.key_value_cache import KeyValueCache
from model.special_tokens import IGNORED_TARGET
from model.transformer import CodeModel, initial_weight, initialize, parameter_count

VOCAB_SIZE = 60


def gpt_bigcode(num_layers, hidden_size, num_heads, context_length_tokens):
    return ModelConfig(
        family="gpt_bigcode",
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=num_heads,
        feed_forward_size=4 * hidden_size,
        context_length_tokens=context_length_tokens,
        layer_norm_epsilon=1e-5,
        init_std=0.02,
    )


def initialized(config, seed=1):
    model = CodeModel(config, VOCAB_SIZE)
    initialize(model, config, seed)
    return model


def random_tokens(batch_size, length, seed=0):
    return torch.randint(VOCAB_SIZE, (batch_size, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("config", "vocab_size", "expected"),
    [
        pytest.param(gpt_bigcode(24, 2048, 16, 2048), 49_280, 1_124_886_528, id="SantaCoder"),
        pytest.param(gpt_bigcode(24, 2048, 16, 8192), 49_152, 1_137_207_296, id="StarCoderBase-1B"),
        pytest.param(gpt_bigcode(36, 2816, 22, 8192), 49_152, 3_043_311_104, id="StarCoderBase-3B"),
        pytest.param(gpt_bigcode(42, 4096, 32, 8192), 49_152, 7_327_263_232, id="StarCoderBase-7B"),
        pytest.param(gpt_bigcode(40, 6144, 48, 8192), 49_152, 15_517_456_384, id="StarCoder"),
        pytest.param(gpt_bigcode(20, 768, 12, 8192), 49_152, 164_144_128, id="tiny_starcoder_py"),
    ],
)
def test_published_models_have_the_published_number_of_parameters(config, vocab_size, expected):
    with torch.device("meta"):
        model = CodeModel(config, vocab_size)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert parameter_count(config, vocab_size) == expected


def test_the_number_of_parameters_counts_any_feed_forward_size(small_config):
    model = CodeModel(small_config, VOCAB_SIZE)
    assert parameter_count(small_config, VOCAB_SIZE) == sum(p.numel() for p in model.parameters())


def test_a_token_never_sees_those_after_it(small_config):
    model = initialized(small_config)
    tokens = random_tokens(2, 20)
    changed = tokens.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % VOCAB_SIZE
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().amax() > 1e-2


@given(cuts=st.sets(st.integers(1, 23)), batch_size=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_reading_in_pieces_gives_the_logits_of_reading_at_once(small_config, cuts, batch_size, seed):
    model = initialized(small_config, seed)
    tokens = random_tokens(batch_size, 24, seed)
    cache = KeyValueCache(small_config, batch_size, capacity_tokens=24)
    borders = [0, *sorted(cuts), 24]
    with torch.no_grad():
        pieces = [model(tokens[:, start:end], cache) for start, end in pairwise(borders)]
        whole = model(tokens)
    assert cache.length == 24
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_next_token_logits_are_the_last_row(small_config):
    model = initialized(small_config)
    tokens = random_tokens(3, 9)
    with torch.no_grad():
        torch.testing.assert_close(model.next_token_logits(tokens), model(tokens)[:, -1])


@torch.no_grad()
def test_more_tokens_than_the_context_are_refused(small_config):
    model = initialized(small_config)
    with pytest.raises(ValueError, match="33 tokens do not fit the context of 32"):
        model(random_tokens(1, 33))
    cache = KeyValueCache(small_config, 1, capacity_tokens=40)
    model(random_tokens(1, 32), cache)
    with pytest.raises(ValueError, match="33 tokens do not fit"):
        model(random_tokens(1, 1), cache)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(small_config):
    torch.manual_seed(5)
    once = initialized(small_config, seed=7).state_dict()
    torch.manual_seed(6)
    again = initialized(small_config, seed=7).state_dict()
    other = initialized(small_config, seed=8).state_dict()
    assert all(torch.equal(once[name], again[name]) for name in once)
    drawn = [name for name in once if once[name].ndim == 2]
    assert not any(torch.equal(once[name], other[name]) for name in drawn)


def test_a_weight_can_be_drawn_alone(small_config):
    name = "transformer.h.1.attn.c_attn.weight"
    weights = initialized(small_config, seed=7).state_dict()
    assert torch.equal(initial_weight(name, (40, 24), small_config, seed=7), weights[name])


def test_no_two_weights_are_alike(small_config):
    weights = initialized(small_config).state_dict()
    firsts = [tensor.flatten()[0].item() for tensor in weights.values() if tensor.ndim == 2]
    assert len(set(firsts)) == len(firsts) == 2 + 4 * small_config.num_layers


def test_first_weights_have_the_asked_deviation_and_output_projections_less():
    config = gpt_bigcode(8, 128, 4, 64)
    for name, expected in {
        "transformer.wte.weight": 0.02,
        "transformer.h.3.mlp.c_fc.weight": 0.02,
        "transformer.h.3.attn.c_proj.weight": 0.02 / math.sqrt(16),
        "transformer.h.3.mlp.c_proj.weight": 0.02 / math.sqrt(16),
    }.items():
        drawn = initial_weight(name, (512, 128), config, seed=3)
        assert drawn.std().item() == pytest.approx(expected, rel=0.02)
        assert abs(drawn.mean().item()) < expected / 50
    assert not initial_weight("transformer.h.0.ln_1.bias", (128,), config, seed=3).any()
    assert not initial_weight("transformer.h.0.attn.c_attn.bias", (192,), config, seed=3).any()
    assert (initial_weight("transformer.ln_f.weight", (128,), config, seed=3) == 1).all()


def test_the_loss_is_the_mean_over_targets_that_count(small_config):
    model = initialized(small_config)
    tokens, targets = random_tokens(2, 10), random_tokens(2, 10, seed=1)
    targets[0, 3:] = IGNORED_TARGET
    with torch.no_grad():
        loss = model.loss(tokens, targets)
        log_probabilities = model(tokens).log_softmax(-1)
    nats = [
        -log_probabilities[row, column, targets[row, column]]
        for row in range(2)
        for column in range(10)
        if targets[row, column] != IGNORED_TARGET
    ]
    assert len(nats) == 13
    torch.testing.assert_close(loss, torch.stack(nats).mean())


def test_every_parameter_gets_a_gradient(small_config):
    model = initialized(small_config)
    model.loss(random_tokens(2, 32), random_tokens(2, 32, seed=1)).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_a_few_steps_learn_a_pattern_by_heart(small_config):
    model = initialized(small_config)
    pattern = torch.arange(8).repeat(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(pattern[:, :-1], pattern[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
