"""transformers reads what we write and computes the same; we read what it writes."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPTBigCodeConfig, GPTBigCodeForCausalLM

from model.config import ModelConfig
from model.generate import generate
from model.huggingface_format import BundleError, load_bundle, save_bundle
from model.special_tokens import END_OF_TEXT
from model.transformer import CodeModel, initialize

VOCAB_SIZE = 70


def config_of(num_layers, hidden_size, num_heads, feed_forward_size, epsilon=1e-5):
    return ModelConfig(
        family="gpt_bigcode",
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=num_heads,
        feed_forward_size=feed_forward_size,
        context_length_tokens=48,
        layer_norm_epsilon=epsilon,
        init_std=0.15,
    )


def random_model(config, seed=2):
    """Every weight is random, biases and norms too, so that none can be lost or swapped unseen."""
    model = CodeModel(config, VOCAB_SIZE)
    initialize(model, config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tokens_of(seed, batch_size=2, length=40):
    return torch.randint(VOCAB_SIZE, (batch_size, length), generator=torch.Generator().manual_seed(seed))


def mend_config(path, **changes):
    said = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(said | changes))


@pytest.fixture
def bundle(tmp_path, small_config):
    save_bundle(tmp_path, small_config, VOCAB_SIZE, random_model(small_config).state_dict(), "float32")
    return tmp_path


@pytest.mark.parametrize(
    "config",
    [
        config_of(1, 8, 1, 8),
        config_of(3, 40, 5, 24),
        config_of(2, 64, 16, 256, epsilon=1e-2),
        config_of(4, 48, 2, 192),
        config_of(2, 36, 3, 100),
    ],
    ids=lambda config: f"{config.num_layers}x{config.hidden_size}x{config.num_heads}",
)
def test_transformers_computes_the_same_logits(tmp_path, config):
    model = random_model(config)
    save_bundle(tmp_path, config, VOCAB_SIZE, model.state_dict(), "float32")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs) is GPTBigCodeForCausalLM
    tokens = tokens_of(seed=1)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_transformers_generates_the_same_tokens(bundle, seed):
    ours = load_bundle(bundle)
    theirs = AutoModelForCausalLM.from_pretrained(bundle)
    prompt = tokens_of(seed, batch_size=1, length=7)
    expected = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, pad_token_id=END_OF_TEXT
    )[0, 7:].tolist()
    expected = expected[: expected.index(END_OF_TEXT)] if END_OF_TEXT in expected else expected
    assert generate(ours, prompt[0].tolist(), 20, stop_ids=frozenset({END_OF_TEXT})) == expected
    assert expected


def test_what_transformers_writes_is_read(tmp_path):
    torch.manual_seed(3)
    theirs = GPTBigCodeForCausalLM(
        GPTBigCodeConfig(vocab_size=VOCAB_SIZE, n_positions=48, n_embd=24, n_layer=2, n_head=3, initializer_range=0.2)
    ).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_bundle(tmp_path)
    assert ours.config.feed_forward_size == 96
    tokens = tokens_of(seed=4)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


def test_a_bundle_comes_back_bit_by_bit(bundle, small_config):
    model, loaded = random_model(small_config), load_bundle(bundle)
    assert loaded.config == small_config
    assert loaded.vocab_size == VOCAB_SIZE
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_a_loaded_model_does_not_stand_on_its_file(bundle):
    loaded = load_bundle(bundle)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    size = (bundle / "model.safetensors").stat().st_size
    with (bundle / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())


def test_a_tied_head_is_omitted_and_accepted(bundle, small_config, tmp_path_factory):
    weights = load_file(bundle / "model.safetensors")
    assert "lm_head.weight" not in weights
    weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()
    save_file(weights, bundle / "model.safetensors", metadata={"format": "pt"})
    with_head = load_bundle(bundle)
    again = tmp_path_factory.mktemp("again")
    save_bundle(again, small_config, VOCAB_SIZE, weights, "float32")
    assert "lm_head.weight" not in load_file(again / "model.safetensors")
    tokens = tokens_of(seed=5, length=32)
    with torch.no_grad():
        assert torch.equal(with_head(tokens), load_bundle(again)(tokens))


def test_the_same_weights_give_the_same_bytes(bundle, small_config, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    weights = dict(reversed(random_model(small_config).state_dict().items()))
    save_bundle(again, small_config, VOCAB_SIZE, weights, "float32")
    files = sorted(path.name for path in bundle.iterdir())
    assert files == ["bundle.json", "config.json", "generation_config.json", "model.safetensors"]
    for name in files:
        assert (bundle / name).read_bytes() == (again / name).read_bytes()


def test_bundle_json_says_the_model_in_our_words(bundle, small_config):
    said = json.loads((bundle / "bundle.json").read_text())
    assert said == {"format": 1, "model": small_config.model_dump(mode="json"), "vocab_size": VOCAB_SIZE}


def test_bfloat16_weights_are_half_the_size_and_read_as_float32(bundle, small_config, tmp_path_factory):
    small = tmp_path_factory.mktemp("small")
    save_bundle(small, small_config, VOCAB_SIZE, random_model(small_config).state_dict(), "bfloat16")
    assert {tensor.dtype for tensor in load_file(small / "model.safetensors").values()} == {torch.bfloat16}
    assert AutoModelForCausalLM.from_pretrained(small).dtype == torch.bfloat16
    full, rounded = load_bundle(bundle).state_dict(), load_bundle(small).state_dict()
    for name, tensor in full.items():
        assert torch.equal(rounded[name], tensor.bfloat16().float())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'; only models with 'gpt_bigcode'"),
        ({"multi_query": False}, "multi_query False"),
        ({"activation_function": "gelu"}, "activation_function 'gelu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings False"),
        ({"n_head": 5}, "hidden_size 24 is not divisible by num_heads 5"),
        ({"n_layer": "many"}, "describes no model"),
        ({"n_embd": None}, "describes no model"),
        ({"vocab_size": -3}, "vocab_size -3 is below 1"),
        ({"vocab_size": 71}, r"transformer\.wte\.weight of shape \(70, 24\), not \(71, 24\)"),
        ({"n_layer": 3}, r"lacks the weight transformer\.h\.2\."),
        ({"n_layer": 1}, r"holds transformer\.h\.1\..*, which is no weight"),
    ],
)
def test_another_kind_of_model_is_refused(bundle, changes, said):
    mend_config(bundle, **changes)
    with pytest.raises(BundleError, match=said):
        load_bundle(bundle)


@pytest.mark.parametrize("damage", ["absent", "not json", "a list", "incomplete"])
def test_a_damaged_config_is_named(bundle, damage):
    path = bundle / "config.json"
    match damage:
        case "absent":
            path.unlink()
        case "not json":
            path.write_bytes(b"\xff{")
        case "a list":
            path.write_text("[]")
        case _:
            path.write_text("{}")
    with pytest.raises(BundleError, match=r"config\.json .*; export the model again"):
        load_bundle(bundle)


@pytest.mark.parametrize("content", [None, b"", b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!"])
def test_damaged_weights_are_named(bundle, content):
    path = bundle / "model.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.safetensors cannot be read"):
        load_bundle(bundle)


def test_weights_that_are_not_finite_are_never_written(tmp_path, small_config):
    weights = random_model(small_config).state_dict()
    weights["transformer.ln_f.bias"][3] = float("nan")
    with pytest.raises(BundleError, match=r"transformer\.ln_f\.bias with values that are not finite"):
        save_bundle(tmp_path, small_config, VOCAB_SIZE, weights, "float32")
    assert list(tmp_path.iterdir()) == []
