import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.errors import CorruptArtifactError
from components.tokens.tokenizer_files import encode_text, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from components.training.config import ExportWeightsConfig
from components.training.export_weights import ExportWeightsSummary, run
from model.config import ModelConfig
from model.huggingface_format import load_bundle
from model.transformer import CodeModel

TEXT = "def area_3(radius):\n    return 3 * math.pi * radius ** 2  # <|endoftext|> 1024\n"


def _export(trained, out: Path, dtype: str = "float32", **changes: Path) -> ExportWeightsSummary:
    out.mkdir()
    inputs = {"checkpoint": trained.checkpoint, "tokenizer": trained.tokenizer} | changes
    return run(ExportWeightsConfig(recipe=1, dtype=dtype), **inputs, out=out)


def test_transformers_loads_the_bundle_and_agrees_on_tokens_and_logits(trained, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    _export(trained, bundle)
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


def test_the_same_checkpoint_gives_the_same_bytes(trained, tmp_path: Path) -> None:
    summaries = [_export(trained, tmp_path / name) for name in ("first", "second")]
    names = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert names == [
        "bundle.json",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert summaries[0] == summaries[1]
    assert summaries[0].parameters == trained.summary.parameters


def test_recipe_1_makes_these_bytes(shape: ModelConfig, trained, tmp_path: Path) -> None:
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    checkpoint.mkdir()
    weights = {
        name: torch.arange(tensor.numel(), dtype=torch.float32).sub(7).div(64).reshape(tensor.shape)
        for name, tensor in CodeModel(shape, 320).state_dict().items()
    }
    save_file(weights, checkpoint / "model.safetensors")
    described = {"model": shape.model_dump(mode="json"), "vocab_size": 320}
    (checkpoint / "model_config.json").write_text(json.dumps(described))
    _export(trained, bundle, checkpoint=checkpoint)
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in bundle.iterdir()}
    expected = {
        "bundle.json": "5be3c1b2619082a1",
        "config.json": "d20323a7e99e0cf7",
        "generation_config.json": "5bfe94556f2fd895",
        "model.safetensors": "1fccca16b185e454",
    }
    assert {name: digests[name] for name in expected} == expected, (
        "other bytes mean another recipe: raise export_weights.recipe and renew this test"
    )


def test_bfloat16_halves_the_weights(trained, tmp_path: Path) -> None:
    full, half = _export(trained, tmp_path / "full"), _export(trained, tmp_path / "half", "bfloat16")
    assert half.weights_bytes < 0.6 * full.weights_bytes
    assert half.parameters == full.parameters
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_tokenizer_of_another_size_is_refused(trained, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_tokenizer(train_bpe(["a b"], 275, 2), other)
    with pytest.raises(CorruptArtifactError, match=r"trained for 320 tokens, but .* has 275"):
        _export(trained, tmp_path / "bundle", tokenizer=other)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", None, r"lacks its model\.safetensors"),
        ("model.safetensors", b"\x00" * 64, "cannot be exported"),
        ("model_config.json", None, r"model_config\.json does not describe a model"),
        ("model_config.json", b"[]", "does not describe a model"),
        ("model_config.json", b'{"model": {}, "vocab_size": 3}', "does not describe a model"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(
    trained, tmp_path: Path, file: str, content: bytes | None, said: str
) -> None:
    damaged = tmp_path / "checkpoint"
    shutil.copytree(trained.checkpoint, damaged)
    (damaged / file).unlink()
    if content is not None:
        (damaged / file).write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=said) as raised:
        _export(trained, tmp_path / "bundle", checkpoint=damaged)
    assert "\n" not in str(raised.value)
    assert "train again" in str(raised.value)
