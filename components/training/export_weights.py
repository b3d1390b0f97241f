"""Turn a checkpoint into a bundle: a directory that `transformers`, vLLM and our own server load as it is."""

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.errors import CorruptArtifactError
from components.section import Summary
from components.tokens.tokenizer_files import TOKENIZER_FILES, load_text_tokenizer
from components.training.config import ExportWeightsConfig
from model.config import ModelConfig
from model.huggingface_format import BundleError, save_bundle
from model.model_size import parameter_count
from model.tensor_files import TensorFileError, TensorFiles

MODEL_CONFIG_FILE = "model_config.json"


class ExportWeightsSummary(Summary):
    """What the bundle holds."""

    parameters: int
    """A tied head counts once."""
    vocab_size: int
    dtype: str
    weights_bytes: int
    """Of all files of weights."""


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
        weights = TensorFiles(checkpoint)
        files = save_bundle(out, model, vocab_size, weights, config.dtype, config.shard_bytes)
    except (TensorFileError, BundleError) as error:
        raise CorruptArtifactError(f"{checkpoint} cannot be exported ({error}); train again") from error
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer / name, out / name)
    return ExportWeightsSummary(
        parameters=parameter_count(model, vocab_size),
        vocab_size=vocab_size,
        dtype=config.dtype,
        weights_bytes=sum(file.stat().st_size for file in files),
    )


def _read_shape(path: Path) -> tuple[ModelConfig, int]:
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        return ModelConfig.model_validate(said["model"]), int(said["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise CorruptArtifactError(f"{path} does not describe a model ({reason}); train again") from error
