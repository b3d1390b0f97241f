"""The DeepSpeed configuration as a pure function of the training parameters: a plan that a golden test can hold.

Stage 1 of ZeRO at least (arXiv 1910.02054, section 5.1): each rank keeps the fp32 weights and the Adam moments of its
own slice. Without it DeepSpeed 0.19.8 clips by a wrong norm once pipelines are used.
"""

from typing import Any

from model.config import PretrainConfig

REDUCE_BUCKET_ELEMENTS = 2**25
"""Gradients summed in one collective; also the size of a buffer that every rank holds (128 MiB in fp32)."""


def deepspeed_config(config: PretrainConfig) -> dict[str, Any]:
    """The JSON object for `deepspeed.initialize`. Nothing is left to DeepSpeed's defaults that changes the weights."""
    return {
        "train_batch_size": config.global_batch_size,
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "gradient_accumulation_steps": config.accumulation_steps,
        "gradient_clipping": config.gradient_clip_norm,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": config.layout.zero_stage,
            "overlap_comm": False,
            "contiguous_gradients": True,
            "reduce_bucket_size": REDUCE_BUCKET_ELEMENTS,
            "allgather_bucket_size": REDUCE_BUCKET_ELEMENTS,
        },
        **_precision(config),
        # Off: they cut what runs between stages into pieces, which sequence parallelism has done already.
        "pipeline": {"pipe_partitioned": False, "grad_partitioned": False},
        # DeepSpeed's own reports are off: the loop reports.
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }


def _precision(config: PretrainConfig) -> dict[str, Any]:
    match config.precision:
        case "fp32":
            return {"bf16": {"enabled": False}, "fp16": {"enabled": False}}
        case "bf16":
            # Without the accumulation type DeepSpeed adds micro-batches up in bf16, which has 8 bits of mantissa.
            return {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
