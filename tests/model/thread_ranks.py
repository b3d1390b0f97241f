"""Ranks that are threads: enough where nothing is needed of torch but tensors."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from model.config import ParallelLayout
from model.training_state import KINDS, Fragment, Place

Rank = TypeVar("Rank")


class Meeting:
    """What `Engine.exchange` does, between threads."""

    def __init__(self, size: int) -> None:
        self.payloads = [b""] * size
        self.barrier = threading.Barrier(size)

    def exchange_of(self, rank: int) -> Callable[[bytes], list[bytes]]:
        def exchange(payload: bytes) -> list[bytes]:
            self.payloads[rank] = payload
            self.barrier.wait(10)
            everyone = list(self.payloads)
            self.barrier.wait(10)
            assert len({len(said) for said in everyone}) == 1
            return everyone

        return exchange


def layout_of(world_size: int) -> ParallelLayout:
    return ParallelLayout(data=world_size, tensor=1, pipeline=1, sequence_parallel=False, zero_stage=1)


def together(ranks: Sequence[Rank], act: Callable[[Rank], object]) -> list[object]:
    """What each rank's act returned or raised."""
    with ThreadPoolExecutor(len(ranks)) as threads:
        jobs = [threads.submit(act, rank) for rank in ranks]
    return [job.exception() or job.result() for job in jobs]


def state_of(step: int, rank: int) -> dict[str, Fragment]:
    """Half of a parameter of four numbers."""
    place = Place(shape=(2, 2), dimension=None, part=0, parts=1, start=2 * rank, length=2)
    return {"w": Fragment(place, {kind: torch.tensor([step + rank / 3, -0.0]) for kind in KINDS})}
