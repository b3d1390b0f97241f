"""transformers reads what we write, we read what it writes, and both compute and say the same: on random shapes."""

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from model.huggingface_config import config_json
from model.huggingface_format import load_bundle, save_bundle
from model.key_value_cache import KeyValueCache
from model.special_tokens import END_OF_TEXT
from tests.model.random_models import FAMILIES, VOCAB_SIZE, random_config, random_model, random_tokens

SHAPES = [pytest.param(family, seed, id=f"{family}-{seed}") for family in FAMILIES for seed in range(50)]
TOLERANCE = 1e-5
CLASSES = {"gpt_bigcode": transformers.GPTBigCodeForCausalLM, "starcoder2": transformers.Starcoder2ForCausalLM}
CONFIGS = {"gpt_bigcode": transformers.GPTBigCodeConfig, "starcoder2": transformers.Starcoder2Config}


def largest_difference(ours, theirs, tokens):
    with torch.no_grad():
        logits, expected = ours(tokens), theirs(tokens).logits
    assert logits.std() > 0.05, "the logits are all alike, so the comparison shows nothing"
    return (logits - expected).abs().max().item()


@pytest.mark.parametrize(("family", "seed"), SHAPES)
def test_transformers_computes_the_logits_of_what_we_write(tmp_path, family, seed):
    config = random_config(family, seed)
    model = random_model(config, seed)
    save_bundle(tmp_path, config, VOCAB_SIZE, model.state_dict(), "float32", shard_bytes=4_000 * (seed % 5 + 1))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs) is CLASSES[family]
    tokens = random_tokens(seed, 2, config.context_length_tokens)
    assert largest_difference(model, theirs, tokens) < TOLERANCE


@pytest.mark.parametrize(("family", "seed"), SHAPES)
def test_we_compute_the_logits_of_what_transformers_writes(tmp_path, family, seed):
    config = random_config(family, seed)
    torch.manual_seed(seed)
    theirs = CLASSES[family](CONFIGS[family](**config_json(config, VOCAB_SIZE, "float32"))).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path, max_shard_size=4_000 * (seed % 5 + 1))
    ours = load_bundle(tmp_path)
    assert ours.config == config
    tokens = random_tokens(seed, 2, config.context_length_tokens)
    assert largest_difference(ours, theirs, tokens) < TOLERANCE


@pytest.mark.parametrize(("family", "seed"), [shape for shape in SHAPES if shape.values[1] < 20])
def test_greedy_generation_says_the_same_tokens(tmp_path, family, seed):
    config = random_config(family, seed)
    batch_size, num_read = seed % 3 + 1, seed % 7 + 1
    num_new = config.context_length_tokens - num_read
    model = random_model(config, seed)
    save_bundle(tmp_path, config, VOCAB_SIZE, model.state_dict(), "float32", shard_bytes=10**6)
    prompt = random_tokens(seed, batch_size, num_read)
    expected = AutoModelForCausalLM.from_pretrained(tmp_path).generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=num_new,
        min_new_tokens=num_new,
        eos_token_id=None,
        pad_token_id=END_OF_TEXT,
        do_sample=False,
    )
    assert torch.equal(greedy(model, prompt, num_new), expected[:, num_read:])


@torch.no_grad()
def greedy(model, prompt, num_new):
    """The likeliest tokens for all sequences of a batch, each token read once."""
    cache = KeyValueCache(model.config, len(prompt), capacity_tokens=prompt.shape[1] + num_new)
    said, unread = [], prompt
    for _ in range(num_new):
        unread = model.next_token_logits(unread, cache).argmax(dim=1, keepdim=True)
        said.append(unread)
    return torch.cat(said, dim=1)
