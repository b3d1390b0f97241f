"""config.json of both families, in the forms of transformers 4 and 5, and what it must not say."""

from pathlib import Path

import pytest

from model.huggingface_config import BundleError, config_json, read_config_json
from tests.model.random_models import FAMILIES, random_config

PATH = Path("somewhere/config.json")

STARCODER2_3B = {
    "architectures": ["Starcoder2ForCausalLM"],
    "attention_dropout": 0.1,
    "bos_token_id": 0,
    "embedding_dropout": 0.1,
    "eos_token_id": 0,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 3072,
    "initializer_range": 0.018042,
    "intermediate_size": 12288,
    "max_position_embeddings": 16384,
    "mlp_type": "default",
    "model_type": "starcoder2",
    "norm_epsilon": 1e-5,
    "norm_type": "layer_norm",
    "num_attention_heads": 24,
    "num_hidden_layers": 30,
    "num_key_value_heads": 2,
    "residual_dropout": 0.1,
    "rope_theta": 999999.4420358813,
    "sliding_window": 4096,
    "transformers_version": "4.37.0",
    "use_bias": True,
    "use_cache": True,
    "vocab_size": 49152,
}
"""As the hub has it: transformers 4, nothing said about the head."""

SANTACODER = {
    "activation_function": "gelu_pytorch_tanh",
    "architectures": ["GPTBigCodeForCausalLM"],
    "attention_softmax_in_fp32": True,
    "attn_pdrop": 0.1,
    "initializer_range": 0.02,
    "inference_runner": 0,
    "layer_norm_epsilon": 1e-5,
    "model_type": "gpt_bigcode",
    "multi_query": True,
    "n_embd": 2048,
    "n_head": 16,
    "n_inner": None,
    "n_layer": 24,
    "n_positions": 2048,
    "scale_attn_weights": True,
    "vocab_size": 49280,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(20))
def test_what_is_said_is_read(family, seed):
    config = random_config(family, seed)
    assert read_config_json(config_json(config, 99, "float32"), PATH) == (config, 99)


def test_the_configs_of_the_hub_are_read():
    config, vocab_size = read_config_json(STARCODER2_3B, PATH)
    assert vocab_size == 49_152
    assert config.tied_head
    assert config.rope_theta == 999999.4420358813
    assert config.attention_window_tokens == 4096
    config, vocab_size = read_config_json(SANTACODER, PATH)
    assert vocab_size == 49_280
    assert config.tied_head
    assert config.feed_forward_size == 8192


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("gelu", "gelu"), *((tanh, "gelu_pytorch_tanh") for tanh in ("gelu_pytorch_tanh", "gelu_new", "gelu_fast"))],
)
def test_every_form_of_gelu_is_read_as_the_function_that_it_is(theirs, ours):
    assert read_config_json(SANTACODER | {"activation_function": theirs}, PATH)[0].activation_function == ours
    assert read_config_json(STARCODER2_3B | {"hidden_act": theirs}, PATH)[0].activation_function == ours


@pytest.mark.parametrize(
    ("said", "theta"),
    [
        ({"rope_theta": 5e5}, 5e5),
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5),
        ({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5),
        ({"rope_theta": 5e5, "rope_parameters": {"rope_type": "default"}}, 5e5),
        ({}, 1e4),
    ],
)
def test_the_base_of_the_angles_is_found_in_every_form(said, theta):
    from transformers import Starcoder2Config  # noqa: PLC0415 - the peer of this test alone

    rest = {key: value for key, value in STARCODER2_3B.items() if key != "rope_theta"}
    assert read_config_json(rest | said, PATH)[0].rope_theta == theta
    assert Starcoder2Config(**rest, **said).rope_parameters["rope_theta"] == theta


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        (SANTACODER, {"model_type": None}, "model_type None; only gpt_bigcode and starcoder2"),
        (SANTACODER, {"multi_query": False}, "multi_query False; only models with True"),
        (SANTACODER, {"activation_function": "relu"}, "'relu'; only models with gelu, gelu_pytorch_tanh"),
        (SANTACODER, {"add_cross_attention": True}, "add_cross_attention True"),
        (SANTACODER, {"n_layer": "many"}, "describes no model"),
        (SANTACODER, {"n_embd": None}, "describes no model"),
        (SANTACODER, {"vocab_size": -3}, "vocab_size -3 is below 1"),
        (SANTACODER, {"tie_word_embeddings": "maybe"}, "describes no model"),
        (STARCODER2_3B, {"use_bias": False}, "use_bias False"),
        (STARCODER2_3B, {"hidden_act": "silu"}, "hidden_act 'silu'"),
        (STARCODER2_3B, {"norm_type": "rms_norm"}, "norm_type 'rms_norm'"),
        (STARCODER2_3B, {"head_dim": 64}, "head_dim 64; only models with 128"),
        (STARCODER2_3B, {"num_attention_heads": 0}, "describes no model"),
        (STARCODER2_3B, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rotary parameters .*linear"),
        (STARCODER2_3B, {"rope_parameters": {"rope_theta": 1e4, "rope_type": "yarn"}}, "rotary parameters .*yarn"),
        (STARCODER2_3B, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "only whole heads"),
        (STARCODER2_3B, {"rope_parameters": [1]}, "describes no model"),
        (STARCODER2_3B, {"sliding_window": 0}, "describes no model"),
    ],
)
def test_what_is_not_ours_is_refused_by_name(base, changes, said):
    with pytest.raises(BundleError, match=said):
        read_config_json(base | changes, PATH)


@pytest.mark.parametrize("key", ["n_layer", "n_embd", "vocab_size", "layer_norm_epsilon"])
def test_a_missing_key_is_named(key):
    incomplete = {name: value for name, value in SANTACODER.items() if name != key}
    with pytest.raises(BundleError, match=f"has no {key}; export the model again"):
        read_config_json(incomplete, PATH)
