"""Which ranks see one disk: a shared file system is one for all, the disks of a cluster's nodes are many."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from model.agreement import Exchange, require_success
from model.durable_files import writing_to
from model.training_errors import TrainingFailedError


@dataclass(frozen=True)
class Disk:
    """The disk of one rank."""

    rank: int
    ranks: tuple[int, ...]
    """Who sees it, ascending; this rank is among them."""
    is_shared: bool
    """Whether all ranks of the run do."""

    @property
    def leads(self) -> bool:
        """Whether this rank does what is done once on a disk."""
        return self.rank == self.ranks[0]

    def share(self, names: Sequence[str]) -> Sequence[str]:
        """This rank's part of some files, all of which are somebody's on the disk."""
        return names[self.ranks.index(self.rank) :: len(self.ranks)]


def shared_disk(rank: int, world_size: int) -> Disk:
    """One for all."""
    return Disk(rank, tuple(range(world_size)), is_shared=True)


def find_disk(directory: Path, rank: int, world_size: int, exchange: Exchange) -> Disk:
    """Who sees the files that this rank writes into `directory`, which is made; all ranks call it together.

    TrainingFailedError on all of them if one cannot write there.
    """
    token = exchange(os.urandom(16))[0].hex()
    marks = [directory / f".{token}-{other}" for other in range(world_size)]
    require_success(exchange, _put(marks[rank]))
    ranks = tuple(other for other, mark in enumerate(marks) if mark.exists())
    sees_all = exchange(b"\1" if len(ranks) == world_size else b"\0")
    with suppress(OSError):  # an empty file that stays is no harm
        marks[rank].unlink()
    return Disk(rank, ranks, is_shared=b"\0" not in sees_all)


def _put(mark: Path) -> str:
    """What there is to say against it."""
    try:
        with writing_to(mark):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    except TrainingFailedError as error:
        return str(error)
    return ""
