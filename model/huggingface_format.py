"""A model as a Hugging Face directory, written and read: `config.json`, `generation_config.json` and safetensors.

`bundle.json` beside them says the same in our own words, for readers without torch. A tied head is left out when
writing and may be present or absent when reading, as published StarCoder checkpoints differ in it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.config import ModelConfig
from model.huggingface_config import (
    CONFIG_FILE,
    BundleError,
    config_json,
    generation_config_json,
    read_bundle_config,
)
from model.huggingface_names import EMBEDDING, TIED_HEAD, Match, matches, to_ours, to_theirs
from model.tensor_files import TensorFileError, TensorFiles, write_tensors
from model.transformer import CodeModel, parameter_shapes

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def save_bundle(
    out: Path, config: ModelConfig, vocab_size: int, weights: Mapping[str, Tensor], dtype: str, shard_bytes: int
) -> list[Path]:
    """Write a model that `transformers` loads; the tokenizer's files come elsewhere. Returns the files of weights.

    `weights` is CodeModel's state_dict, or reads it from a file: beside it no more is held than one file of
    `shard_bytes`. `dtype` is float32 or bfloat16. The same weights give the same bytes. BundleError, and nothing is
    written, if a weight is missing, unknown, of another shape or not finite.
    """
    _check_weights(weights, config, vocab_size, str(out))
    shapes = _their_shapes(config, vocab_size)
    sizes = {name: shape.numel() * _DTYPES[dtype].itemsize for name, shape in shapes.items()}
    _write_json(out / CONFIG_FILE, config_json(config, vocab_size, dtype))
    _write_json(out / "generation_config.json", generation_config_json())
    _write_json(out / "bundle.json", {"format": 2, "model": config.model_dump(mode="json"), "vocab_size": vocab_size})
    return write_tensors(out, sizes, _exported(weights, config, _DTYPES[dtype]), shard_bytes)


def load_bundle(path: Path, dtype: torch.dtype = torch.float32) -> CodeModel:
    """The model in a Hugging Face directory, in evaluation mode.

    BundleError if a file is missing or damaged, or if the model is of another kind.
    """
    weights = BundleWeights(path, dtype)
    with torch.device("meta"):
        model = CodeModel(weights.config, weights.vocab_size)
    model.load_state_dict({name: weights[name] for name in weights}, assign=True)
    return model.eval()


class BundleWeights(Mapping[str, Tensor]):
    """The weights in a Hugging Face directory under our names, read from the files as they are asked for.

    BundleError if a file is missing or damaged, if the model is of another kind, or if a weight is not finite.
    """

    def __init__(self, path: Path, dtype: torch.dtype = torch.float32) -> None:
        self.config, self.vocab_size = read_bundle_config(path)
        try:
            self._files = TensorFiles(path)
        except TensorFileError as error:
            raise BundleError(f"{error}; export the model again") from None
        _check_names(self._files, self.config, self.vocab_size, path)
        _check_head(self._files, self.config, path)
        self._path, self._dtype = path, dtype
        self._matches = {name: match for match in matches(self.config) for name in match.ours}
        self._read: dict[str, Tensor] = {}
        """Of the last match: tensors that lie in one of theirs are asked for one after the other."""

    def __getitem__(self, name: str) -> Tensor:
        """A tensor of its own."""
        if name not in self._read:
            match = self._matches[name]
            self._read = dict(zip(match.ours, _imported(self._files, match, self.config, self._dtype), strict=True))
            for read, tensor in self._read.items():
                _check_finite(read, tensor, str(self._path))
        return self._read.pop(name)

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the files' tensors."""
        return iter(self._matches)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._matches)


def _exported(weights: Mapping[str, Tensor], config: ModelConfig, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    for match in matches(config):
        theirs = to_theirs(match, [weights[name].detach() for name in match.ours], config)
        for name, tensor in zip(match.theirs, theirs, strict=True):
            yield name, tensor.to(dtype).contiguous()


def _imported(files: TensorFiles, match: Match, config: ModelConfig, dtype: torch.dtype) -> list[Tensor]:
    ours = to_ours(match, [files[name] for name in match.theirs], config)
    # A copy even of the same type, so that the model does not stand on a file that may change.
    return [tensor.to(dtype, copy=True, memory_format=torch.contiguous_format) for tensor in ours]


def _their_shapes(config: ModelConfig, vocab_size: int) -> dict[str, torch.Size]:
    """The shape of each of their tensors, in the order in which they are written."""
    shapes = parameter_shapes(config, vocab_size)
    theirs: dict[str, torch.Size] = {}
    for match in matches(config):
        empty = [torch.empty(shapes[name], device="meta") for name in match.ours]
        theirs |= {
            name: tensor.shape for name, tensor in zip(match.theirs, to_theirs(match, empty, config), strict=True)
        }
    return theirs


def _check_names(files: TensorFiles, config: ModelConfig, vocab_size: int, where: Path) -> None:
    expected = {name: tuple(shape) for name, shape in _their_shapes(config, vocab_size).items()}
    found = {name: files.shape(name) for name in files if name in expected or name != TIED_HEAD}
    _compare(found, expected, str(where))


def _check_head(files: TensorFiles, config: ModelConfig, where: Path) -> None:
    """A head that is said to be tied may be there, but must then be the embedding."""
    embedding = EMBEDDING[config.family]
    if config.tied_head and TIED_HEAD in files and not torch.equal(files[TIED_HEAD], files[embedding]):
        raise BundleError(
            f"{where} holds {TIED_HEAD} that differs from {embedding}, but {CONFIG_FILE} says that they are tied; "
            "set tie_word_embeddings there to false"
        )


def _check_weights(weights: Mapping[str, Tensor], config: ModelConfig, vocab_size: int, where: str) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    _compare(found, parameter_shapes(config, vocab_size), where)
    for name, tensor in weights.items():
        _check_finite(name, tensor, where)


def _check_finite(name: str, tensor: Tensor, where: str) -> None:
    if not bool(tensor.isfinite().all()):
        raise BundleError(f"{where} holds {name} with values that are not finite; train the model again")


def _compare(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise BundleError(f"{where} lacks the weight {name}; export the model again")
        if name not in expected:
            raise BundleError(f"{where} holds {name}, which is no weight of this model; export the model again")
        if found[name] != expected[name]:
            raise BundleError(
                f"{where} holds {name} of shape {found[name]}, not {expected[name]}; export the model again"
            )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
