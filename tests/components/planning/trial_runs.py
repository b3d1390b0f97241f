"""What the planner is tried on: StarCoderBase, its training and its pool, each with changes."""

from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.planning.hardware import DEVICES, Hardware
from components.planning.run_cost import DeviceCosts
from model.config import ModelConfig, PretrainConfig

ROOT = Path(__file__).parents[3]
STARCODERBASE: dict[str, Any] = {
    "family": "gpt_bigcode",
    "num_layers": 40,
    "hidden_size": 6144,
    "num_heads": 48,
    "num_key_value_heads": 1,
    "feed_forward_size": 24_576,
    "context_length_tokens": 8192,
    "rope_theta": None,
    "attention_window_tokens": None,
    "tied_head": True,
    "activation_function": "gelu_pytorch_tanh",
    "layer_norm_epsilon": 1e-5,
    "init_std": 0.01275,
}
REFERENCE_LAYOUT = {"data": 32, "tensor": 4, "pipeline": 4, "sequence_parallel": True, "zero_stage": 1}
TRAINING: dict[str, Any] = {
    "precision": "bf16",
    "activation_checkpointing": "none",
    "loss_chunk_tokens": 2048,
    "micro_batch_size": 1,
    "accumulation_steps": 16,
    "num_steps": 250_000,
    "warmup_steps": 2000,
}
"""All that a plan reads of a training but its layout; the rest is as in params.yaml."""


def model_of(**changes: Any) -> ModelConfig:
    """StarCoderBase with the given fields in place of its own."""
    return ModelConfig.model_validate(STARCODERBASE | changes)


def training_of(**changes: Any) -> PretrainConfig:
    """StarCoderBase's training; numbers of the layout and of the training in place of its own."""
    shape = {name: changes.pop(name, value) for name, value in REFERENCE_LAYOUT.items()}
    if shape["tensor"] == 1:
        shape["sequence_parallel"] = False
    return PretrainConfig.model_validate(_small_run()["pretrain"] | TRAINING | {"layout": shape} | changes)


def pool_of(device: str = "a100-80gb", **changes: Any) -> Hardware:
    """512 devices in nodes of 8 with 400 Gb/s, the pool of StarCoderBase; or another kind, or another size."""
    costs = DeviceCosts(
        pool="test",
        device=device,
        price_per_hour_usd=2.0,
        watts=280,
        power_usage_effectiveness=1.2,
        carbon_kg_per_kwh=0.15495,
    )
    whole = {
        "pool": "test",
        "device": device,
        "kind": DEVICES[device],
        "devices_per_node": 8,
        "nodes": 64,
        "network_bytes_per_second": 6.25e9,
        "costs": costs,
        "device_hours_between_interruptions": 50_669,
        "checkpoint_stall_seconds": 2,
    }
    return Hardware.model_validate(whole | changes)


@cache
def _small_run() -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
