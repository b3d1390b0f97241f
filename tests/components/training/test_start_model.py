import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import ParamsError, SourceError
from components.lineage import RECORD_FILE
from components.tokens.tokenizer_files import load_text_tokenizer
from components.training.config import ExportWeightsConfig
from components.training.export_weights import run as export_weights
from components.training.pretrain import resolve_sources, run
from components.training.start_model import find_start, require_fitting_start
from components.training.training_metrics import read_metrics
from model.config import ModelConfig, PretrainConfig
from tests.components.training.conftest import VOCAB_SIZE, Trained

Start = Callable[[str | None], PretrainConfig]


@pytest.fixture(scope="session")
def workspace(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the trained model in `models/base`."""
    place = tmp_path_factory.mktemp("workspace")
    (place / "models" / "base").mkdir(parents=True)
    config = ExportWeightsConfig(recipe=1, dtype="float32", shard_bytes=2**24)
    export_weights(config, checkpoint=trained.checkpoint, tokenizer=trained.tokenizer, out=place / "models" / "base")
    return place


@pytest.fixture
def starting(config: PretrainConfig) -> Start:
    return lambda start_from: config.model_copy(update={"start_from": start_from})


def copied(workspace: Path, place: Path) -> Path:
    """A workspace like it, to be spoiled."""
    shutil.copytree(workspace, place)
    return place / "models" / "base"


def test_a_training_goes_on_from_the_model_of_another(
    workspace: Path, trained: Trained, shape: ModelConfig, starting: Start, tmp_path: Path
) -> None:
    out, work_dir = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    config = starting("models/base").model_copy(update={"learning_rate": 1e-5, "min_learning_rate": 1e-6})
    run(
        config,
        model=shape,
        token_shards=trained.token_shards,
        tokenizer=trained.tokenizer,
        workspace=workspace,
        out=out,
        work_dir=work_dir,
    )
    before, after = read_metrics(trained.checkpoint / "metrics.jsonl"), read_metrics(out / "metrics.jsonl")
    assert after[-1].validation_loss == pytest.approx(before[-1].validation_loss, abs=0.01)
    assert after[0].loss < before[0].loss - 0.1


def test_its_content_is_a_source_wherever_it_lies(workspace: Path, starting: Start, tmp_path: Path) -> None:
    base = copied(workspace, tmp_path / "copy")
    digest = resolve_sources(starting("models/base"), workspace)["start_from"]
    (base / RECORD_FILE).write_text("{}")
    (base / "README.md").write_text("about it")
    base.rename(base.with_name("renamed"))
    assert resolve_sources(starting("models/renamed"), tmp_path / "copy") == {"start_from": digest}
    (base.with_name("renamed") / "config.json").write_text("{}")
    assert resolve_sources(starting("models/renamed"), tmp_path / "copy") != {"start_from": digest}
    assert resolve_sources(starting(None), workspace) == {}
    assert find_start(starting(None), workspace) is None


def test_a_model_that_is_not_there_is_named(workspace: Path, shape: ModelConfig, starting: Start) -> None:
    for look in (
        lambda: resolve_sources(starting("models/none"), workspace),
        lambda: require_fitting_start(starting("models/none"), shape, VOCAB_SIZE, workspace),
    ):
        with pytest.raises(SourceError, match=r"models/none holds no config\.json; put a model"):
            look()


def test_another_network_is_a_wrong_parameter_before_anything_is_read(
    workspace: Path, shape: ModelConfig, starting: Start, tmp_path: Path
) -> None:
    config = starting("models/base")
    require_fitting_start(config, shape, VOCAB_SIZE, workspace)
    require_fitting_start(starting(None), shape, VOCAB_SIZE, workspace)
    deeper = shape.model_copy(update={"num_layers": 3})
    with pytest.raises(ParamsError, match=r"num_layers \(there 2, here 3\)"):
        require_fitting_start(config, deeper, VOCAB_SIZE, workspace)
    with pytest.raises(ParamsError, match=r"vocab_size \(there 320, here 400\)"):
        require_fitting_start(config, shape, 400, workspace)
    base = copied(workspace, tmp_path / "copy")
    said = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(said | {"activation_function": "relu"}))
    with pytest.raises(SourceError, match="activation_function 'relu'"):
        require_fitting_start(config, shape, VOCAB_SIZE, tmp_path / "copy")


def test_another_tokenizer_is_refused(
    workspace: Path, trained: Trained, shape: ModelConfig, starting: Start, tmp_path: Path
) -> None:
    base = copied(workspace, tmp_path / "copy")
    inputs = {"token_shards": trained.token_shards, "tokenizer": trained.tokenizer, "workspace": tmp_path / "copy"}
    tokenizer = load_text_tokenizer(base)
    tokenizer.add_tokens(["another"])
    tokenizer.save(str(base / "tokenizer.json"))
    with pytest.raises(ParamsError, match=r"set train_tokenizer\.take_from to the same directory"):
        run(starting("models/base"), model=shape, **inputs, out=tmp_path / "out", work_dir=tmp_path / "work")
    (base / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"tokenizer\.json is missing; put the tokenizer there"):
        run(starting("models/base"), model=shape, **inputs, out=tmp_path / "out", work_dir=tmp_path / "work")
