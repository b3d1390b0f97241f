"""What data sheets promise of GPUs, one entry a kind; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Peak:
    """Operations a second in dense matrix products, without sparsity."""

    bf16: float
    fp32: float
    """Without TF32, which torch leaves off."""

    def flops_per_second(self, precision: Literal["fp32", "bf16"]) -> float:
        """In what the network computes in."""
        return self.bf16 if precision == "bf16" else self.fp32


A100 = Peak(bf16=312e12, fp32=19.5e12)  # NVIDIA A100 data sheet
H100 = Peak(bf16=989.4e12, fp32=67e12)  # NVIDIA H100 data sheet, SXM; the H200 has the same processor

_PEAKS: Mapping[str, Peak] = MappingProxyType({"NVIDIA A100": A100, "NVIDIA H100 80GB HBM3": H100, "NVIDIA H200": H100})
"""By how the name begins that torch gives the device; an H100 for a PCIe slot has another name and another peak."""


def peak_of(gpu: str) -> Peak | None:
    """Of the GPU that torch calls so; None if no sheet of it is here."""
    return next((peak for name, peak in _PEAKS.items() if gpu.startswith(name)), None)
