"""Why a gang waits: tables of objects as Kueue 0.13 and the Job controller write them, read in their sources."""

from typing import Any

import pytest

from k8s.gang_waiting import waits_for
from tests.k8s.crds import faults_by_crd
from tests.k8s.observed import QUOTA, condition, failed_create, pod, whole, workload

JOB = "pretrain-123456789abc-trainer-0"
SHORT = (
    "couldn't assign flavors to pod set trainer: insufficient quota for nvidia.com/gpu in flavor a100-64x8, request > "
    "maximum capacity (520 > 512)"
)
PREEMPTED = "Preempted to accommodate a workload (UID: 1, JobUID: 2) due to prioritization in the ClusterQueue"


def gang(pods: int = 2, *, suspended: bool = False, uid: str | None = "ours") -> dict[str, Any]:
    """A JobSet of so many pods."""
    one = whole(suspended=suspended)
    one["spec"]["replicatedJobs"] = [{"name": "trainer", "replicas": 1, "template": {"spec": {"parallelism": pods}}}]
    if uid:
        one["metadata"]["uid"] = uid
    return one


def made_at(index: int, at: str) -> dict[str, Any]:
    one = pod(index)
    one["metadata"]["creationTimestamp"] = at
    return one


def evicted(reason: str, message: str) -> dict[str, Any]:
    return condition("Evicted", reason, message)


@pytest.mark.parametrize(
    ("workloads", "told"),
    [
        ([workload("a", "ours", SHORT)], SHORT),
        ([workload("a", "ours", SHORT, evicted("Preempted", PREEMPTED))], f"{PREEMPTED}; {SHORT}"),
        ([workload("a", "ours", PREEMPTED, evicted("Preempted", PREEMPTED))], PREEMPTED),
        ([workload("a", "ours", "LocalQueue training doesn't exist")], "LocalQueue training doesn't exist"),
        ([workload("a", "ours", "")], "Pending"),
        ([workload("a", "another", SHORT)], "no Workload of Kueue is seen for it yet; see that Kueue runs, that"),
        ([], "no Workload of Kueue is seen for it yet"),
        (
            [{"metadata": workload("a", "ours", "")["metadata"], "spec": {"queueName": "training"}}],
            "in the queue training",
        ),
        (None, None),
    ],
)
def test_of_a_suspended_gang_kueue_is_asked(workloads: list[dict[str, Any]] | None, told: str | None) -> None:
    said = waits_for(gang(suspended=True), [], workloads, [failed_create("a", JOB, QUOTA)])
    assert said is None if told is None else said is not None and said.startswith(told)


def test_an_old_eviction_is_not_told_of_one_that_runs() -> None:
    assert waits_for(gang(), [pod(0), pod(1)], [workload("a", "ours", SHORT)], []) is None


def test_a_gang_without_a_uid_owns_no_workload_of_somebody_without_one() -> None:
    said = waits_for(gang(suspended=True, uid=None), [], [workload("a", "", SHORT)], [])
    assert said
    assert said.startswith("no Workload")


def test_the_workloads_here_have_the_fields_of_kueues_own() -> None:
    one = workload("a", "ours", SHORT, evicted("Preempted", PREEMPTED))
    template = {"spec": {"containers": [{"name": "trainer"}]}}
    one["spec"]["podSets"] = [{"name": "trainer", "count": 64, "template": template}]
    assert faults_by_crd({"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload"} | one) == []


def test_pods_that_cannot_be_made_are_told_without_the_name_of_one() -> None:
    events = [
        failed_create("a", JOB, "exceeded quota: older", at="2026-11-26T14:01:00Z"),
        failed_create("b", JOB, QUOTA),
    ]
    assert waits_for(gang(), [], None, events) == QUOTA
    assert waits_for(gang(), [pod(0)], None, events) == QUOTA
    assert waits_for(gang(), [pod(0), pod(1)], None, events) is None


def test_what_the_cluster_has_combined_is_told_the_same() -> None:
    event = failed_create("a", JOB, QUOTA)
    event["message"] = f"(combined from similar events): {event['message']}"
    assert waits_for(gang(), [], None, [event]) == QUOTA


def test_what_is_no_refusal_is_told_whole() -> None:
    event = failed_create("a", JOB, "") | {"message": "Error creating: Internal error occurred: failed calling webhook"}
    assert waits_for(gang(), [], None, [event]) == event["message"]


def test_other_warnings_are_none_of_it() -> None:
    assert waits_for(gang(), [], None, [failed_create("a", JOB, QUOTA) | {"reason": "BackoffLimitExceeded"}]) is None


@pytest.mark.parametrize(
    ("created", "told"),
    [("2026-11-26T14:01:59Z", QUOTA), ("2026-11-26T14:02:00Z", QUOTA), ("2026-11-26T14:02:01Z", None)],
)
def test_what_was_said_before_the_newest_pod_came_is_over(created: str, told: str | None) -> None:
    assert waits_for(gang(), [made_at(0, created)], None, [failed_create("a", JOB, QUOTA)]) == told


def test_events_of_the_new_kind_have_their_time_elsewhere() -> None:
    event = failed_create("a", JOB, QUOTA) | {"lastTimestamp": None, "eventTime": "2026-11-26T14:02:00.123456Z"}
    assert waits_for(gang(), [made_at(0, "2026-11-26T14:02:00Z")], None, [event]) == QUOTA
    event["series"] = {"count": 3, "lastObservedTime": "2026-11-26T14:09:00.000000Z"}
    assert waits_for(gang(), [made_at(0, "2026-11-26T14:05:00Z")], None, [event]) == QUOTA


def test_a_job_alone_says_its_pods_itself() -> None:
    job = whole()
    job["spec"]["parallelism"] = 2
    assert waits_for(job, [pod(0)], None, [failed_create("a", JOB, QUOTA)]) == QUOTA
    assert waits_for(job, [pod(0), pod(1)], None, [failed_create("a", JOB, QUOTA)]) is None
