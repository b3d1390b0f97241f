"""What a RayJob and its pods say: whether it is over and how, and what it waits for. Pure functions of plain JSON.

The words are KubeRay's (ray-operator/apis/ray/v1/rayjob_types.go of August 2026) and Ray's (job_supervisor.py of 2.60).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from k8s.failure_rules import PREEMPTED_EXIT_CODE
from k8s.ray_job import HEAD, SUBMITTER
from k8s.request import Cancelled, Failed, JobOutcome, Succeeded

Observed = dict[str, Any]

_EXIT_CODE = re.compile(r"\AJob entrypoint command failed with exit code (-?\d+)")
"""How Ray's message begins when the command ended by itself, not well."""
_WANTS_A_MEND = {"DeadlineExceeded", "ValidationFailed"}
"""Reasons for which the same again would fail again."""
_STARTING = {"ContainerCreating", "PodInitializing"}
"""What every container waits for, for a moment."""


def outcome_of(ray_job: Observed, last_lines: Sequence[str] = ()) -> JobOutcome | None:
    """None while it is not over. `last_lines` is the end of what the command said.

    Where the command did not end by itself, the head was lost or nobody knows: then as if it was preempted, since the
    same again may go well and finds the pieces that are done. One that is being deleted before its end was cancelled.
    """
    status = _status(ray_job)
    if status.get("jobStatus") == "SUCCEEDED":
        return Succeeded()
    if status.get("jobStatus") == "STOPPED":
        return Cancelled()
    if status.get("jobStatus") == "FAILED" or status.get("jobDeploymentStatus") in {"Failed", "ValidationFailed"}:
        ended = _EXIT_CODE.match(status.get("message", ""))
        code = int(ended[1]) if ended else PREEMPTED_EXIT_CODE
        return Failed(128 - code if code < 0 else code, tuple(last_lines))
    if ray_job["metadata"].get("deletionTimestamp"):
        return Cancelled()
    return None


def mend_of(ray_job: Observed) -> str | None:
    """One sentence if the cluster ended it for a reason that a person must mend first."""
    status, name = _status(ray_job), ray_job["metadata"]["name"]
    if status.get("reason") not in _WANTS_A_MEND:
        return None
    what = "deadline_seconds" if status["reason"] == "DeadlineExceeded" else "what it names"
    return f"RayJob {name} was ended: {_message(status)}; mend {what} in data_work of the profile and run again"


def told_by(ray_job: Observed, pods: Iterable[Observed]) -> str:
    """Where it is, for a person: KubeRay's words, and the pods that wait for something."""
    status = _status(ray_job)
    where = status.get("jobDeploymentStatus") or "not taken up by KubeRay yet"
    if status.get("jobStatus"):
        where += f", command {status['jobStatus']}"
    if status.get("jobDeploymentStatus") in {"Failed", "ValidationFailed", "Retrying"}:
        where += f": {status.get('reason', 'no reason given')}: {_message(status)}"
    waiting = sorted({f"{container_of(pod)} waits: {why}" for pod in pods if (why := _waits_for(pod))})
    return "; ".join([where, *waiting])


def is_heard(pod: Observed) -> bool:
    """Whether it says, or has said, what the command says."""
    return container_of(pod) == SUBMITTER and bool(_state(pod).keys() & {"running", "terminated"})


def container_of(pod: Observed) -> str:
    """The name of its first container: submitter, head or worker."""
    return pod["spec"]["containers"][0]["name"]


def _waits_for(pod: Observed) -> str | None:
    """Of head and submitter why they do not run yet; that workers wait for nodes is the pool's growth."""
    if container_of(pod) not in {HEAD, SUBMITTER} or pod["metadata"].get("deletionTimestamp"):
        return None
    waiting = _state(pod).get("waiting") or {}
    if waiting.get("reason") and waiting["reason"] not in _STARTING:
        return ": ".join(filter(None, (waiting["reason"], waiting.get("message"))))
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return condition.get("message") or condition.get("reason")
    return None


def _state(pod: Observed) -> Observed:
    """Of the first container."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == container_of(pod):
            return status.get("state") or {}
    return {}


def _status(ray_job: Observed) -> Observed:
    return ray_job.get("status") or {}


def _message(status: Observed) -> str:
    """On one line; Ray appends the end of the log, which was heard already."""
    return " ".join(status.get("message", "").partition(", last available logs")[0].split()) or "no message"
