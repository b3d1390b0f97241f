"""Seconds: below one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from model.config import ModelConfig, PretrainConfig
from model.train_request import StartFrom, TrainRequest


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
            **changed,
        )

    return make


def test_where_a_run_happens_is_not_part_of_its_digest(request_in: Callable[..., TrainRequest], tmp_path: Path):
    elsewhere = request_in(work_dir=tmp_path / "b", out=tmp_path / "c", checkpoint_store="s3://bucket/d")
    assert elsewhere.identity() == request_in().identity()


def test_of_the_weights_to_begin_with_the_content_counts_and_not_the_place(
    request_in: Callable[..., TrainRequest], tmp_path: Path
):
    here, there = StartFrom(bundle=tmp_path, digest="a"), StartFrom(bundle=tmp_path / "b", digest="a")
    one = request_in(start_from=here, pretrain={"start_from": "here"})
    assert request_in(start_from=there, pretrain={"start_from": "there"}).identity() == one.identity()
    other = request_in(start_from=here.model_copy(update={"digest": "b"}))
    assert _differing(other, one) == {"start_from"}
    assert one.identity() == request_in().identity() | {"start_from": "a"}


def _layout(**sizes: int | bool) -> dict[str, int | bool]:
    return {"data": 2, "tensor": 1, "pipeline": 1, "sequence_parallel": False, "zero_stage": 1} | sizes


_DEALT: dict[str, Any] = {
    "layout": _layout(tensor=2, pipeline=2, sequence_parallel=True),
    "threads_per_process": 3,
    "activation_checkpointing": "blocks",
    "compile_blocks": True,
    "loss_chunk_tokens": 7,
    "checkpoint_every_steps": 1,
}
_IDENTITY: dict[str, Any] = {
    "recipe": 99,
    "precision": "bf16",
    "document_attention": "within",
    "z_loss_weight": 1e-4,
    "num_steps": 1201,
    "learning_rate": 5e-3,
    "min_learning_rate": 1e-5,
    "warmup_steps": 61,
    "weight_decay": 0.2,
    "adam_beta1": 0.8,
    "adam_beta2": 0.9,
    "adam_epsilon": 1e-7,
    "gradient_clip_norm": 2.0,
    "fill_in_middle": {"rate": 0.4, "spm_rate": 0.5},
    "blend": {"python": 1},
    "validate_every_steps": 7,
    "validation_batches": 3,
    "seed": 1,
}


def _differing(one: TrainRequest, other: TrainRequest) -> set[str]:
    left, right = one.identity(), other.identity()
    assert left.keys() == right.keys()
    return {name for name in left if left[name] != right[name]}


@pytest.mark.parametrize(("name", "value"), _DEALT.items())
def test_how_the_work_is_dealt_out_is_not_part_of_it(request_in: Callable[..., TrainRequest], name: str, value: Any):
    other = request_in(pretrain={name: value})
    assert getattr(other.pretrain, name) != getattr(request_in().pretrain, name)
    assert _differing(other, request_in()) == set()


@pytest.mark.parametrize(("name", "value"), _IDENTITY.items())
def test_all_else_of_the_training_is(request_in: Callable[..., TrainRequest], name: str, value: Any):
    assert _differing(request_in(pretrain={name: value}), request_in()) == {"pretrain"}


def test_no_parameter_of_the_training_is_forgotten_here():
    assert {*_DEALT, *_IDENTITY, "micro_batch_size", "accumulation_steps", "start_from"} == set(
        PretrainConfig.model_fields
    )


def test_of_the_batch_only_its_size_counts(request_in: Callable[..., TrainRequest]):
    same = {"layout": _layout(data=1), "micro_batch_size": 2, "accumulation_steps": 4}
    assert _differing(request_in(pretrain=same), request_in()) == set()
    larger = request_in(pretrain={"accumulation_steps": 2})
    assert _differing(larger, request_in()) == {"batch"}
    assert (larger.identity()["batch"], request_in().identity()["batch"]) == ("16", "8")


@pytest.mark.parametrize(("name", "value"), [("init_std", 0.03), ("num_layers", 4), ("tied_head", False)])
def test_the_model_is(request_in: Callable[..., TrainRequest], name: str, value: Any):
    assert _differing(request_in(model={name: value}), request_in()) == {"model"}


@pytest.mark.parametrize(("file", "part"), [("tokenizer.json", "tokenizer"), ("manifest.json", "token_shards")])
def test_the_data_are(request_in: Callable[..., TrainRequest], tmp_path: Path, file: str, part: str):
    before = request_in().identity()
    (tmp_path / file).write_bytes(b"other")
    assert {name for name, said in request_in().identity().items() if said != before[name]} == {part}


def test_a_request_survives_its_json(request_in: Callable[..., TrainRequest]):
    assert TrainRequest.model_validate_json(request_in().model_dump_json()) == request_in()
