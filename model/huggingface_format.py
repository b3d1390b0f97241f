"""Weights as Hugging Face keeps them: `config.json`, `generation_config.json` and `model.safetensors`.

`bundle.json` beside them says the same in our own words, for readers without torch. The tied head is left out
when writing and may be present or absent when reading, as published StarCoder checkpoints differ in it.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from model.config import ModelConfig
from model.special_tokens import END_OF_TEXT
from model.transformer import CodeModel

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TIED_HEAD = "lm_head.weight"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_REQUIRED: dict[str, Any] = {
    "model_type": "gpt_bigcode",
    "multi_query": True,
    "activation_function": "gelu_pytorch_tanh",
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
}
"""What a `config.json` must say, or leave to the same default, to be a model of ours."""


class BundleError(Exception):
    """A directory that does not hold a model of ours; one sentence with the file, the value and the mend."""


def save_bundle(out: Path, config: ModelConfig, vocab_size: int, weights: dict[str, Tensor], dtype: str) -> None:
    """Write a model that `transformers` 5 loads as GPTBigCodeForCausalLM; the tokenizer's files come elsewhere.

    `weights` is CodeModel's state_dict, with or without the tied head; `dtype` is float32 or bfloat16. The
    same weights give the same bytes. BundleError if a weight is missing, unknown, of another shape or not finite.
    """
    untied = {name: tensor for name, tensor in weights.items() if name != TIED_HEAD}
    _check_weights(untied, config, vocab_size, str(out))
    _write_json(out / CONFIG_FILE, config_json(config, vocab_size, dtype))
    _write_json(out / "generation_config.json", generation_config_json())
    _write_json(out / "bundle.json", {"format": 1, "model": config.model_dump(mode="json"), "vocab_size": vocab_size})
    converted = {name: tensor.detach().to(_DTYPES[dtype]).contiguous() for name, tensor in untied.items()}
    save_file(converted, out / WEIGHTS_FILE, metadata={"format": "pt"})


def load_bundle(path: Path) -> CodeModel:
    """The model in a Hugging Face directory, in float32 and evaluation mode.

    BundleError if a file is missing or damaged, or if the model is of another kind.
    """
    config, vocab_size = _read_config(path / CONFIG_FILE)
    try:
        weights = load_file(path / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path / WEIGHTS_FILE} cannot be read ({error}); export the model again") from None
    weights.pop(TIED_HEAD, None)
    _check_weights(weights, config, vocab_size, str(path / WEIGHTS_FILE))
    # A copy even of float32, so that the model does not stand on a file that may change.
    weights = {name: tensor.to(torch.float32, copy=True) for name, tensor in weights.items()}
    with torch.device("meta"):
        model = CodeModel(config, vocab_size)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def config_json(config: ModelConfig, vocab_size: int, dtype: str) -> dict[str, Any]:
    """What `config.json` holds; no dropout, as starloom trains without."""
    return _REQUIRED | {
        "architectures": ["GPTBigCodeForCausalLM"],
        "add_cross_attention": False,
        "attention_softmax_in_fp32": True,
        "attn_pdrop": 0.0,
        "bos_token_id": END_OF_TEXT,
        "dtype": dtype,
        "embd_pdrop": 0.0,
        "eos_token_id": END_OF_TEXT,
        "initializer_range": config.init_std,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "n_embd": config.hidden_size,
        "n_head": config.num_heads,
        "n_inner": config.feed_forward_size,
        "n_layer": config.num_layers,
        "n_positions": config.context_length_tokens,
        "num_key_value_heads": 1,
        "resid_pdrop": 0.0,
        "scale_attention_softmax_in_fp32": True,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def generation_config_json() -> dict[str, Any]:
    """What `generation_config.json` holds: greedy until end-of-text."""
    return {"bos_token_id": END_OF_TEXT, "eos_token_id": END_OF_TEXT, "do_sample": False}


def _read_config(path: Path) -> tuple[ModelConfig, int]:
    said = _read_json_object(path)
    for key, required in _REQUIRED.items():
        if said.get(key, required) != required:
            raise BundleError(f"{path} has {key} {said[key]!r}; only models with {required!r} can be read")
    try:
        config = ModelConfig(
            family="gpt_bigcode",
            num_layers=said["n_layer"],
            hidden_size=said["n_embd"],
            num_heads=said["n_head"],
            feed_forward_size=said.get("n_inner") or 4 * said["n_embd"],
            context_length_tokens=said["n_positions"],
            layer_norm_epsilon=said["layer_norm_epsilon"],
            init_std=said["initializer_range"],
        )
        return config, _positive(said["vocab_size"])
    except KeyError as error:
        raise BundleError(f"{path} has no {error.args[0]}; export the model again") from None
    except (TypeError, ValueError) as error:
        reason = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise BundleError(f"{path} describes no model ({reason}); export the model again") from None


def _positive(vocab_size: int) -> int:
    if vocab_size < 1:
        raise ValueError(f"vocab_size {vocab_size} is below 1")
    return vocab_size


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        said: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read ({error}); export the model again") from None
    if not isinstance(said, dict):
        raise BundleError(f"{path} is not a JSON object; export the model again")
    return cast("dict[str, Any]", said)


def _check_weights(weights: dict[str, Tensor], config: ModelConfig, vocab_size: int, where: str) -> None:
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in CodeModel(config, vocab_size).state_dict().items()}
    for name in expected.keys() | weights.keys():
        if name not in weights:
            raise BundleError(f"{where} lacks the weight {name}; export the model again")
        if name not in expected:
            raise BundleError(f"{where} holds {name}, which is no weight of this model; export the model again")
        if weights[name].shape != expected[name]:
            raise BundleError(
                f"{where} holds {name} of shape {tuple(weights[name].shape)}, not {tuple(expected[name])}; "
                "export the model again"
            )
        if not bool(weights[name].isfinite().all()):
            raise BundleError(f"{where} holds {name} with values that are not finite; train the model again")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
