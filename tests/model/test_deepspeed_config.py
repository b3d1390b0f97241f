"""Seconds: below one."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from model.config import PretrainConfig
from model.deepspeed_config import deepspeed_config

_FP32 = {
    "train_batch_size": 48,
    "train_micro_batch_size_per_gpu": 8,
    "gradient_accumulation_steps": 3,
    "gradient_clipping": 1.0,
    "zero_allow_untested_optimizer": True,
    "zero_optimization": {
        "stage": 1,
        "overlap_comm": False,
        "contiguous_gradients": True,
        "reduce_bucket_size": 33554432,
        "allgather_bucket_size": 33554432,
    },
    "bf16": {"enabled": False},
    "fp16": {"enabled": False},
    "pipeline": {"pipe_partitioned": False, "grad_partitioned": False},
    "steps_per_print": None,
    "wall_clock_breakdown": False,
}
_BF16 = {key: value for key, value in _FP32.items() if key != "fp16"} | {
    "bf16": {"enabled": True},
    "data_types": {"grad_accum_dtype": "fp32"},
}


@pytest.mark.parametrize(("precision", "golden"), [("fp32", _FP32), ("bf16", _BF16)])
def test_the_plan_is_the_golden_one(precision: str, golden: dict[str, Any]):
    raw: Any = YAML(typ="safe").load(Path(__file__).parents[2] / "params.yaml")["pretrain"]
    config = PretrainConfig.model_validate(
        raw
        | {"precision": precision, "micro_batch_size": 8, "accumulation_steps": 3, "gradient_clip_norm": 1.0}
        | {"layout": {"data": 2, "tensor": 4, "pipeline": 4, "sequence_parallel": True, "zero_stage": 1}}
    )
    assert json.loads(json.dumps(deepspeed_config(config))) == golden


def test_zero_3_is_the_only_other_stage():
    raw: Any = YAML(typ="safe").load(Path(__file__).parents[2] / "params.yaml")["pretrain"]
    config = PretrainConfig.model_validate(raw | {"layout": raw["layout"] | {"zero_stage": 3}})
    plain = deepspeed_config(PretrainConfig.model_validate(raw))
    assert plain["zero_optimization"].pop("stage") == 1
    planned = deepspeed_config(config)
    assert planned["zero_optimization"].pop("stage") == 3
    assert planned == plain
