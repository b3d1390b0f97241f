"""Follows a gang in a thread of its own, so that a test can play the cluster meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from k8s.cluster_launcher import Gang
from k8s.request import GangOutcome, GangStatus

BOUND_SECONDS = 15


class Following:
    """What was heard so far, and the outcome."""

    def __init__(self, gang: Gang, timeout_seconds: float | None = None) -> None:
        self.lines: list[tuple[str, str]] = []
        self.statuses: list[GangStatus] = []
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[GangOutcome] = self._pool.submit(
            gang.follow, on_line=self._hear, on_status=self._see, timeout_seconds=timeout_seconds
        )

    def _hear(self, pod_name: str, line: str) -> None:
        with self._changed:
            self.lines.append((pod_name, line))
            self._changed.notify_all()

    def _see(self, status: GangStatus) -> None:
        with self._changed:
            self.statuses.append(status)
            self._changed.notify_all()

    def wait_for(self, predicate: "Callable[[Following], object]", bound_seconds: float = BOUND_SECONDS) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(predicate(self)), bound_seconds), (self.lines, self.statuses)

    def outcome(self, bound_seconds: float = BOUND_SECONDS) -> GangOutcome:
        try:
            return self._future.result(bound_seconds)
        finally:
            self._pool.shutdown(wait=False)
