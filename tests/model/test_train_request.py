"""Seconds: below one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from model.config import ModelConfig, PretrainConfig
from model.train_request import TrainRequest


@pytest.fixture
def request_in(tmp_path: Path) -> Callable[..., TrainRequest]:
    """Makes the request of params.yaml's run on data in `tmp_path`, with some fields changed."""
    raw: Any = YAML(typ="safe").load(Path(__file__).parents[2] / "params.yaml")
    (tmp_path / "tokenizer.json").write_bytes(b"a tokenizer")
    (tmp_path / "manifest.json").write_bytes(b"token shards")

    def make(**changed: Any) -> TrainRequest:
        return TrainRequest(
            token_shards=tmp_path,
            tokenizer=tmp_path,
            model=ModelConfig.model_validate(raw["model"] | changed.pop("model", {})),
            pretrain=PretrainConfig.model_validate(raw["pretrain"] | changed.pop("pretrain", {})),
            work_dir=changed.pop("work_dir", tmp_path / "work"),
            out=changed.pop("out", tmp_path / "out"),
        )

    return make


def test_where_a_run_happens_is_not_part_of_its_digest(request_in: Callable[..., TrainRequest], tmp_path: Path):
    elsewhere = request_in(work_dir=tmp_path / "b", out=tmp_path / "c")
    assert elsewhere.run_digest() == request_in().run_digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"pretrain": {"seed": 1}},
        {"pretrain": {"num_steps": 601}},
        {"pretrain": {"blend": {"python": 1}}},
        {"model": {"init_std": 0.03}},
    ],
    ids=str,
)
def test_every_parameter_is_part_of_the_digest(request_in: Callable[..., TrainRequest], changed: dict[str, Any]):
    assert request_in(**changed).run_digest() != request_in().run_digest()


@pytest.mark.parametrize("file", ["tokenizer.json", "manifest.json"])
def test_the_data_are_part_of_the_digest(request_in: Callable[..., TrainRequest], tmp_path: Path, file: str):
    before = request_in().run_digest()
    (tmp_path / file).write_bytes(b"other")
    assert request_in().run_digest() != before


def test_a_request_survives_its_json(request_in: Callable[..., TrainRequest]):
    assert TrainRequest.model_validate_json(request_in().model_dump_json()) == request_in()
