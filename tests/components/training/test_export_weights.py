import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.errors import CorruptArtifactError
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from components.training.config import ExportWeightsConfig
from components.training.export_weights import ExportWeightsSummary, run
from model.config import ModelConfig
from model.huggingface_format import load_bundle
from model.transformer import CodeModel, initialize, parameter_shapes

SHARD_BYTES = 50_000
VOCAB_SIZE = 320
TEXT = "def area_3(radius):\n    return 3 * math.pi * radius ** 2  # <|endoftext|> 1024\n"


@dataclass(frozen=True)
class Made:
    """A checkpoint of a model that was never trained, and its tokenizer."""

    checkpoint: Path
    tokenizer: Path


@pytest.fixture(params=["gpt_bigcode", "starcoder2"])
def made(request, shape: ModelConfig, pretrain_inputs: tuple[Path, Path], tmp_path: Path) -> Made:
    _, tokenizer = pretrain_inputs
    starcoder2 = {"family": "starcoder2", "num_key_value_heads": 2, "rope_theta": 1e4, "attention_window_tokens": 8}
    changes = starcoder2 if request.param == "starcoder2" else {}
    config = ModelConfig.model_validate(shape.model_dump() | changes)
    model = CodeModel(config, VOCAB_SIZE)
    initialize(model, config, seed=3)
    return Made(_checkpoint(tmp_path, config, model.state_dict()), tokenizer)


def _checkpoint(tmp_path: Path, config: ModelConfig, weights: dict[str, torch.Tensor]) -> Path:
    place = tmp_path / "checkpoint"
    place.mkdir()
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    (place / "model_config.json").write_text(
        json.dumps({"model": config.model_dump(mode="json"), "vocab_size": VOCAB_SIZE})
    )
    return place


def _export(made: Made, out: Path, dtype: str = "float32", **changes: Path) -> ExportWeightsSummary:
    out.mkdir()
    inputs = {"checkpoint": made.checkpoint, "tokenizer": made.tokenizer} | changes
    return run(ExportWeightsConfig(recipe=3, dtype=dtype, shard_bytes=SHARD_BYTES), **inputs, out=out)


def test_transformers_loads_the_bundle_and_agrees_on_tokens_and_logits(made: Made, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    _export(made, bundle)
    peer = AutoModelForCausalLM.from_pretrained(bundle, local_files_only=True, dtype=torch.float32).eval()
    peer_tokenizer = AutoTokenizer.from_pretrained(bundle, local_files_only=True)
    ids = encode_text(load_text_tokenizer(bundle), TEXT.replace("<|endoftext|>", ""))
    assert peer_tokenizer(TEXT.replace("<|endoftext|>", ""))["input_ids"] == ids
    window = torch.tensor([ids[:32], ids[-32:]])
    with torch.inference_mode():
        ours, theirs = load_bundle(bundle)(window), peer(window).logits
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-5
    assert ours.std() > 1e-3, "the logits are all alike, so the comparison shows nothing"


def test_the_same_checkpoint_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    summaries = [_export(made, tmp_path / name) for name in ("first", "second")]
    names = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert names == [
        "bundle.json",
        "config.json",
        "generation_config.json",
        *(f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)),
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert summaries[0] == summaries[1]
    assert summaries[0].parameters == _numbers_in(made.checkpoint)


def _numbers_in(checkpoint: Path) -> int:
    return sum(tensor.numel() for tensor in load_file(checkpoint / "model.safetensors").values())


def test_recipe_3_makes_these_bytes(shape: ModelConfig, pretrain_inputs: tuple[Path, Path], tmp_path: Path) -> None:
    weights = {
        name: torch.arange(math.prod(size), dtype=torch.float32).sub(7).div(64).reshape(size)
        for name, size in parameter_shapes(shape, VOCAB_SIZE).items()
    }
    made = Made(_checkpoint(tmp_path, shape, weights), pretrain_inputs[1])
    bundle = tmp_path / "bundle"
    _export(made, bundle)
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in bundle.iterdir()}
    expected = {
        "bundle.json": "685e0841413cda12",
        "config.json": "d20323a7e99e0cf7",
        "generation_config.json": "5bfe94556f2fd895",
        "model-00001-of-00003.safetensors": "d4304d65ed4b9065",
    }
    assert {name: digests[name] for name in expected} == expected, (
        "other bytes mean another recipe: raise export_weights.recipe and renew this test"
    )


def test_bfloat16_halves_the_weights(made: Made, tmp_path: Path) -> None:
    full, half = _export(made, tmp_path / "full"), _export(made, tmp_path / "half", "bfloat16")
    assert half.weights_bytes < 0.6 * full.weights_bytes
    assert half.parameters == full.parameters
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_tokenizer_of_another_size_is_refused(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_tokenizer(train_bpe(["a b"], 275, 2), other)
    with pytest.raises(CorruptArtifactError, match=r"trained for 320 tokens, but .* has 275"):
        _export(made, tmp_path / "bundle", tokenizer=other)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", None, r"model\.safetensors cannot be read"),
        ("model.safetensors", b"\x00" * 64, "cannot be exported"),
        ("model_config.json", None, r"model_config\.json does not describe a model"),
        ("model_config.json", b"[]", "does not describe a model"),
        ("model_config.json", b'{"model": {}, "vocab_size": 3}', "does not describe a model"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(
    made: Made, tmp_path: Path, file: str, content: bytes | None, said: str
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(made.checkpoint, damaged)
    (damaged / file).unlink()
    if content is not None:
        (damaged / file).write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=said) as raised:
        _export(made, tmp_path / "bundle", checkpoint=damaged)
    assert "\n" not in str(raised.value)
    assert "train again" in str(raised.value)
