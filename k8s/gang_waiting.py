"""Why a gang waits, in the words of Kueue, or of the Job controller that cannot make its pods.

Pure functions of plain JSON. What a pod waits for that is there already, the pod says itself (k8s/gang_outcome.py).
"""

from collections.abc import Iterable
from typing import Any

Observed = dict[str, Any]

_NOT_SEEN = (
    "no Workload of Kueue is seen for it yet; see that Kueue runs, that its configuration manages JobSets, that the "
    "priority class exists, and that this account may list workloads"
)
_MARK = " is forbidden: "
_FAILED_CREATE = "FailedCreate"
"""Reason of the Job controller's event `Error creating: pods "NAME" is forbidden: exceeded quota: ...`."""

_CHARS_TO_THE_SECOND = len("2026-11-26T14:00:00")
"""Some times have fractions, others have none."""


def waits_for(
    gang: Observed, pods: Iterable[Observed], workloads: Iterable[Observed] | None, events: Iterable[Observed]
) -> str | None:
    """Of a JobSet or a Job; None if all its pods are there, or nobody has said why they are not.

    `workloads`: all of its namespace; None if it is in no queue. `events`: those of its Job.
    """
    if gang["spec"].get("suspend"):
        return None if workloads is None else _in_the_queue(gang, workloads)
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    if len(staying) >= _pods_asked_for(gang):
        return None
    return _not_made(staying, events)


def _in_the_queue(gang: Observed, workloads: Iterable[Observed]) -> str:
    uid = gang["metadata"].get("uid")
    for workload in workloads:
        owners = workload["metadata"].get("ownerReferences") or ()
        if uid and any(owner.get("uid") == uid for owner in owners):
            return _said_of(workload)
    return _NOT_SEEN


def _said_of(workload: Observed) -> str:
    """Why it was put out, and what it lacks now."""
    conditions = {one["type"]: one for one in workload.get("status", {}).get("conditions") or ()}
    said = [
        conditions[kind].get("message") or conditions[kind].get("reason", "")
        for kind, status in (("Evicted", "True"), ("QuotaReserved", "False"))
        if kind in conditions and conditions[kind]["status"] == status
    ]
    return "; ".join(filter(None, dict.fromkeys(said))) or f"in the queue {workload['spec'].get('queueName', '')}"


def _pods_asked_for(gang: Observed) -> int:
    spec = gang["spec"]
    if "replicatedJobs" not in spec:
        return spec.get("parallelism", 1)
    return sum(one.get("replicas", 1) * one["template"]["spec"].get("parallelism", 1) for one in spec["replicatedJobs"])


def _not_made(staying: list[Observed], events: Iterable[Observed]) -> str | None:
    """What was said since the newest pod came: an event stays for an hour, also when its cause is gone."""
    newest = max((pod["metadata"].get("creationTimestamp") or "" for pod in staying), default="")
    newest = newest[:_CHARS_TO_THE_SECOND]
    said = [one for one in events if one.get("reason") == _FAILED_CREATE and _at(one) >= newest]
    if not said:
        return None
    message = max(said, key=_at).get("message") or ""
    return message.rpartition(_MARK)[2]  # without the name of the pod, which is another at each try


def _at(event: Observed) -> str:
    series = event.get("series") or {}
    return (
        event.get("lastTimestamp")
        or series.get("lastObservedTime")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )[:_CHARS_TO_THE_SECOND]
