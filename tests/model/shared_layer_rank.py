"""What a rank does in the tests of layers that several ranks share."""

import torch
import torch.distributed as dist

from model.config import ParallelLayout
from model.process_grid import meet, tensor_group
from model.special_tokens import IGNORED_TARGET
from model.tensor_parallel import shard_dimension
from model.transformer import CodeModel, initialize
from tests.model.layout_rank import CONTEXT, VOCAB_SIZE, model_of


def neighbours(spec):
    """The tensor group of this rank."""
    meet("gloo")
    group = tensor_group(ParallelLayout.model_validate(spec["layout"]))
    dist.barrier()  # rank 0 holds the store in which the others find each other
    return {
        "ranks": dist.get_process_group_ranks(group.process_group),
        "rank": group.rank,
        "size": group.size,
        "sequence_parallel": group.sequence_parallel,
    }


def compare_gradients(spec):
    """By parameter, how far the shared model's gradient is from that of the whole model, against its largest entry.

    And the difference of the losses. A parameter that this rank holds whole is compared whole, on every rank.
    """
    meet("gloo")
    layout = {"data": 1, "tensor": dist.get_world_size(), "pipeline": 1, "zero_stage": 1}
    layout = ParallelLayout.model_validate(layout | {"sequence_parallel": spec["sequence_parallel"]})
    group, config = tensor_group(layout), model_of(spec["family"], **spec["model"])
    whole, shared = CodeModel(config, VOCAB_SIZE), CodeModel(config, VOCAB_SIZE, group)
    initialize(whole, config, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for (_, parameter), own in zip(whole.named_parameters(), shared.parameters(), strict=True):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))  # biases and norms too
            own.copy_(_part(parameter, own, group))
    tokens = torch.randint(VOCAB_SIZE, (2, CONTEXT), generator=generator)
    targets = torch.randint(VOCAB_SIZE, (2, CONTEXT), generator=generator)
    targets[:, ::5] = IGNORED_TARGET
    losses = [model.loss(tokens, targets, chunk_tokens=24, z_loss_weight=0.01) for model in (whole, shared)]
    for loss in losses:
        loss.backward()
    dist.barrier()
    found = {"loss": abs(float(losses[0].detach() - losses[1].detach()))}
    for (name, parameter), own in zip(whole.named_parameters(), shared.parameters(), strict=True):
        difference = own.grad - _part(parameter.grad, own, group)
        found[name] = float(difference.abs().max() / parameter.grad.abs().max())
    return found


def _part(whole, own, group):
    dimension = shard_dimension(own)
    return whole if dimension is None else whole.chunk(group.size, dim=dimension)[group.rank]
