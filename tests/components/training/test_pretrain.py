import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from components.errors import ParamsError, TrainingError
from components.training.pretrain import run
from components.training.training_metrics import read_metrics
from model.batches import windows_of
from model.config import ModelConfig, PretrainConfig
from model.reporting import ListSink, reporting_to
from model.token_shards import TokenShards
from tests.model.s3_server import fresh_bucket, s3_server


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
    windows = windows_of(TokenShards(trained.token_shards), "train", 32)
    assert set(summary.epochs_by_source) == {"c", "python"}
    read = {source: epochs * windows[source] for source, epochs in summary.epochs_by_source.items()}
    assert sum(read.values()) == pytest.approx(6 * 4)
    for epochs in summary.epochs_by_source.values():
        assert epochs == pytest.approx(24 / sum(windows.values()), abs=2 / min(windows.values()))


def test_the_validation_loss_is_the_mean_of_the_sources_by_their_tokens(trained) -> None:
    shards = TokenShards(trained.token_shards)
    tokens = {source: shards.num_tokens("validation", source) for source in shards.sources("validation")}
    for step in read_metrics(trained.checkpoint / "metrics.jsonl"):
        if step.validation_loss is not None:
            assert set(step.source_losses) == set(tokens) == {"c", "python"}
            mean = sum(step.source_losses[name] * tokens[name] for name in tokens) / sum(tokens.values())
            assert step.validation_loss == pytest.approx(mean, rel=1e-12)
            assert len(set(step.source_losses.values())) == 2


def test_a_blend_of_sources_that_there_are_not_is_a_wrong_parameter(pretrain_inputs, config, shape, tmp_path: Path):
    shards, tokenizer = pretrain_inputs
    wrong = config.model_copy(update={"blend": {"java": 1.0}})
    with pytest.raises(ParamsError, match=r"pretrain\.blend names 'java', but the sources .* are c, python"):
        run(
            wrong,
            model=shape,
            token_shards=shards,
            tokenizer=tokenizer,
            workspace=Path(),
            out=tmp_path,
            work_dir=tmp_path / "work",
        )
    assert not (tmp_path / "work").exists()


def test_a_source_of_weight_zero_is_not_trained_on(
    pretrain: Callable[[PretrainConfig], Any], config: PretrainConfig
) -> None:
    blended = pretrain(config.model_copy(update={"blend": {"c": 0.0, "python": 2.0}}))
    assert set(blended.summary.epochs_by_source) == {"python"}


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


def test_checkpoints_go_to_a_store_too_and_change_nothing(
    pretrain_inputs, config, shape, trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, tokenizer = pretrain_inputs
    out, work_dir, sink = tmp_path / "out", tmp_path / "work", ListSink()
    out.mkdir()
    with s3_server() as running, reporting_to(sink):
        s3 = fresh_bucket(running)
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        places: Any = {"token_shards": shards, "tokenizer": tokenizer, "workspace": tmp_path, "out": out}
        run(config, model=shape, **places, work_dir=work_dir, checkpoint_store=f"s3://{s3.bucket}")
        assert s3.committed_steps() == [3, 6]
        missing = f"the checkpoint store s3://missing cannot be used: {s3.environment['AWS_ENDPOINT_URL']} has no such"
        with pytest.raises(TrainingError, match=missing):
            run(config, model=shape, **places, work_dir=work_dir, checkpoint_store="s3://missing/x")
    assert sink.notes == []
    assert _digests(out) == _digests(trained.checkpoint)
    assert "test-secret" not in "".join(path.read_text(errors="replace") for path in work_dir.glob("*.*"))


def test_shards_that_fill_no_window_are_a_persons_mistake(pretrain_inputs, config, shape, tmp_path: Path) -> None:
    shards, tokenizer = pretrain_inputs
    wide = shape.model_copy(update={"context_length_tokens": 100_000})
    out, work_dir = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work_dir.mkdir()
    with pytest.raises(TrainingError, match=r"split 'train' has .* lower model\.context_length_tokens"):
        run(
            config,
            model=wide,
            token_shards=shards,
            tokenizer=tokenizer,
            workspace=Path(),
            out=out,
            work_dir=work_dir,
        )
    assert list(out.iterdir()) == []


def test_missing_shards_are_named_before_any_process_starts(pretrain_inputs, config, shape, tmp_path: Path) -> None:
    out, work_dir = tmp_path / "out", tmp_path / "work"
    with pytest.raises(TrainingError, match=r"manifest\.json cannot be read"):
        run(
            config,
            model=shape,
            token_shards=tmp_path,
            tokenizer=pretrain_inputs[1],
            workspace=Path(),
            out=out,
            work_dir=work_dir,
        )
    assert not work_dir.exists()
