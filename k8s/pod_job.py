"""Runs a command in one pod of a profile's nodes, and keeps the promises of the local launcher: lines, then an outcome.

The pod is a gang of one that is not made anew when it fails: whoever submitted it decides that. It goes on when that
one is killed, and who submits the same again finds it.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from k8s.cluster_launcher import Connection, Gang, gang_named
from k8s.failure_rules import MISTAKE_EXIT_CODE, PREEMPTED_EXIT_CODE
from k8s.gang_outcome import outcome_of
from k8s.profile import Profile
from k8s.request import (
    Cancelled,
    ClusterError,
    Evicted,
    Failed,
    GangOutcome,
    GangRequest,
    GangStatus,
    Infrastructure,
    JobOutcome,
    Preempted,
    Succeeded,
    TimedOut,
    UserError,
)

_KEPT_LINES = 40


class PodJob:
    """A command at work. `lines` must be read to its end before `outcome` is asked."""

    def __init__(self, gang: Gang) -> None:
        self._gang = gang
        self._said: SimpleQueue[str | None] = SimpleQueue()
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._outcome: GangOutcome | Exception = Cancelled()

    def lines(self) -> Iterator[str]:
        """What it says, and where it is, line by line as it comes. ClusterError as of `Gang.follow`."""
        threading.Thread(target=self._follow, name=f"pod of {self._gang.name}", daemon=True).start()
        while (line := self._said.get()) is not None:
            self._last_lines.append(line)
            yield line
        if isinstance(self._outcome, Exception):
            raise self._outcome

    def _follow(self) -> None:
        try:
            self._outcome = self._gang.follow(on_line=lambda _, line: self._said.put(line), on_status=self._tell)
        except Exception as error:  # noqa: BLE001 - raised by `lines`, whose thread waits for it
            self._outcome = error
        self._said.put(None)

    def _tell(self, status: GangStatus) -> None:
        where = [f"{pod.phase} on {pod.node or 'no node'}" for pod in status.pods] or ["not there yet"]
        waits = [pod.waits_for for pod in status.pods if pod.waits_for]
        self._said.put(f"{self._gang.name}: {'; '.join([*where, *waits])}")

    def outcome(self) -> JobOutcome:
        """How it ended; ClusterError if the cluster ended it at a deadline."""
        match self._outcome:
            case Succeeded() | Cancelled():
                return self._outcome
            case Preempted() | Evicted():
                exit_code = PREEMPTED_EXIT_CODE
            case Infrastructure():  # a lost node has none: it is tried again
                exit_code = self._outcome.exit_code or PREEMPTED_EXIT_CODE
            case UserError():
                exit_code = MISTAKE_EXIT_CODE
            case TimedOut():
                raise ClusterError(self._outcome.told)
            case Exception():
                raise self._outcome
        return Failed(exit_code, (*self._last_lines, self._outcome.told))


@contextmanager
def run_in_pod(connection: Connection, profile: Profile, request: GangRequest) -> Generator[PodJob]:
    """Submit it, or find the same at work; leaving the block removes it, except when the cluster cannot be asked.

    One that is over is made anew. GangError, ManifestError and ClusterError as of `submit`.
    """
    gang = gang_named(connection, profile, request)
    gang.start(lambda there: outcome_of(there, ()) is not None)  # a step runs only when its artifact is not there
    try:
        yield PodJob(gang)
    except ClusterError:
        raise  # it goes on, and is found again
    except BaseException:
        gang.cancel()
        raise
    else:
        gang.cancel()
