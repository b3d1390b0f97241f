import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from components.errors import TrainingError
from components.training.pretrain import run
from components.training.training_metrics import read_metrics
from model.config import ModelConfig, PretrainConfig
from model.reporting import ListSink, reporting_to


def _digests(place: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(place.iterdir())}


def test_a_training_writes_its_checkpoint_and_says_what_it_was(trained, shape: ModelConfig) -> None:
    assert sorted(_digests(trained.checkpoint)) == ["metrics.jsonl", "model.safetensors", "model_config.json"]
    measured = read_metrics(trained.checkpoint / "metrics.jsonl")
    validated = [step.validation_loss for step in measured if step.validation_loss is not None]
    summary = trained.summary
    assert (summary.steps, summary.tokens) == (6, 6 * 4 * 32)
    assert summary.final_loss == measured[-1].loss
    assert summary.best_validation_loss == min(validated)
    assert summary.final_validation_loss == measured[-1].validation_loss
    assert summary.parameters == sum(
        array.size for array in load_file(trained.checkpoint / "model.safetensors").values()
    )
    assert 0 < summary.epochs < 1


def test_the_same_request_gives_the_same_bytes_and_reports_go_to_the_sink(
    trained, pretrain: Callable[[PretrainConfig], object], config: PretrainConfig
) -> None:
    sink = ListSink()
    with reporting_to(sink):
        again = pretrain(config)
    assert _digests(again.checkpoint) == _digests(trained.checkpoint)
    assert again.summary == trained.summary
    assert sink.progresses[-1] == (6, 6, "steps")
    assert {"loss", "learning_rate"} <= sink.measured[0][1].keys()


def test_shards_that_fill_no_window_are_a_persons_mistake(pretrain_inputs, config, shape, tmp_path: Path) -> None:
    shards, tokenizer = pretrain_inputs
    wide = shape.model_copy(update={"context_length_tokens": 100_000})
    out, work_dir = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work_dir.mkdir()
    with pytest.raises(TrainingError, match=r"split 'train' has .* lower model\.context_length_tokens"):
        run(config, model=wide, token_shards=shards, tokenizer=tokenizer, out=out, work_dir=work_dir)
    assert list(out.iterdir()) == []


def test_missing_shards_are_named_before_any_process_starts(pretrain_inputs, config, shape, tmp_path: Path) -> None:
    out, work_dir = tmp_path / "out", tmp_path / "work"
    with pytest.raises(TrainingError, match=r"manifest\.json cannot be read"):
        run(config, model=shape, token_shards=tmp_path, tokenizer=pretrain_inputs[1], out=out, work_dir=work_dir)
    assert not work_dir.exists()
