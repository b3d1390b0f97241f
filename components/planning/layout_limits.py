"""Why a layout cannot be had: everything of it that does not divide or does not fit, each with the two numbers."""

from collections.abc import Sequence

from components.planning.hardware import Hardware
from components.planning.memory import StageMemory
from model.config import ModelConfig, PretrainConfig, misfits


def refusals(
    model: ModelConfig, vocab_size: int, config: PretrainConfig, hardware: Hardware, memory: Sequence[StageMemory]
) -> tuple[str, ...]:
    """Empty if the layout can be had."""
    return (
        *misfits(model, vocab_size, config.layout),
        *_too_few_devices(config, hardware),
        *_too_little_memory(config, hardware, memory),
    )


def _too_few_devices(config: PretrainConfig, hardware: Hardware) -> tuple[str, ...]:
    layout, per_node = config.layout, hardware.devices_per_node
    reasons: list[str] = []
    if layout.world_size > hardware.num_devices:
        reasons.append(
            f"tensor {layout.tensor} x pipeline {layout.pipeline} x data {layout.data} takes {layout.world_size:,} "
            f"devices, {hardware.pool} has {hardware.num_devices:,}"
        )
    if layout.tensor > per_node or per_node % layout.tensor:
        reasons.append(f"layout.tensor {layout.tensor} does not share out the {per_node} devices of a node")
    return tuple(reasons)


def _too_little_memory(config: PretrainConfig, hardware: Hardware, memory: Sequence[StageMemory]) -> tuple[str, ...]:
    largest = max(range(len(memory)), key=lambda number: memory[number].total)
    needed, there = memory[largest].total, hardware.kind.memory_bytes
    if needed <= there:
        return ()
    where = f"stage {largest} of {config.layout.pipeline}" if config.layout.pipeline > 1 else "a device"
    return (f"{where} needs {needed / 1e9:.1f} GB, {hardware.device} has {there / 1e9:.1f} GB",)
