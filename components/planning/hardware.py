"""What the run is planned for: one kind of device, how many there are, and what joins them. Pydantic only, no torch.

All rates are of one device and one direction, in bytes or operations a second.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.planning.run_cost import DeviceCosts
from model.device_peaks import A100, H100

Positive = Annotated[float, Field(gt=0)]


class Efficiency(BaseModel):
    """Which share of the peak a training step reaches on one device, with nothing sent between devices.

    Counted in the model's causal operations (`model_size.forward_flops_per_token`), forward and backward. It is
    measured, never fitted to what is planned, and two measurements make a range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: Annotated[float, Field(gt=0, le=1)]
    high: Annotated[float, Field(gt=0, le=1)]
    source: str
    """Who measured it, and how."""

    @model_validator(mode="after")
    def _is_a_range(self) -> "Efficiency":
        if self.low > self.high:
            raise ValueError(f"efficiency low {self.low} is above high {self.high}")
        return self


class DeviceKind(BaseModel):
    """A kind of GPU, or a processor core."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    memory_bytes: Annotated[int, Field(ge=0)]
    """What a process can have; 0 where it is the machine's and the machine has to be asked."""
    reserved_bytes: Annotated[int, Field(ge=0)]
    """What a process has taken before the first tensor: the driver's context, kernels, libraries."""
    bf16_flops_per_second: Positive
    """Peak of dense matrix products."""
    fp32_flops_per_second: Positive
    memory_bytes_per_second: Positive
    node_bytes_per_second: Positive
    """In a collective of the devices of one node."""
    efficiency: Efficiency

    def peak_flops_per_second(self, precision: Literal["fp32", "bf16"]) -> float:
        """Of dense matrix products in what the network computes in."""
        return self.bf16_flops_per_second if precision == "bf16" else self.fp32_flops_per_second


class Hardware(BaseModel):
    """A pool as the planner sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pool: str
    device: str
    """The kind, for people."""
    kind: DeviceKind
    devices_per_node: Annotated[int, Field(ge=1)]
    nodes: Annotated[int, Field(ge=1)]
    network_bytes_per_second: Positive
    """A device's share of its node's line to other nodes, when all devices of the node send."""
    costs: DeviceCosts
    device_hours_between_interruptions: Positive
    """One device fails or is taken away once in so many of its hours."""
    checkpoint_stall_seconds: Positive
    """How long training stands still for a checkpoint; the rest is written beside it."""

    @property
    def num_devices(self) -> int:
        """In the pool."""
        return self.devices_per_node * self.nodes


DEVICES: Mapping[str, DeviceKind] = MappingProxyType(
    {
        "a100-80gb": DeviceKind(
            memory_bytes=84_987_740_160,  # 79.15 GiB: what torch tells as the total capacity of the SXM card
            reserved_bytes=1573
            * 2**20,  # "takes 1573MiB for cuda kernels": BigScience, tr11-176B-ml chronicles-prequel
            bf16_flops_per_second=A100.bf16,
            fp32_flops_per_second=A100.fp32,
            memory_bytes_per_second=2.039e12,  # NVIDIA A100 data sheet, 80 GB SXM
            # 300e9 a direction (data sheet) less 20 percent of protocol (NCCL's maintainers, nccl-tests issue 212)
            node_bytes_per_second=240e9,
            efficiency=Efficiency(
                low=0.405,
                high=0.466,
                source="one A100 trains BigCode's 1B multi-query model at 8,192 and at 2,048 tokens "
                "with FlashAttention (bigcode-project/Megatron-LM pull request 41, 192 samples an iteration)",
            ),
        ),
        "h100-80gb": DeviceKind(
            memory_bytes=int(79.11 * 2**30),  # what torch tells as the total capacity of the SXM card
            reserved_bytes=1573 * 2**20,  # as the A100; no figure for it was found
            bf16_flops_per_second=H100.bf16,
            fp32_flops_per_second=H100.fp32,
            memory_bytes_per_second=3.35e12,  # NVIDIA H100 data sheet, SXM
            node_bytes_per_second=370e9,  # NCCL's maintainers on rings over NVLink 4 (nccl-tests issue 212)
            efficiency=Efficiency(
                low=0.458,
                high=0.504,
                source="one H100 trains StarCoderBase-1B in this engine, with flash attention and no compiler, and "
                "with cuDNN attention and compiled blocks (benchmarks/README.md)",
            ),
        ),
        # For orientation: this machine is not asked how fast it is.
        "cpu-core": DeviceKind(
            memory_bytes=0,
            reserved_bytes=425 * 2**20,  # resident after importing torch and DeepSpeed 0.19.8, measured
            bf16_flops_per_second=224e9,  # twice fp32, with AVX512-BF16
            fp32_flops_per_second=112e9,  # Zen 4: 3.5 GHz x 32 operations a cycle
            memory_bytes_per_second=20e9,  # our guess at one core's share
            node_bytes_per_second=5e9,  # our guess at gloo within a machine
            efficiency=Efficiency(
                low=0.2,
                high=0.63,
                source="71e9 operations a second and core in training 30 million weights on two Zen 4 cores, measured; "
                "the low end, for smaller models, is our guess",
            ),
        ),
    }
)
