"""Causality, windows, documents, the first weights and the loss, for both families."""

import math

import pytest
import torch

from model.key_value_cache import KeyValueCache
from model.special_tokens import END_OF_TEXT, IGNORED_TARGET
from model.transformer import CodeModel, document_numbers, initial_weight, initialize, parameter_shapes
from tests.model.random_models import FAMILIES, random_config, random_model, random_tokens

VOCAB_SIZE = 60


@pytest.fixture(params=FAMILIES)
def config(request, small_config, small_starcoder2):
    return {"gpt_bigcode": small_config, "starcoder2": small_starcoder2}[request.param]


def initialized(config, seed=1):
    model = CodeModel(config, VOCAB_SIZE)
    initialize(model, config, seed)
    return model


def tokens_of(batch_size, length, seed=0):
    return random_tokens(seed, batch_size, length, VOCAB_SIZE)


def changed_rows(model, tokens, place, **settings):
    """For each position whether its output moves when the token at `place` becomes another."""
    other = tokens.clone()
    other[:, place] = (other[:, place] + 1) % VOCAB_SIZE
    with torch.no_grad():
        before, after = model.hidden(tokens, **settings), model.hidden(other, **settings)
    return [bool(moved) for moved in ((before - after).abs().amax(dim=(0, 2)) > 1e-6)]


def test_a_token_never_sees_those_after_it(config):
    moved = changed_rows(initialized(config), tokens_of(2, 20), 12)
    assert moved[:12] == [False] * 12
    assert moved[12]
    assert moved[13]


def test_each_layer_reaches_a_window_further(small_starcoder2):
    """Two layers with a window of six: a token reaches five places on in each."""
    moved = changed_rows(initialized(small_starcoder2), tokens_of(1, 32), 3)
    assert moved == [3 <= place <= 3 + 2 * 5 for place in range(32)]


def test_a_document_does_not_see_those_before_it_where_they_are_numbered(config):
    tokens = tokens_of(2, 20).clamp(min=1)
    tokens[:, 8] = END_OF_TEXT
    model, documents = initialized(config), document_numbers(tokens)
    assert documents[0].tolist() == [0] * 9 + [1] * 11
    assert changed_rows(model, tokens, 7, documents_BT=documents)[9:] == [False] * 11
    assert changed_rows(model, tokens, 7)[9]


def test_documents_are_numbered_from_each_end_of_text_on():
    tokens = torch.tensor([[5, END_OF_TEXT, 6, END_OF_TEXT, END_OF_TEXT, 7], [END_OF_TEXT, 1, 2, 3, 4, END_OF_TEXT]])
    assert document_numbers(tokens).tolist() == [[0, 0, 1, 1, 2, 3], [0, 1, 1, 1, 1, 1]]


def test_learned_positions_tell_places_apart_and_rotation_only_distances(small_config, small_starcoder2):
    same = torch.full((1, 12), 7)
    with torch.no_grad():
        learned, rotated = (initialized(config).hidden(same)[0] for config in (small_config, small_starcoder2))
    assert (learned[3] - learned[9]).abs().amax() > 1e-2
    torch.testing.assert_close(rotated[3], rotated[9])


def test_next_token_logits_are_the_last_row(config):
    model, tokens = initialized(config), tokens_of(3, 9)
    with torch.no_grad():
        torch.testing.assert_close(model.next_token_logits(tokens), model(tokens)[:, -1])


@torch.no_grad()
def test_more_tokens_than_the_context_are_refused(config):
    model = initialized(config)
    with pytest.raises(ValueError, match="33 tokens do not fit the context of 32"):
        model(tokens_of(1, 33))
    cache = KeyValueCache(config, 1, capacity_tokens=40)
    model(tokens_of(1, 32), cache)
    with pytest.raises(ValueError, match="33 tokens do not fit"):
        model(tokens_of(1, 1), cache)


def test_a_tied_head_is_the_embedding_and_an_untied_one_is_not(small_config, small_starcoder2):
    tied, untied = initialized(small_config), initialized(small_starcoder2)
    assert tied.head_weight is tied.tokens.weight
    assert untied.head_weight is not untied.tokens.weight
    assert untied.head_weight.shape == untied.tokens.weight.shape


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(config):
    torch.manual_seed(5)
    once = initialized(config, seed=7).state_dict()
    torch.manual_seed(6)
    again = initialized(config, seed=7).state_dict()
    other = initialized(config, seed=8).state_dict()
    assert all(torch.equal(once[name], again[name]) for name in once)
    drawn = [name for name in once if once[name].ndim == 2]
    assert not any(torch.equal(once[name], other[name]) for name in drawn)


def test_a_weight_can_be_drawn_alone(config):
    weights = initialized(config, seed=7).state_dict()
    for name, shape in parameter_shapes(config, VOCAB_SIZE).items():
        assert torch.equal(initial_weight(name, shape, config, seed=7), weights[name])


def test_no_two_weights_are_alike(config):
    weights = initialized(config).state_dict()
    firsts = [tensor.flatten()[0].item() for tensor in weights.values() if tensor.ndim == 2]
    tables = 2  # embedding, and positions or head
    assert len(set(firsts)) == len(firsts) == tables + 5 * config.num_layers


@pytest.mark.parametrize("family", FAMILIES)
def test_first_weights_have_the_asked_deviation_and_output_projections_less(family):
    config = random_config(family, 0).model_copy(update={"num_layers": 8, "init_std": 0.02})
    for name, expected in {
        "tokens.weight": 0.02,
        "blocks.3.attention.key_value.weight": 0.02,
        "blocks.3.feed_forward.widen.weight": 0.02,
        "blocks.3.attention.output.weight": 0.02 / math.sqrt(16),
        "blocks.3.feed_forward.narrow.weight": 0.02 / math.sqrt(16),
    }.items():
        drawn = initial_weight(name, (512, 128), config, seed=3)
        assert drawn.std().item() == pytest.approx(expected, rel=0.02)
        assert abs(drawn.mean().item()) < expected / 50
    assert not initial_weight("blocks.0.attention_norm.bias", (128,), config, seed=3).any()
    assert not initial_weight("blocks.0.attention.query.bias", (192,), config, seed=3).any()
    assert (initial_weight("final_norm.weight", (128,), config, seed=3) == 1).all()


@pytest.mark.parametrize("chunk_tokens", [1, 7, 2048])
def test_the_loss_is_the_mean_over_targets_that_count(config, chunk_tokens):
    model = initialized(config)
    tokens, targets = tokens_of(2, 10), tokens_of(2, 10, seed=1)
    targets[0, 3:] = IGNORED_TARGET
    with torch.no_grad():
        loss = model.loss(tokens, targets, chunk_tokens=chunk_tokens)
        log_probabilities = model(tokens).log_softmax(-1)
    nats = [
        -log_probabilities[row, column, targets[row, column]]
        for row in range(2)
        for column in range(10)
        if targets[row, column] != IGNORED_TARGET
    ]
    assert len(nats) == 13
    torch.testing.assert_close(loss, torch.stack(nats).mean())


def test_every_parameter_gets_a_gradient(config):
    model = initialized(config)
    model.loss(tokens_of(2, 32), tokens_of(2, 32, seed=1)).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_that_are_computed_again_have_the_same_gradients(family):
    config = random_config(family, 3)
    gradients = []
    for is_recomputed in (False, True):
        model = random_model(config)
        for block in model.blocks:
            block.is_recomputed = is_recomputed
        model.loss(random_tokens(1, 2, 16), random_tokens(2, 2, 16)).backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_a_few_steps_learn_a_pattern_by_heart(config):
    model = initialized(config)
    pattern = torch.arange(8).repeat(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(pattern[:, :-1], pattern[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
