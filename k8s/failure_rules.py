"""What the cluster does when a pod fails: a mistake ends the run at once, anything else starts all pods anew together.

Kubernetes decides twice. The Job's rules tell kinds of failure of a pod apart; all that match end the Job for the same
reason, PodFailurePolicy. The JobSet's rules then say what becomes of the set; what matches none restarts it and counts.
"""

from typing import Any

from k8s.cluster_profile import IndexedJobGang, JobSetGang

TRAINER = "trainer"
"""Name of the one container, and of the one replicated Job."""
MISTAKE_EXIT_CODE = 42
"""A person must mend something first: trying again would fail again. A test holds it to the worker's own number."""
PREEMPTED_EXIT_CODE = 75
"""The program was asked to stop and has saved its work."""

_MISTAKE_INDEX, _FIRST_DISRUPTION_INDEX, _LAST_DISRUPTION_INDEX = 0, 1, 2


def pod_failure_policy(gang: JobSetGang | IndexedJobGang, *, is_restarted: bool) -> dict[str, Any]:
    """Of the Job. The order counts: the JobSet's rules name these by their place."""
    rules = [_fail_job_on_exit(MISTAKE_EXIT_CODE)]
    if isinstance(gang, JobSetGang) and gang.tells_failures_apart and is_restarted:
        # Ranks agree to stop, so the pods that were not disrupted end too, with 75, and mostly before the one that was.
        rules.append(_fail_job_on_exit(PREEMPTED_EXIT_CODE))
        rules.append({"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]})
    return {"rules": rules}


def _fail_job_on_exit(code: int) -> dict[str, Any]:
    return {"action": "FailJob", "onExitCodes": {"containerName": TRAINER, "operator": "In", "values": [code]}}


def set_failure_policy(gang: JobSetGang, *, is_restarted: bool) -> dict[str, Any]:
    """Of the JobSet. Before JobSet 0.10 a preemption cannot be told from a mistake, so it counts as a restart."""
    mistake: dict[str, Any] = {"name": "mistake", "action": "FailJobSet", **_when_a_rule_matched()}
    rules = [mistake]
    if gang.tells_failures_apart and is_restarted:
        mistake["onJobFailureMessagePatterns"] = [_matched_at(str(_MISTAKE_INDEX))]
        disruption = {"name": "disruption", "action": "RestartJobSetAndIgnoreMaxRestarts", **_when_a_rule_matched()}
        disruption["onJobFailureMessagePatterns"] = [
            _matched_at(f"[{_FIRST_DISRUPTION_INDEX}-{_LAST_DISRUPTION_INDEX}]")
        ]
        rules.append(disruption)
    return {
        "maxRestarts": gang.max_restarts if is_restarted else 0,
        "restartStrategy": "BlockingRecreate",  # else two generations of pods may share a node's memory for a while
        "rules": rules,
    }


def _when_a_rule_matched() -> dict[str, Any]:
    return {"targetReplicatedJobs": [TRAINER], "onJobFailureReasons": ["PodFailurePolicy"]}


def _matched_at(index: str) -> str:
    """Pattern of the message that Kubernetes' Job controller leaves (pkg/controller/job/pod_failure_policy.go)."""
    return f"matching FailJob rule at index {index}$"
