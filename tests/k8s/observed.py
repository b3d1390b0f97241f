"""Objects as a control plane shows them, cut to the fields that a launcher reads."""

from typing import Any

LABELS = {"app.kubernetes.io/instance": "pretrain-123456789abc"}


def condition(kind: str, reason: str, message: str = "", at: str = "2026-11-26T14:03:00Z") -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at}


def whole(*conditions: dict[str, Any], deleted: bool = False, suspended: bool = False, **status: Any) -> dict[str, Any]:
    """A JobSet or a Job."""
    metadata = {"name": "pretrain-123456789abc"} | ({"deletionTimestamp": "2026-11-26T14:03:00Z"} if deleted else {})
    return {
        "metadata": metadata,
        "spec": {"suspend": suspended},
        "status": {"conditions": list(conditions), **status},
    }


def pod(
    index: int,
    phase: str = "Running",
    *,
    code: int | None = None,
    at: str = "14:02:00",
    why: str = "Error",
    disrupted: str | None = None,
    restart: int = 0,
    node: str | None = None,
) -> dict[str, Any]:
    """With its container's end if `code` is given."""
    name = f"pretrain-123456789abc-trainer-0-{index}-r{restart}"
    state: dict[str, Any] = {"running": {"startedAt": "2026-11-26T14:01:00Z"}} if phase == "Running" else {}
    if code is not None:
        state = {"terminated": {"exitCode": code, "reason": why, "finishedAt": f"2026-11-26T{at}Z"}}
    conditions = [condition("DisruptionTarget", disrupted)] if disrupted else []
    return {
        "metadata": {
            "name": name,
            "labels": LABELS | {"jobset.sigs.k8s.io/restart-attempt": str(restart)},
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
        },
        "spec": {"nodeName": node or f"gpu-{index}"},
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": [{"name": "trainer", "state": state}],
        },
    }


def workload(name: str, owner_uid: str, message: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Kueue's, of a gang that waits; `message` is why it has no quota."""
    waits = condition("QuotaReserved", "Pending", message) | {"status": "False"}
    owner = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "any", "uid": owner_uid}
    return {
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": {"queueName": "training", "active": True},
        "status": {"conditions": [waits, *more]},
    }


QUOTA = (
    "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=0, limited: "
    "requests.nvidia.com/gpu=4"
)


def failed_create(name: str, job: str, why: str, at: str = "2026-11-26T14:02:00Z") -> dict[str, Any]:
    """Event of the Job controller (Kubernetes' controller_utils.go), whose pod was refused."""
    return {
        "metadata": {"name": name, "creationTimestamp": at},
        "involvedObject": {"kind": "Job", "name": job},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": f'Error creating: pods "{job}-0-x7k2p" is forbidden: {why}',
        "lastTimestamp": at,
    }
