"""Who carries out independent pieces of work: this process, a pool of processes, or a Ray cluster.

What is computed never depends on it: results come in any order and are put in place by their index. The runner
is set once per process by whoever starts a step; a step asks for `current_runner()` and knows no more.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

from components.errors import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_DEATHS = 3
"""A pool that lost workers so many times gives up: what kills it is in the work, or the machine has no memory left."""

INLINE_BYTES = 32 * 2**20
"""Less than 32 MiB of Parquet is read faster by one process than two can be started."""


class Runner(Protocol):
    """Calls a function on each item, and gives (index, result) as they come."""

    num_workers: int
    """How many pieces may be worked on at the same time."""

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, size_bytes: int | None = None
    ) -> Iterator[tuple[int, Result]]:
        """Each item once in the results, whatever happens to workers; an exception of `function` is raised here.

        `size_bytes` is what there is to read in all, if known: little is not worth starting processes for.
        """
        ...


class InlineRunner:
    """One after the other, in this process."""

    num_workers = 1

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, size_bytes: int | None = None
    ) -> Iterator[tuple[int, Result]]:
        """In the order of the items."""
        for index, item in enumerate(items):
            yield index, function(item)


class PoolRunner:
    """A pool of processes on this machine; a worker that dies is replaced and its pieces are done again.

    Workers are started afresh, not forked: Arrow and the numeric libraries keep threads that a fork would break.
    """

    def __init__(self, num_workers: int, inline_bytes: int = INLINE_BYTES) -> None:
        self.num_workers = num_workers
        self._inline_bytes = inline_bytes

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, size_bytes: int | None = None
    ) -> Iterator[tuple[int, Result]]:
        """In the order of completion; WorkerError when workers die again and again."""
        missing = dict(enumerate(items))
        is_little = size_bytes is not None and size_bytes < self._inline_bytes
        if len(missing) <= 1 or self.num_workers == 1 or is_little:
            yield from InlineRunner().run(function, items)
            return
        for _ in range(MAX_DEATHS):
            try:
                for index, result in self._attempt(function, missing):
                    del missing[index]
                    yield index, result
            except BrokenProcessPool:
                continue
            return
        raise WorkerError(
            f"worker processes died {MAX_DEATHS} times, {len(missing)} of {len(items)} pieces are not done; free "
            "memory or lower STARLOOM_WORKERS, then run again: what is done is kept"
        )

    def _attempt(self, function: Callable[[Item], Result], missing: dict[int, Item]) -> Generator[tuple[int, Result]]:
        waiting = list(missing.items())[::-1]
        pool = ProcessPoolExecutor(min(self.num_workers, len(waiting)), mp_context=get_context("spawn"))
        running: dict[Future[Result], int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self.num_workers:
                    index, item = waiting.pop()
                    running[pool.submit(function, item)] = index
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                # All that is done is handed on before a death is told, so that nothing is done twice.
                for future in sorted(done, key=lambda future: isinstance(future.exception(), BrokenProcessPool)):
                    result = future.result()
                    yield running.pop(future), result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_CURRENT: ContextVar[Any] = ContextVar("starloom_runner")


def current_runner() -> Runner:
    """The runner of this process; inline where none was set."""
    return _CURRENT.get(None) or InlineRunner()


@contextmanager
def use_runner(runner: Runner) -> Generator[None]:
    """Make `runner` the current one inside the block."""
    token = _CURRENT.set(runner)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def usable_processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
