"""What the objects of a gang say: how it ended and why, where its pods are. Pure functions of plain JSON.

The JobSet or the Job says that the gang ended; only the pods say why, and a pod that fails takes its peers along. So
the cause is looked for in this order: a mistake in any pod, a disruption of any pod, then the pod that failed first.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from k8s.failure_rules import MISTAKE_EXIT_CODE, PREEMPTED_EXIT_CODE, TRAINER
from k8s.request import (
    Cancelled,
    Evicted,
    GangOutcome,
    GangStatus,
    Infrastructure,
    PodPlace,
    Preempted,
    Succeeded,
    TimedOut,
    UserError,
)

Observed = dict[str, Any]

INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"

_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
"""Label that a JobSet puts on pods."""
_DONE = {"Complete", "Completed"}
"""Condition of a Job, and of a JobSet."""
_DISRUPTIONS: dict[str, type[Preempted] | type[Evicted]] = {
    "PreemptionByScheduler": Preempted,
    "EvictionByEvictionAPI": Evicted,
    "TerminationByKubelet": Evicted,
}
"""Reasons of a pod's condition DisruptionTarget. The others, a taint or the garbage collection, mean a lost node."""
_SET_FAILED_BY_RULE = "FailJobSetFailurePolicyAction"
_MISTAKE_MESSAGE = f"with exit code {MISTAKE_EXIT_CODE} "
"""The Job controller says: `Container C for pod N/P failed with exit code 42 matching FailJob rule at index 0`."""
_NOT_YET = "\uffff"
"""Sorts behind every time."""


def outcome_of(gang: Observed, pods: Iterable[Observed]) -> GangOutcome | None:
    """Of a JobSet or a Job and its pods; None while it is not over.

    A gang that is being deleted before its end was cancelled, by whomever.
    """
    conditions = _conditions(gang)
    if conditions.keys() & _DONE:
        return Succeeded()
    if "Failed" in conditions:
        return _cause(conditions["Failed"], list(pods))
    if gang["metadata"].get("deletionTimestamp"):
        return Cancelled()
    return None


def _cause(failed: Observed, pods: list[Observed]) -> GangOutcome:
    reason, message = failed.get("reason", ""), failed.get("message", "")
    if reason == "DeadlineExceeded":
        return TimedOut(f"the cluster ended it at its deadline: {message}")
    mistaken = [pod for pod in pods if exit_code_of(pod) == MISTAKE_EXIT_CODE]
    if mistaken or reason == _SET_FAILED_BY_RULE or _MISTAKE_MESSAGE in message:
        who = f"pod {_name(mistaken[0])}" if mistaken else "a pod"
        return UserError(f"{who} ended with {MISTAKE_EXIT_CODE}: mend what the end of its log says and run again")
    disrupted = [(pod, _conditions(pod)["DisruptionTarget"]) for pod in pods if "DisruptionTarget" in _conditions(pod)]
    if disrupted:
        return _disruption(*min(disrupted, key=lambda one: one[1].get("lastTransitionTime", _NOT_YET)))
    first = first_failing(pods)
    if first is None:
        return Infrastructure(f"it failed and no pod is left to say why: {reason}: {message}")
    if exit_code_of(first) == PREEMPTED_EXIT_CODE:
        return Preempted(f"pod {_name(first)} was asked to end and saved its work; run again to go on")
    told = f"pod {_name(first)} {_how_it_ended(first)}; run again to go on from the last checkpoint"
    return Infrastructure(told, exit_code_of(first))


def _disruption(pod: Observed, condition: Observed) -> GangOutcome:
    reason = condition.get("reason", "")
    told = f"pod {_name(pod)} on {_node(pod)} was taken: {reason}; run again to go on from the last checkpoint"
    return _DISRUPTIONS.get(reason, Infrastructure)(told)


def first_failing(pods: Iterable[Observed]) -> Observed | None:
    """The pod that failed before the others; of the same second, the one of the lowest index."""
    failed = [pod for pod in pods if exit_code_of(pod) or pod.get("status", {}).get("phase") == "Failed"]
    return min(failed, key=lambda pod: (_ended_at(pod), index_of(pod)), default=None)


def of_last_attempt(pods: Collection[Observed]) -> list[Observed]:
    """Those since the JobSet's last restart: older ones failed of something that the restart has mended."""
    attempts = {one["metadata"]["name"]: int((one["metadata"].get("labels") or {}).get(_ATTEMPT, 0)) for one in pods}
    last = max(attempts.values(), default=0)
    return [one for one in pods if attempts[one["metadata"]["name"]] == last]


def status_of(gang: Observed, pods: Iterable[Observed], waiting: str | None = None) -> GangStatus:
    """Where it is. The restarts are a JobSet's; a Job alone has none. `waiting` is why pods are not there."""
    pods = list(pods)
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return GangStatus(
        is_suspended=bool(gang["spec"].get("suspend")),
        restarts=gang.get("status", {}).get("restarts") or 0,
        pods=tuple(sorted(map(_place, staying), key=lambda place: (place.index, place.name))),
        leaving=tuple(_place(pod) for pod in pods if pod["metadata"].get("deletionTimestamp")),
        waits_for=waiting,
    )


def _place(pod: Observed) -> PodPlace:
    return PodPlace(
        index=index_of(pod),
        name=_name(pod),
        node=pod["spec"].get("nodeName"),
        phase=pod.get("status", {}).get("phase", "Pending"),
        waits_for=_waits_for(pod),
        held_since=_seconds_of(pod.get("status", {}).get("startTime")),
        held_until=_seconds_of(_container_state(pod).get("terminated", {}).get("finishedAt")),
    )


def _seconds_of(time: str | None) -> float | None:
    """Of the API's times, such as 2026-11-26T14:03:00Z."""
    return None if time is None else datetime.fromisoformat(time).timestamp()


def _waits_for(pod: Observed) -> str | None:
    """The container's word, such as ImagePullBackOff, or else the scheduler's."""
    waiting = _container_state(pod).get("waiting")
    if waiting:
        return ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return condition.get("message") or condition.get("reason")
    return None


def index_of(pod: Observed) -> int:
    """Its completion index; the pod of 0 has rank 0."""
    return int((pod["metadata"].get("annotations") or {}).get(INDEX_ANNOTATION, 0))


def has_started(pod: Observed) -> bool:
    """Whether its container runs or has run, so that there is a log."""
    return bool(_container_state(pod).keys() & {"running", "terminated"})


def exit_code_of(pod: Observed) -> int | None:
    """Of the one container; None while it has not ended."""
    return _container_state(pod).get("terminated", {}).get("exitCode")


def _how_it_ended(pod: Observed) -> str:
    ended = _container_state(pod).get("terminated")
    if ended is None:
        status = pod.get("status", {})
        return f"failed: {status.get('reason', 'no reason given')}: {status.get('message', '')}".rstrip(": ")
    if ended.get("reason") == "OOMKilled":
        return "was killed because its memory ran out (raise limits.memory_gib of the profile)"
    return f"ended with exit code {ended['exitCode']}"


def _ended_at(pod: Observed) -> str:
    return _container_state(pod).get("terminated", {}).get("finishedAt") or _NOT_YET


def _container_state(pod: Observed) -> Observed:
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == TRAINER:
            return status.get("state") or {}
    return {}


def _conditions(one: Observed) -> dict[str, Observed]:
    """Those that hold, by their type."""
    conditions = one.get("status", {}).get("conditions") or ()
    return {condition["type"]: condition for condition in conditions if condition["status"] == "True"}


def _name(pod: Observed) -> str:
    return pod["metadata"]["name"]


def _node(pod: Observed) -> str:
    return pod["spec"].get("nodeName", "no node")
