"""What `config.json` says about a model, in both directions: both families, as transformers 4 and 5 write it.

What a model of ours does not have (other activations, scaled rotary angles, attention to another model) is refused by
name rather than left out: a model that loads computes what its maker computed.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from pydantic import ValidationError

from model.config import ModelConfig
from model.special_tokens import END_OF_TEXT

CONFIG_FILE = "config.json"
DEFAULT_ROPE_THETA = 10_000.0
"""Where `config.json` is silent; of transformers 4 and 5."""


class BundleError(Exception):
    """A directory that does not hold a model of ours; one sentence with the file, the value and the mend."""


_GPT_BIGCODE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "num_layers": "n_layer",
        "hidden_size": "n_embd",
        "num_heads": "n_head",
        "feed_forward_size": "n_inner",
        "context_length_tokens": "n_positions",
        "layer_norm_epsilon": "layer_norm_epsilon",
        "init_std": "initializer_range",
    }
)
_STARCODER2_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "num_layers": "num_hidden_layers",
        "hidden_size": "hidden_size",
        "num_heads": "num_attention_heads",
        "num_key_value_heads": "num_key_value_heads",
        "feed_forward_size": "intermediate_size",
        "context_length_tokens": "max_position_embeddings",
        "layer_norm_epsilon": "norm_epsilon",
        "init_std": "initializer_range",
    }
)
_REQUIRED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gpt_bigcode": {
            "activation_function": "gelu_pytorch_tanh",
            "add_cross_attention": False,
            "multi_query": True,
            "scale_attn_weights": True,
        },
        "starcoder2": {
            "hidden_act": "gelu_pytorch_tanh",
            "mlp_type": "default",
            "norm_type": "layer_norm",
            "use_bias": True,
        },
    }
)
"""What a `config.json` must say, or leave to the same default, to be a model of ours."""


def config_json(config: ModelConfig, vocab_size: int, dtype: str) -> dict[str, Any]:
    """What `config.json` holds; no dropout, as starloom trains without."""
    is_starcoder2 = config.family == "starcoder2"
    keys = _STARCODER2_KEYS if is_starcoder2 else _GPT_BIGCODE_KEYS
    return {
        **_REQUIRED[config.family],
        **{theirs: getattr(config, ours) for ours, theirs in keys.items()},
        **(_starcoder2_only(config) if is_starcoder2 else _gpt_bigcode_only()),
        "bos_token_id": END_OF_TEXT,
        "dtype": dtype,
        "eos_token_id": END_OF_TEXT,
        "model_type": config.family,
        "tie_word_embeddings": config.tied_head,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def _gpt_bigcode_only() -> dict[str, Any]:
    return {
        "architectures": ["GPTBigCodeForCausalLM"],
        "attention_softmax_in_fp32": True,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "num_key_value_heads": 1,
        "resid_pdrop": 0.0,
        "scale_attention_softmax_in_fp32": True,
    }


def _starcoder2_only(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": ["Starcoder2ForCausalLM"],
        "attention_dropout": 0.0,
        "embedding_dropout": 0.0,
        "residual_dropout": 0.0,
        # transformers 4 and vLLM ask for the one, transformers 5 for the other.
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "rope_theta": config.rope_theta,
        "sliding_window": config.attention_window_tokens,
    }


def generation_config_json() -> dict[str, Any]:
    """What `generation_config.json` holds: greedy until end-of-text."""
    return {"bos_token_id": END_OF_TEXT, "eos_token_id": END_OF_TEXT, "do_sample": False}


def read_bundle_config(path: Path) -> tuple[ModelConfig, int]:
    """The model in a Hugging Face directory and the size of its vocabulary, its weights unseen; BundleError."""
    file = path / CONFIG_FILE
    try:
        said: Any = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} cannot be read ({error}); export the model again") from None
    if not isinstance(said, dict):
        raise BundleError(f"{file} is not a JSON object; export the model again")
    return read_config_json(cast("dict[str, Any]", said), file)


def read_config_json(said: Mapping[str, Any], path: Path) -> tuple[ModelConfig, int]:
    """The model and its vocabulary's size; BundleError, which names `path`, for anything that is not ours."""
    family: Any = said.get("model_type")
    if family not in _REQUIRED:
        raise BundleError(f"{path} has model_type {family!r}; only {' and '.join(_REQUIRED)} can be read")
    for key, required in _REQUIRED[family].items():
        if said.get(key, required) != required:
            raise BundleError(f"{path} has {key} {said[key]!r}; only models with {required!r} can be read")
    read: Callable[..., dict[str, Any]] = _read_starcoder2 if family == "starcoder2" else _read_gpt_bigcode
    try:
        fields = read(said, path)
        config = ModelConfig(family=family, tied_head=said.get("tie_word_embeddings", True), **fields)
        vocab_size = _positive(said["vocab_size"])
    except KeyError as error:
        raise BundleError(f"{path} has no {error.args[0]}; export the model again") from None
    except (TypeError, ValueError) as error:
        reason = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise BundleError(f"{path} describes no model ({reason}); export the model again") from None
    if said.get("head_dim", config.head_size) not in (None, config.head_size):
        raise BundleError(f"{path} has head_dim {said['head_dim']!r}; only models with {config.head_size} can be read")
    return config, vocab_size


def _read_gpt_bigcode(said: Mapping[str, Any], _path: Path) -> dict[str, Any]:
    fields = {ours: said[theirs] for ours, theirs in _GPT_BIGCODE_KEYS.items() if theirs != "n_inner"}
    return {
        **fields,
        "num_key_value_heads": 1,
        "feed_forward_size": said.get("n_inner") or 4 * said["n_embd"],
        "rope_theta": None,
        "attention_window_tokens": None,
    }


def _read_starcoder2(said: Mapping[str, Any], path: Path) -> dict[str, Any]:
    fields = {ours: said[theirs] for ours, theirs in _STARCODER2_KEYS.items()}
    # transformers 4 has rope_theta and rope_scaling, transformers 5 has both in rope_parameters.
    rope: Any = said.get("rope_parameters") or said.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise TypeError(f"rotary parameters are {rope!r}")
    rope = cast("dict[str, Any]", rope)
    kind = rope.get("rope_type", rope.get("type", "default"))
    turned = rope.get("partial_rotary_factor", said.get("partial_rotary_factor", 1.0))
    if kind != "default" or turned != 1.0:
        raise BundleError(f"{path} has rotary parameters {rope!r}; only whole heads and the type 'default' can be read")
    return {
        **fields,
        "rope_theta": rope.get("rope_theta", said.get("rope_theta", DEFAULT_ROPE_THETA)),
        "attention_window_tokens": said.get("sliding_window"),
    }


def _positive(vocab_size: int) -> int:
    if vocab_size < 1:
        raise ValueError(f"vocab_size {vocab_size} is below 1")
    return vocab_size
