"""How much of what the devices could do a training does: model FLOPs utilization (PaLM, arXiv 2204.02311, appendix B).

    MFU = 3 x forward operations of a token x tokens a second / (peak of a device x devices)

Operations are those of `model_size.forward_flops_per_token`, of which only the pairs of tokens that see each other are
counted; what is computed again for activation checkpointing is not. So is the planner's.
"""

from dataclasses import dataclass
from time import perf_counter

import torch

from model.config import ModelConfig, PretrainConfig
from model.device_peaks import peak_of
from model.model_size import forward_flops_per_token

_PRODUCT_SIZE = 1024
_PRODUCTS = 8


@dataclass(frozen=True)
class Utilization:
    """The rates of a training of which the speed is known."""

    flops_per_token: float
    """Of the model, forward and backward."""
    peak_flops_per_second: float | None
    """Of all devices together; None where it is not known."""

    def rates(self, tokens_per_second: float) -> dict[str, float]:
        """By the names that metrics have."""
        rate = self.flops_per_token * tokens_per_second
        rates = {"model_flops_per_second": rate}
        if self.peak_flops_per_second is not None:
            rates["model_flops_utilization"] = rate / self.peak_flops_per_second
        return rates


def utilization_of(model: ModelConfig, vocab_size: int, config: PretrainConfig, device: torch.device) -> Utilization:
    """For a training whose ranks all have such a device. On processors a moment is measured."""
    flops = 3 * forward_flops_per_token(model, vocab_size, model.context_length_tokens)
    peak = peak_flops_per_second(device, config)
    return Utilization(flops, None if peak is None else peak * config.layout.world_size)


def peak_flops_per_second(device: torch.device, config: PretrainConfig) -> float | None:
    """Operations of dense matrix products in `config.precision` that one rank's device can do in a second.

    Of a GPU, what its data sheet says; None for one that `device_peaks` does not list. Processors have no such sheet:
    theirs is the best of some products that this rank does with the threads that it trains with.
    """
    if device.type != "cuda":
        return _measured(torch.bfloat16 if config.precision == "bf16" else torch.float32)
    peak = peak_of(torch.cuda.get_device_name(device))
    return peak.flops_per_second(config.precision) if peak else None


def _measured(dtype: torch.dtype) -> float:
    matrix = torch.ones(_PRODUCT_SIZE, _PRODUCT_SIZE, dtype=dtype)
    product = torch.empty_like(matrix)
    seconds: list[float] = []
    for _ in range(_PRODUCTS):
        started = perf_counter()
        torch.mm(matrix, matrix, out=product)
        seconds.append(perf_counter() - started)
    return 2 * _PRODUCT_SIZE**3 / min(seconds)
