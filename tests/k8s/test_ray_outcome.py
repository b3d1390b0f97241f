"""What a RayJob's status says, by tables of KubeRay's and Ray's own words."""

from typing import Any

import pytest

from k8s.ray_outcome import is_heard, mend_of, outcome_of, told_by
from k8s.request import Cancelled, Failed, JobOutcome, Succeeded

EXIT = "Job entrypoint command failed with exit code {}, last available logs (truncated to 20,000 chars):\nerror: x\n"
RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}


def ray_job(*, deleted: bool = False, **status: Any) -> dict[str, Any]:
    metadata = {"name": "deduplicate-0123456789ab"} | ({"deletionTimestamp": "2026-11-26T14:03:00Z"} if deleted else {})
    return {"metadata": metadata} | ({"status": status} if status else {})


def pod(container: str, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    statuses = [{"name": container, "state": state}] if state is not None else []
    return {
        "metadata": {"name": f"x-{container}"},
        "spec": {"containers": [{"name": container}, {"name": "autoscaler"}]},
        "status": {"containerStatuses": statuses} | status,
    }


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (ray_job(), None),
        (ray_job(jobDeploymentStatus="Initializing"), None),
        (ray_job(**RUNNING), None),
        (ray_job(jobDeploymentStatus="Suspended"), None),
        (ray_job(jobDeploymentStatus="Retrying", jobStatus=""), None),
        # The submitter still reads the log: the command is over all the same.
        (ray_job(jobDeploymentStatus="Running", jobStatus="SUCCEEDED"), Succeeded()),
        (ray_job(jobDeploymentStatus="Complete", jobStatus="SUCCEEDED"), Succeeded()),
        (ray_job(jobDeploymentStatus="Complete", jobStatus="SUCCEEDED", deleted=True), Succeeded()),
        (ray_job(jobDeploymentStatus="Running", jobStatus="FAILED", message=EXIT.format(2)), Failed(2, ("last",))),
        (ray_job(jobStatus="FAILED", message=EXIT.format(137)), Failed(137, ("last",))),
        (ray_job(jobStatus="FAILED", message=EXIT.format(-9)), Failed(137, ("last",))),
        (ray_job(jobStatus="FAILED", message="Job entrypoint command failed with exit code 1. No logs available."),
         Failed(1, ("last",))),
        # Not the command: the head was lost, or the submitter never reached it. The same again may go well.
        (ray_job(jobStatus="FAILED", message="Job supervisor actor died"), Failed(75, ("last",))),
        (ray_job(jobDeploymentStatus="Failed", reason="SubmissionFailed", message="code 2"), Failed(75, ("last",))),
        (ray_job(jobDeploymentStatus="Failed", reason="JobStatusCheckTimeoutExceeded"), Failed(75, ("last",))),
        (ray_job(jobDeploymentStatus="Complete", jobStatus="STOPPED"), Cancelled()),
        (ray_job(deleted=True, **RUNNING), Cancelled()),
    ],
)  # fmt: skip
def test_how_it_ended(seen: dict[str, Any], outcome: JobOutcome | None):
    assert outcome_of(seen, ("last",)) == outcome


@pytest.mark.parametrize(
    ("reason", "field"), [("DeadlineExceeded", "deadline_seconds"), ("ValidationFailed", "what it names")]
)
def test_what_would_fail_again_wants_a_mend(reason: str, field: str):
    seen = ray_job(jobDeploymentStatus="Failed", reason=reason, message="The RayJob has passed it.")
    assert mend_of(seen) == (
        f"RayJob deduplicate-0123456789ab was ended: The RayJob has passed it.; mend {field} in data_work of the "
        "profile and run again"
    )


def test_what_may_go_well_again_wants_none():
    assert mend_of(ray_job(jobDeploymentStatus="Failed", reason="SubmissionFailed")) is None
    assert mend_of(ray_job()) is None


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}


@pytest.mark.parametrize(
    ("seen", "pods", "told"),
    [
        (ray_job(), [], "not taken up by KubeRay yet"),
        (ray_job(**RUNNING), [pod("ray-head", {"running": {}})], "Running, command RUNNING"),
        (
            ray_job(jobDeploymentStatus="Initializing"),
            [pod("ray-head", {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}})],
            "Initializing; ray-head waits: ImagePullBackOff: Back-off",
        ),
        (
            ray_job(jobDeploymentStatus="Initializing"),
            [pod("ray-head", {"waiting": {"reason": "ContainerCreating"}})],
            "Initializing",
        ),
        (
            ray_job(jobDeploymentStatus="Initializing"),
            [pod("ray-head", conditions=[NO_NODE]), pod("ray-worker", conditions=[NO_NODE])],
            "Initializing; ray-head waits: 0/3 nodes are available",
        ),
        (
            ray_job(jobDeploymentStatus="Failed", jobStatus="FAILED", reason="AppFailed", message=EXIT.format(2)),
            [],
            "Failed, command FAILED: AppFailed: Job entrypoint command failed with exit code 2",
        ),
    ],
)
def test_where_it_is(seen: dict[str, Any], pods: list[dict[str, Any]], told: str):
    assert told_by(seen, pods) == told


def test_the_submitter_alone_is_heard_once_it_has_started():
    assert is_heard(pod("submitter", {"running": {}}))
    assert is_heard(pod("submitter", {"terminated": {"exitCode": 0}}))
    assert not is_heard(pod("submitter", {"waiting": {"reason": "ContainerCreating"}}))
    assert not is_heard(pod("submitter"))
    assert not is_heard(pod("ray-head", {"running": {}}))
