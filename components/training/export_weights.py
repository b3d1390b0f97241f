"""Turn a checkpoint into a bundle: a directory that `transformers`, vLLM and our own server load as it is."""

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

from components.errors import CorruptArtifactError
from components.section import Summary
from components.tokens.tokenizer_files import TOKENIZER_FILES, load_text_tokenizer
from components.training.config import ExportWeightsConfig
from model.config import ModelConfig
from model.huggingface_format import WEIGHTS_FILE, BundleError, save_bundle

MODEL_CONFIG_FILE = "model_config.json"


class ExportWeightsSummary(Summary):
    """What the bundle holds."""

    parameters: int
    """Numbers in the weights file; the tied head is not in it."""
    vocab_size: int
    dtype: str
    weights_bytes: int


def run(config: ExportWeightsConfig, *, checkpoint: Path, tokenizer: Path, out: Path) -> ExportWeightsSummary:
    """Write weights, configuration and tokenizer under `out`.

    CorruptArtifactError if the checkpoint is damaged or was not trained with this tokenizer.
    """
    model, vocab_size = _read_shape(checkpoint / MODEL_CONFIG_FILE)
    entries = load_text_tokenizer(tokenizer).get_vocab_size()
    if entries != vocab_size:
        raise CorruptArtifactError(
            f"{checkpoint} was trained for {vocab_size} tokens, but {tokenizer} has {entries}; train again"
        )
    try:
        weights = load_file(checkpoint / WEIGHTS_FILE)
        save_bundle(out, model, vocab_size, weights, config.dtype)
    except FileNotFoundError:
        raise CorruptArtifactError(f"{checkpoint} lacks its {WEIGHTS_FILE}; train again") from None
    except (SafetensorError, BundleError) as error:
        raise CorruptArtifactError(f"{checkpoint} cannot be exported ({error}); train again") from error
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer / name, out / name)
    return ExportWeightsSummary(
        parameters=sum(tensor.numel() for tensor in weights.values()),
        vocab_size=vocab_size,
        dtype=config.dtype,
        weights_bytes=(out / WEIGHTS_FILE).stat().st_size,
    )


def _read_shape(path: Path) -> tuple[ModelConfig, int]:
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        return ModelConfig.model_validate(said["model"]), int(said["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise CorruptArtifactError(f"{path} does not describe a model ({reason}); train again") from error
