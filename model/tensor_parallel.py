"""Layers that several ranks share: each holds some of a weight's rows or columns (Megatron-LM, arXiv 1909.08053).

Two doors stand around a shared computation: `enter` before it and `leave` behind it. Forward, `leave` adds up what the
ranks found; backward, `enter` adds up their gradients. With sequence parallelism (arXiv 2205.05198, section 4.2.2) the
ranks also share the tokens between two computations, so `enter` gathers the tokens and `leave` hands each rank its own.
A group of one is the plain layer: nothing is sent, and the same code trains, generates and is exported.

Shapes, as suffixes: B sequences, T tokens, C hidden size, O outputs of this rank, V this rank's part of the vocabulary.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TensorGroup:
    """The ranks that share each layer, seen from one of them."""

    rank: int
    size: int
    process_group: Any
    """Of torch.distributed; None for a group of one."""
    sequence_parallel: bool

    def share(self, total: int, what: str) -> int:
        """How much of `total` is one rank's; ValueError if it does not divide."""
        if total % self.size:
            raise ValueError(f"{what} {total} is not divisible by layout.tensor {self.size}; change one of them")
        return total // self.size


ALONE = TensorGroup(rank=0, size=1, process_group=None, sequence_parallel=False)


def enter(x_BTC: Tensor, group: TensorGroup) -> Tensor:
    """What every rank needs before a shared computation: all tokens; backward, the sum of all ranks' gradients."""
    if group.size == 1:
        return x_BTC
    apply = _GatherTokens.apply if group.sequence_parallel else _SumGradients.apply
    return cast(Tensor, apply(x_BTC, group))


def leave(x_BTC: Tensor, group: TensorGroup) -> Tensor:
    """The sum over ranks of what a shared computation gave; under sequence parallelism this rank's tokens of it."""
    if group.size == 1:
        return x_BTC
    apply = _ScatterTokens.apply if group.sequence_parallel else _Sum.apply
    return cast(Tensor, apply(x_BTC, group))


def sum_gradients(weight: Tensor, group: TensorGroup) -> Tensor:
    """A weight that every rank holds whole but uses on its own part of the work: its gradients are added up."""
    return weight if group.size == 1 else cast(Tensor, _SumGradients.apply(weight, group))


def own_tokens(x_TC: Tensor, group: TensorGroup) -> Tensor:
    """Under sequence parallelism this rank's part of the first dimension, else all of it."""
    if not group.sequence_parallel:
        return x_TC
    return x_TC.chunk(group.size, dim=0)[group.rank]


class ColumnParallelLinear(nn.Module):
    """y = x W^T + b, of which this rank computes some outputs. `x` comes through `enter`."""

    def __init__(self, in_features: int, out_features: int, group: TensorGroup, what: str) -> None:
        super().__init__()
        own = group.share(out_features, what)
        self.weight = sharded(nn.Parameter(torch.empty(own, in_features)), 0, group)
        self.bias = sharded(nn.Parameter(torch.empty(own)), 0, group)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """This rank's outputs, x_BTO."""
        return F.linear(x_BTC, self.weight, self.bias)


class RowParallelLinear(nn.Module):
    """y = x W^T + b, of which each rank has some inputs; the sum goes through `leave`, then the bias is added once."""

    def __init__(self, in_features: int, out_features: int, group: TensorGroup, what: str) -> None:
        super().__init__()
        self.group = group
        self.weight = sharded(nn.Parameter(torch.empty(out_features, group.share(in_features, what))), 1, group)
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x_BTO: Tensor) -> Tensor:
        """All outputs, x_BTC, equal on all ranks or this rank's tokens of them."""
        if self.group.size == 1:
            return F.linear(x_BTO, self.weight, self.bias)
        return leave(F.linear(x_BTO, self.weight), self.group) + on_own_tokens(self.bias, self.group)


class ReplicatedLinear(nn.Module):
    """y = x W^T + b, computed by every rank, of which each uses some outputs. `x` comes through `enter`."""

    def __init__(self, in_features: int, out_features: int, group: TensorGroup) -> None:
        super().__init__()
        self.group = group
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x_BTC: Tensor) -> Tensor:
        """All outputs, x_BTO."""
        return F.linear(x_BTC, sum_gradients(self.weight, self.group), sum_gradients(self.bias, self.group))


class VocabularyEmbedding(nn.Module):
    """One row of numbers for each token; each rank holds the rows of some tokens."""

    def __init__(self, vocab_size: int, hidden_size: int, group: TensorGroup) -> None:
        super().__init__()
        self.group = group
        own = group.share(vocab_size, "the vocabulary of")
        self.first = group.rank * own
        self.weight = sharded(nn.Parameter(torch.empty(own, hidden_size)), 0, group)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """The rows of the tokens, x_BTC; under sequence parallelism of this rank's tokens."""
        if self.group.size == 1:
            return F.embedding(tokens_BT, self.weight)
        own_BT = tokens_BT - self.first
        is_own_BT = (own_BT >= 0) & (own_BT < self.weight.shape[0])
        x_BTC = F.embedding(own_BT.where(is_own_BT, 0), self.weight) * is_own_BT.unsqueeze(-1)
        return leave(x_BTC, self.group)


class LayerNorm(nn.LayerNorm):
    """LayerNorm over the tokens that this rank has between two shared computations."""

    def __init__(self, hidden_size: int, epsilon: float, group: TensorGroup) -> None:
        super().__init__(hidden_size, eps=epsilon)
        self.group = group

    def forward(self, x_BTC: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Each token with mean 0 and deviation 1, then scaled and moved."""
        weight, bias = (on_own_tokens(parameter, self.group) for parameter in (self.weight, self.bias))
        return F.layer_norm(x_BTC, self.normalized_shape, weight, bias, self.eps)


def on_own_tokens(weight: Tensor, group: TensorGroup) -> Tensor:
    """A whole weight that is used between shared computations: under sequence parallelism on some tokens only."""
    return sum_gradients(weight, group) if group.sequence_parallel else weight


def sharded(parameter: nn.Parameter, dimension: int, group: TensorGroup) -> nn.Parameter:
    """Mark a parameter as this rank's part of a larger one, cut along `dimension`."""
    if group.size > 1:
        parameter.tensor_model_parallel = True  # pyright: ignore[reportAttributeAccessIssue] - DeepSpeed asks for it
        parameter.shard_dimension = dimension  # pyright: ignore[reportAttributeAccessIssue]
    return parameter


def shard_dimension(parameter: nn.Parameter) -> int | None:
    """Along which dimension the parameter is one rank's part of a larger one; None if it is whole."""
    return getattr(parameter, "shard_dimension", None)


class _Sum(torch.autograd.Function):
    """Forward the sum over ranks; backward each rank's gradient as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: TensorGroup) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return summed(x.clone(), group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient, None


class _SumGradients(torch.autograd.Function):
    """Forward as it is; backward the sum over ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: TensorGroup) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return summed(gradient.clone(), ctx.group), None


class _GatherTokens(torch.autograd.Function):
    """Forward all ranks' tokens; backward the sum over ranks of this rank's tokens."""

    @staticmethod
    def forward(ctx: Any, x_BTC: Tensor, group: TensorGroup) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.group = group
        return _gathered(x_BTC, group)

    @staticmethod
    def backward(ctx: Any, gradient_BTC: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _scattered(gradient_BTC, ctx.group), None


class _ScatterTokens(torch.autograd.Function):
    """Forward the sum over ranks of this rank's tokens; backward all ranks' tokens."""

    @staticmethod
    def forward(ctx: Any, x_BTC: Tensor, group: TensorGroup) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.group = group
        return _scattered(x_BTC, group)

    @staticmethod
    def backward(ctx: Any, gradient_BTC: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _gathered(gradient_BTC, ctx.group), None


def summed(x: Tensor, group: TensorGroup) -> Tensor:
    """The sum over ranks, in place of `x`."""
    dist.all_reduce(x, group=group.process_group)
    return x


def _gathered(x_BTC: Tensor, group: TensorGroup) -> Tensor:
    parts = [torch.empty_like(x_BTC) for _ in range(group.size)]
    dist.all_gather(parts, x_BTC.contiguous(), group=group.process_group)
    return torch.cat(parts, dim=1)


def _scattered(x_BTC: Tensor, group: TensorGroup) -> Tensor:
    parts = [part.contiguous() for part in x_BTC.chunk(group.size, dim=1)]
    own = torch.empty_like(parts[group.rank])
    dist.reduce_scatter(own, parts, group=group.process_group)
    return own
