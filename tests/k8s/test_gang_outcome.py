"""Outcomes from tables of objects. The conditions are those of Kubernetes 1.36 and JobSet 0.8 (its constants)."""

from typing import Any

import pytest

from k8s.gang_outcome import first_failing, of_last_attempt, outcome_of, status_of
from k8s.request import (
    Cancelled,
    Evicted,
    Infrastructure,
    PodPlace,
    Preempted,
    Succeeded,
    TimedOut,
    UserError,
)
from tests.k8s.observed import condition, pod, whole

SET_DONE = condition("Completed", "AllJobsCompleted", "jobset completed successfully")
SET_BY_RULE = condition(
    "Failed", "FailJobSetFailurePolicyAction", "applying FailJobSet failure policy action (first failed job: trainer-0)"
)
SET_WORN_OUT = condition("Failed", "ReachedMaxRestarts", "jobset failed due to reaching max number of restarts")
JOB_BY_RULE = condition(
    "Failed",
    "PodFailurePolicy",
    "Container trainer for pod ns/pretrain-0 failed with exit code 42 matching FailJob rule at index 0",
)
JOB_NO_RETRY = condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
JOB_DISRUPTED = condition(
    "Failed", "PodFailurePolicy", "Pod ns/pretrain-1 has condition DisruptionTarget matching FailJob rule at index 2"
)
CRASHED = pod(1, "Failed", code=1, at="14:02:00")
PEER = pod(0, "Failed", code=75, at="14:02:09")

TABLE: dict[str, tuple[dict[str, Any], list[dict[str, Any]], type | None]] = {
    "a JobSet whose Jobs are complete": (whole(SET_DONE), [pod(0, "Succeeded", code=0)], Succeeded),
    "a Job that is complete": (whole(condition("Complete", "CompletionsReached")), [], Succeeded),
    "one that succeeded before it was deleted": (whole(SET_DONE, deleted=True), [], Succeeded),
    "at work": (whole(), [pod(0), pod(1)], None),
    "nothing known yet": ({"metadata": {"name": "x"}, "spec": {}}, [], None),
    "waiting in its queue": (whole(condition("Suspended", "SuspendedJobs"), suspended=True), [], None),
    "a pod failed and the set restarts": (whole(restarts=1), [CRASHED, PEER], None),
    "a Job that is about to fail": (whole(condition("FailureTarget", "PodFailurePolicy")), [CRASHED], None),
    "a mistake, by the set's rule": (whole(SET_BY_RULE), [pod(0, "Failed", code=42)], UserError),
    "a mistake whose pods are gone": (whole(SET_BY_RULE), [], UserError),
    "a mistake, by the Job's message": (whole(JOB_BY_RULE), [], UserError),
    "a mistake of one, of which another died first": (
        whole(SET_WORN_OUT),
        [CRASHED, pod(0, "Failed", code=42, at="14:02:05")],
        UserError,
    ),
    "a crash, peers saved": (whole(SET_WORN_OUT), [CRASHED, PEER], Infrastructure),
    "a crash in a Job": (whole(JOB_NO_RETRY), [CRASHED], Infrastructure),
    "out of memory": (whole(JOB_NO_RETRY), [pod(1, "Failed", code=137, why="OOMKilled")], Infrastructure),
    "no pod is left": (whole(SET_WORN_OUT), [], Infrastructure),
    "asked to end, all saved": (whole(JOB_NO_RETRY), [PEER, pod(1, "Failed", code=75)], Preempted),
    "preempted by the scheduler": (
        whole(SET_WORN_OUT),
        [PEER, pod(1, "Failed", code=143, at="14:02:20", disrupted="PreemptionByScheduler")],
        Preempted,
    ),
    "drained": (whole(JOB_DISRUPTED), [pod(1, "Failed", code=75, disrupted="EvictionByEvictionAPI"), PEER], Evicted),
    "a node under pressure": (whole(JOB_NO_RETRY), [pod(1, "Failed", disrupted="TerminationByKubelet")], Evicted),
    "a node was lost": (whole(SET_WORN_OUT), [CRASHED, pod(0, disrupted="DeletionByTaintManager")], Infrastructure),
    "at its deadline": (whole(condition("Failed", "DeadlineExceeded", "Job was active longer")), [PEER], TimedOut),
    "deleted at work": (whole(deleted=True), [pod(0)], Cancelled),
    "failed, then deleted": (whole(JOB_NO_RETRY, deleted=True), [CRASHED], Infrastructure),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_outcome_of(case: str) -> None:
    gang, pods, expected = TABLE[case]
    outcome = outcome_of(gang, pods)
    assert type(outcome) is (expected or type(None))
    assert outcome_of(gang, reversed(pods)) == outcome, "the order of pods has no meaning"


def test_an_outcome_tells_the_pod_and_the_mend() -> None:
    out_of_memory = outcome_of(whole(JOB_NO_RETRY), [pod(1, "Failed", code=137, why="OOMKilled")])
    assert isinstance(out_of_memory, Infrastructure)
    assert "trainer-0-1-r0 was killed because its memory ran out (raise limits.memory_gib" in out_of_memory.told
    drained = outcome_of(whole(JOB_DISRUPTED), [pod(1, "Failed", disrupted="EvictionByEvictionAPI", node="gpu-7")])
    assert isinstance(drained, Evicted)
    assert "on gpu-7 was taken: EvictionByEvictionAPI" in drained.told


def test_the_first_that_fails_is_the_earliest_and_not_the_lowest() -> None:
    assert first_failing([PEER, CRASHED, pod(2)]) == CRASHED
    assert first_failing([pod(3, "Failed", code=1), pod(2, "Failed", code=1)]) == pod(2, "Failed", code=1)
    assert first_failing([pod(0), pod(1, "Succeeded", code=0)]) is None


def test_the_status_tells_places_in_the_order_of_ranks_and_what_is_waited_for() -> None:
    pending = pod(1, "Pending")
    del pending["spec"]["nodeName"]
    pending["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/74 nodes"}],
    }
    pulling = pod(2, "Pending")
    pulling["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ImagePullBackOff"}}
    leaving = pod(0)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-26T14:03:00Z"
    status = status_of(whole(restarts=2), [pulling, pending, leaving, pod(0, restart=1)])
    assert status.restarts == 2
    assert not status.is_suspended
    assert status.pods == (
        PodPlace(0, "pretrain-123456789abc-trainer-0-0-r1", "gpu-0", "Running", None),
        PodPlace(1, "pretrain-123456789abc-trainer-0-1-r0", None, "Pending", "0/74 nodes"),
        PodPlace(2, "pretrain-123456789abc-trainer-0-2-r0", "gpu-2", "Pending", "ImagePullBackOff"),
    )


def test_pods_of_before_a_restart_have_no_say() -> None:
    old, new = pod(0, "Failed", code=1), pod(0, "Failed", code=75, restart=2)
    assert of_last_attempt([old, new, pod(1, restart=2)]) == [new, pod(1, restart=2)]
    assert of_last_attempt([]) == []
