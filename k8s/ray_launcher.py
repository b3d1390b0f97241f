"""Runs a command on a Ray cluster of its own: submits the RayJob once, hears it, and leaves no cluster behind.

It keeps the promises of the local launcher: lines as they come, then an outcome. When whoever submitted is killed, the
RayJob goes on, and who submits the same again finds it.
"""

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from k8s.cluster_launcher import ClusterJob, Connection
from k8s.cluster_profile import DataWork
from k8s.gang_streams import Line, Streams
from k8s.ray_job import SUBMITTER, ray_job, ray_job_faults
from k8s.ray_outcome import Observed, is_heard, mend_of, outcome_of, told_by
from k8s.request import Cancelled, ClusterError, JobOutcome

_KEPT_LINES = 40
_LAST_LINES_SECONDS = 30.0
"""How long the end of the log is waited for: the submitter looks for it once a second, and then ends."""
_GRACE_SECONDS = 60
"""Of pods; they have Kubernetes' own 30 seconds."""
_BEYOND_DEADLINE_SECONDS = 600.0
"""KubeRay keeps the deadline; if it does not, we do."""


class RayRun(ClusterJob):
    """A command on a Ray cluster of its own. `lines` must be read to its end before `outcome` is asked."""

    def __init__(self, connection: Connection, manifest: Observed, most_seconds: float) -> None:
        """What is not over after `most_seconds` is given up."""
        super().__init__(connection, [manifest], SUBMITTER, _GRACE_SECONDS)
        self._most_seconds = most_seconds
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._streams = Streams()
        self._seen: Observed | None = None
        """As the cluster had it last; None once it is gone."""

    def lines(self) -> Iterator[str]:
        """What the command says, and where its cluster is, line by line as it comes, until it is over.

        A submitter that is tried again says the log from its beginning. ClusterError as of `Connection.ask`, and if it
        was given up.
        """
        for kind in (self.kind, "Pod"):
            self._streams.watch(kind, partial(self.list_all, kind), partial(self.watch, kind))
        yield from self._until_over()
        self._hear_submitters(self.list_all("Pod")["items"])
        for line in self._streams.last_lines(_LAST_LINES_SECONDS):
            yield self._kept(line.text)

    def _until_over(self) -> Iterator[str]:
        deadline = time.monotonic() + self._most_seconds
        pods: list[Observed] = []
        told = ""
        while (news := self._streams.next(deadline)) is not None:
            if isinstance(news, Line):
                yield self._kept(news.text)
                continue
            if news.kind == "Pod":
                pods = list(news.objects.values())
                self._hear_submitters(pods)
            else:
                self._seen = news.objects.get(self.name)
            if self._seen is not None and (tells := told_by(self._seen, pods)) != told:
                yield f"{self.name}: {tells}"
                told = tells
            if news.kind == self.kind and (self._seen is None or outcome_of(self._seen)):
                return
        self.remove()
        raise ClusterError(
            f"RayJob {self.name} was not over {self._most_seconds:.0f} s after it was submitted and was removed; "
            "see that KubeRay's operator runs, or give it more deadline_seconds in data_work of the profile"
        )

    def _hear_submitters(self, pods: list[Observed]) -> None:
        for name in (pod["metadata"]["name"] for pod in pods if is_heard(pod)):
            self._streams.read_log(name, partial(self.open_log, name), partial(self.is_at_work, name))

    def _kept(self, line: str) -> str:
        self._last_lines.append(line)
        return line

    def outcome(self) -> JobOutcome:
        """How it ended. ClusterError if the cluster ended it for a reason that a person must mend."""
        if self._seen is None:
            return Cancelled()
        if mend := mend_of(self._seen):
            raise ClusterError(mend)
        return outcome_of(self._seen, tuple(self._last_lines)) or Cancelled()

    def is_over(self) -> bool:
        """Whether its end was seen."""
        return self._seen is not None and outcome_of(self._seen) is not None

    def stop_hearing(self) -> None:
        """End the threads that read; what runs goes on."""
        self._streams.stop()


@contextmanager
def run_on_ray(
    connection: Connection, work: DataWork, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> Generator[RayRun]:
    """Submit the command, or find the same that runs; one that is over is made anew.

    Leaving the block removes it, cluster and all, however it is left: but when the API server is away, what runs goes
    on. ClusterError if the cluster refuses, or before anything is sent if the profile cannot be used yet.
    """
    manifest = ray_job(work, name, command, environment)
    if faults := ray_job_faults(manifest):
        raise ClusterError(f"{faults[0]}; mend data_work in the profile")
    run = RayRun(connection, manifest, work.deadline_seconds + _BEYOND_DEADLINE_SECONDS)
    try:
        run.start(lambda there: outcome_of(there) is not None)
        yield run
    except ClusterError:
        if run.is_over():
            run.remove()
        raise
    except BaseException:
        run.remove()
        raise
    else:
        run.remove()
    finally:
        run.stop_hearing()
