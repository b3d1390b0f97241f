"""Which ranks work together: every rank finds its neighbours in each direction of the layout."""

import os
import socket

import torch
import torch.distributed as dist

from model.config import ParallelLayout
from model.tensor_parallel import ALONE, TensorGroup


def meet(backend: str) -> None:
    """Form the group of all processes, from RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT of the environment.

    If all ranks are on this machine, through a store that only this machine can reach: torch's own would listen on
    every interface, open to anyone. Started by torchrun or on several machines, through the store that is given.
    """
    if dist.is_initialized():
        return
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if host != "127.0.0.1" or "TORCHELASTIC_RUN_ID" in os.environ:
        dist.init_process_group(backend)
        return
    listening = socket.create_server((host, port)).detach() if rank == 0 else None
    store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage] - documented under this name
        host, port, world_size, is_master=rank == 0, wait_for_workers=False, master_listen_fd=listening
    )
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def tensor_group(layout: ParallelLayout) -> TensorGroup:
    """This rank's neighbours that share its layers; all ranks call it together, once."""
    if layout.tensor == 1:
        return ALONE
    mine = dist.get_rank()
    found = ALONE
    for first in range(0, layout.world_size, layout.tensor):
        ranks = list(range(first, first + layout.tensor))
        group = dist.new_group(ranks)  # every rank takes part in the making of every group
        if mine in ranks:
            found = TensorGroup(mine - first, layout.tensor, group, layout.sequence_parallel)
    return found


def device_of(local_rank: int, on_gpu: bool) -> torch.device:
    """What this rank computes on."""
    if not on_gpu:
        return torch.device("cpu")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
