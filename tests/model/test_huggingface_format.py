"""What a bundle holds, what comes back of it, and which directories are refused with which words."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from model.huggingface_format import BundleError, load_bundle, save_bundle
from tests.model.random_models import FAMILIES, VOCAB_SIZE, random_model, random_tokens

SHARD_BYTES = 10**9


@pytest.fixture(params=FAMILIES)
def config(request, small_config, small_starcoder2):
    return {"gpt_bigcode": small_config, "starcoder2": small_starcoder2}[request.param]


@pytest.fixture
def bundle(tmp_path, config):
    return written(tmp_path, config)


@pytest.fixture
def gpt_bigcode(tmp_path, small_config):
    return written(tmp_path, small_config)


def written(path, config, dtype="float32", shard_bytes=SHARD_BYTES, weights=None):
    save_bundle(path, config, VOCAB_SIZE, weights or random_model(config).state_dict(), dtype, shard_bytes)
    return path


def mend_config(path, **changes):
    said = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(said | changes))


def test_a_bundle_comes_back_bit_by_bit(bundle, config):
    model, loaded = random_model(config), load_bundle(bundle)
    assert loaded.config == config
    assert loaded.vocab_size == VOCAB_SIZE
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_files_are_no_larger_than_asked_and_together_they_are_the_model(bundle, config, tmp_path_factory):
    sharded = tmp_path_factory.mktemp("sharded")
    files = save_bundle(sharded, config, VOCAB_SIZE, random_model(config).state_dict(), "float32", shard_bytes=9_000)
    assert len(files) > 2
    assert files == sorted(sharded.glob("*.safetensors"))
    for file in files:
        tensors = load_file(file).values()
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors) <= 9_000
    whole, parts = load_file(bundle / "model.safetensors"), {}
    for file in files:
        parts |= load_file(file)
    assert all(torch.equal(parts.pop(name), tensor) for name, tensor in whole.items())
    assert parts == {}
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())
    assert all(name in load_file(sharded / file) for name, file in index["weight_map"].items())


def test_a_loaded_model_does_not_stand_on_its_file(bundle):
    loaded = load_bundle(bundle)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    size = (bundle / "model.safetensors").stat().st_size
    with (bundle / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())


def test_a_tied_head_is_omitted_and_accepted(gpt_bigcode):
    weights = load_file(gpt_bigcode / "model.safetensors")
    assert "lm_head.weight" not in weights
    without_head = load_bundle(gpt_bigcode)
    weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()
    save_file(weights, gpt_bigcode / "model.safetensors", metadata={"format": "pt"})
    tokens = random_tokens(5, 2, 32)
    with torch.no_grad():
        assert torch.equal(load_bundle(gpt_bigcode)(tokens), without_head(tokens))


def test_a_head_that_is_said_to_be_tied_and_differs_is_refused(gpt_bigcode):
    weights = load_file(gpt_bigcode / "model.safetensors")
    weights["lm_head.weight"] = weights["transformer.wte.weight"] + 1e-3
    save_file(weights, gpt_bigcode / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"differs from transformer\.wte\.weight.*set tie_word_embeddings there to f"):
        load_bundle(gpt_bigcode)
    mend_config(gpt_bigcode, tie_word_embeddings=False)
    loaded = load_bundle(gpt_bigcode)
    assert not loaded.config.tied_head
    assert torch.equal(loaded.head_weight, weights["lm_head.weight"])


def test_an_untied_head_must_be_there(tmp_path, small_starcoder2):
    written(tmp_path, small_starcoder2)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"lacks the weight lm_head\.weight"):
        load_bundle(tmp_path)


def test_the_same_weights_give_the_same_bytes(bundle, config, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    written(again, config, weights=dict(reversed(random_model(config).state_dict().items())))
    files = sorted(path.name for path in bundle.iterdir())
    assert files == ["bundle.json", "config.json", "generation_config.json", "model.safetensors"]
    for name in files:
        assert (bundle / name).read_bytes() == (again / name).read_bytes()


def test_bundle_json_says_the_model_in_our_words(bundle, config):
    said = json.loads((bundle / "bundle.json").read_text())
    assert said == {"format": 2, "model": config.model_dump(mode="json"), "vocab_size": VOCAB_SIZE}


def test_bfloat16_weights_are_half_the_size_and_read_as_float32(bundle, config, tmp_path_factory):
    small = tmp_path_factory.mktemp("small")
    written(small, config, "bfloat16")
    assert {tensor.dtype for tensor in load_file(small / "model.safetensors").values()} == {torch.bfloat16}
    assert AutoModelForCausalLM.from_pretrained(small).dtype == torch.bfloat16
    full, rounded = load_bundle(bundle).state_dict(), load_bundle(small).state_dict()
    kept = load_bundle(small, dtype=torch.bfloat16).state_dict()
    for name, tensor in full.items():
        assert torch.equal(rounded[name], tensor.bfloat16().float())
        assert torch.equal(kept[name], tensor.bfloat16())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'; only gpt_bigcode and starcoder2 can be read"),
        ({"n_head": 5}, "hidden_size 24 is not divisible by num_heads 5"),
        ({"vocab_size": 71}, r"transformer\.wte\.weight of shape \(70, 24\), not \(71, 24\)"),
        ({"n_layer": 3}, r"lacks the weight transformer\.h\.2\."),
        ({"n_layer": 1}, r"holds transformer\.h\.1\..*, which is no weight"),
    ],
)
def test_weights_of_another_shape_are_refused(gpt_bigcode, changes, said):
    mend_config(gpt_bigcode, **changes)
    with pytest.raises(BundleError, match=said):
        load_bundle(gpt_bigcode)


@pytest.mark.parametrize("damage", ["absent", "not json", "a list", "incomplete"])
def test_a_damaged_config_is_named(gpt_bigcode, damage):
    path = gpt_bigcode / "config.json"
    match damage:
        case "absent":
            path.unlink()
        case "not json":
            path.write_bytes(b"\xff{")
        case "a list":
            path.write_text("[]")
        case _:
            path.write_text('{"model_type": "gpt_bigcode"}')
    with pytest.raises(BundleError, match=r"config\.json .*; export the model again"):
        load_bundle(gpt_bigcode)


@pytest.mark.parametrize("content", [None, b"", b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!"])
def test_damaged_weights_are_named(gpt_bigcode, content):
    path = gpt_bigcode / "model.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.safetensors cannot be read .*; export the model again"):
        load_bundle(gpt_bigcode)


def test_a_shard_that_is_cut_short_is_named(tmp_path, small_config):
    written(tmp_path, small_config, shard_bytes=9_000)
    shard = max(tmp_path.glob("model-00002-of-*"))
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(BundleError, match=r"model-00002-of-.* cannot be read .*; export the model again"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights["final_norm.bias"].fill_(float("nan")), r"final_norm\.bias with values that are not"),
        (lambda weights: weights.pop("tokens.weight"), r"lacks the weight tokens\.weight"),
        (lambda weights: weights.update(more=torch.zeros(1)), "holds more, which is no weight"),
        (lambda weights: weights.update({"final_norm.bias": torch.zeros(3)}), r"final_norm\.bias of shape \(3,\), not"),
    ],
)
def test_weights_that_are_no_model_are_never_written(tmp_path, config, change, said):
    weights = random_model(config).state_dict()
    change(weights)
    with pytest.raises(BundleError, match=said):
        written(tmp_path, config, weights=weights)
    assert list(tmp_path.iterdir()) == []
