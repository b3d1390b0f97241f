"""Cross-entropy of the next token, without ever holding the logits of all tokens.

The head and the loss are one function: some tokens' logits are computed, turned into loss and gradient, and forgotten
(the idea of Liger's and Apple's fused losses, arXiv 2410.10989 and 2411.09009). Of 8,192 tokens and 49,152 entries the
logits in float32 would take 1.6 GB. The vocabulary may lie on several ranks, each with some of the entries.

Shapes, as suffixes: N tokens, M tokens of one chunk, C hidden size, V this rank's part of the vocabulary.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from model.special_tokens import IGNORED_TARGET
from model.tensor_parallel import TensorGroup, summed


def cross_entropy(
    x_NC: Tensor,
    head_VC: Tensor,
    targets_N: Tensor,
    group: TensorGroup,
    *,
    chunk_tokens: int,
    z_loss_weight: float = 0.0,
    compiled: bool = False,
) -> Tensor:
    """Mean nats per token over targets that are not IGNORED_TARGET, float32, equal on all ranks of the group.

    With `z_loss_weight` its mean squared log of the softmax's divisor is added (PaLM, arXiv 2204.02311, section 5).
    `x_NC` comes through `enter`: its gradient is this rank's part of a sum. 0 if no target counts. `compiled` lets
    torch.compile fuse what happens to a chunk's logits, which else are read and written ten times; for a group of one.
    """
    needs_gradient = torch.is_grad_enabled() and (x_NC.requires_grad or head_VC.requires_grad)
    return cast(
        Tensor,
        _ChunkedCrossEntropy.apply(
            x_NC, head_VC, targets_N, group, chunk_tokens, z_loss_weight, compiled, needs_gradient
        ),
    )


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The gradient is known as soon as the logits are, so it is taken in the forward pass and kept."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        x_NC: Tensor,
        head_VC: Tensor,
        targets_N: Tensor,
        group: TensorGroup,
        chunk_tokens: int,
        z_loss_weight: float,
        compiled: bool,
        needs_gradient: bool,
    ) -> Tensor:
        losses_and_slopes = _compiled() if compiled and group.size == 1 else _losses_and_slopes
        counts_N = targets_N != IGNORED_TARGET
        per_token = 1.0 / counts_N.sum().clamp(min=1).float()
        total = torch.zeros((), dtype=torch.float32, device=x_NC.device)
        x_gradient_NC = torch.empty_like(x_NC) if needs_gradient else None
        head_gradient_VC = torch.zeros_like(head_VC, dtype=torch.float32) if needs_gradient else None
        for start in range(0, len(x_NC), chunk_tokens):
            chunk = slice(start, start + chunk_tokens)
            weights_M = counts_N[chunk] * per_token
            losses_M, slopes_MV = losses_and_slopes(
                x_NC[chunk] @ head_VC.T, targets_N[chunk], weights_M, group, z_loss_weight
            )
            total += losses_M.sum()
            if x_gradient_NC is not None and head_gradient_VC is not None:
                x_gradient_NC[chunk] = slopes_MV @ head_VC
                head_gradient_VC += slopes_MV.T @ x_NC[chunk]
        if x_gradient_NC is not None and head_gradient_VC is not None:
            ctx.save_for_backward(x_gradient_NC, head_gradient_VC.to(head_VC.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_gradient_NC, head_gradient_VC = ctx.saved_tensors
        return x_gradient_NC * gradient, head_gradient_VC * gradient, None, None, None, None, None, None


def _losses_and_slopes(
    logits_MV: Tensor, targets_M: Tensor, weights_M: Tensor, group: TensorGroup, z_loss_weight: float
) -> tuple[Tensor, Tensor]:
    """Each token's loss times its weight, and its derivative by this rank's logits, which may be overwritten."""
    exact_MV = logits_MV.float()
    own_M = targets_M - group.rank * logits_MV.shape[1]
    is_own_M = (own_M >= 0) & (own_M < logits_MV.shape[1])
    column_M1 = own_M.where(is_own_M, 0).unsqueeze(1)
    top_M = exact_MV.amax(dim=1)
    if group.size > 1:
        dist.all_reduce(top_M, op=dist.ReduceOp.MAX, group=group.process_group)
    aimed_M = (exact_MV.gather(1, column_M1).squeeze(1) - top_M) * is_own_M
    shares_MV = exact_MV.sub_(top_M.unsqueeze(1)).exp_()
    divisor_M = shares_MV.sum(dim=1)
    if group.size > 1:
        divisor_M, aimed_M = summed(torch.stack([divisor_M, aimed_M]), group)
    log_divisor_M = divisor_M.log()
    losses_M = log_divisor_M - aimed_M
    scale_M = weights_M / divisor_M
    if z_loss_weight:
        z_M = log_divisor_M + top_M
        losses_M = losses_M + z_loss_weight * z_M**2
        scale_M = scale_M * (1 + 2 * z_loss_weight * z_M)
    slopes_MV = shares_MV.mul_(scale_M.unsqueeze(1))
    aimed_slopes_M = weights_M * is_own_M
    if torch.compiler.is_compiling():
        # A comparison of all columns is fused with the rest; a scatter would be a pass of its own over the logits.
        columns_V = torch.arange(logits_MV.shape[1], device=logits_MV.device)
        slopes_MV = slopes_MV - (columns_V.unsqueeze(0) == column_M1) * aimed_slopes_M.unsqueeze(1)
    else:
        slopes_MV.scatter_add_(1, column_M1, -aimed_slopes_M.unsqueeze(1))
    return losses_M * weights_M, slopes_MV.to(logits_MV.dtype)


@cache
def _compiled() -> Callable[..., tuple[Tensor, Tensor]]:
    return torch.compile(_losses_and_slopes, dynamic=False)
