"""Runs pieces of work on an existing Ray cluster: the one file that speaks to Ray.

Only Ray's core is used: one task a piece, a bounded number of them under way, none of Ray's data layer. The cluster
is the one at RAY_ADDRESS, else the one on this machine. Its nodes hold the same installation and see the workspace
under the same path, because pieces name files and results go to files.
"""

import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from components.errors import WorkerError
from components.runner import use_runner

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_RETRIES = 3
"""How often a piece is done again whose worker or node died."""

_KNOCK_SECONDS = 10


class RayRunner:
    """One Ray task a piece; Ray starts a piece again whose worker died."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, size_bytes: int | None = None
    ) -> Iterator[tuple[int, Result]]:
        """In the order of completion; WorkerError when a piece's workers die again and again, or Ray is gone."""
        task: Any = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_call)
        shared: Any = ray.put(function)  # kept once for all pieces; Ray itself takes plain functions only
        waiting = list(enumerate(items))[::-1]
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self.num_workers:
                    index, item = waiting.pop()
                    running[task.remote(shared, item)] = index
                done, _ = ray.wait(list(running), num_returns=1)
                for reference in done:
                    index = running.pop(reference)
                    yield index, ray.get(reference)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise WorkerError(
                f"Ray gave up on a piece of work ({' '.join(str(error).split())[:300]}); look at its nodes, then run "
                "again: what is done is kept"
            ) from None
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    """What a worker does."""
    return function(item)


@contextmanager
def ray_cluster(address: str | None = None, *, workers: int | None = None) -> Generator[None]:
    """Make the cluster at `address`, else at RAY_ADDRESS, else on this machine, the runner inside the block.

    `workers` is how many pieces may be worked on at the same time; None for the processors that the cluster has now. A
    cluster that grows with what waits must be told: it may have none yet.
    """
    named = address or os.environ.get("RAY_ADDRESS") or "auto"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        _knock(named)
        ray.init(address=named, log_to_driver=False, configure_logging=False)
    except (RayError, OSError, ValueError, RuntimeError) as error:
        raise WorkerError(
            f"there is no Ray cluster at {named!r} ({' '.join(str(error).split())[:200]}); start one with "
            "`ray start --head`, set RAY_ADDRESS, or set STARLOOM_RUNNER=local"
        ) from None
    try:
        with use_runner(RayRunner(workers or max(1, int(ray.cluster_resources().get("CPU", 1))))):
            yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError if nobody listens at HOST:PORT: Ray itself would try for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
