"""A command on a Ray cluster of its own, as a KubeRay RayJob: the corpus steps, where one machine is not enough.

The head has no work of its own and stands on a node that stays: with it the whole cluster would be lost. Workers come
and go with the work, on spot nodes too: Ray runs the tasks of a lost worker again, and a step's shards that are
published already are not computed again. Nothing here knows what the command does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from k8s.pod_rules import RESTRICTED_CONTAINER, RESTRICTED_POD

NAMESPACE = "starloom-runs"
WORK_LABELS: Mapping[str, str] = {"starloom/role": "data-work", "app.kubernetes.io/part-of": "starloom"}
"""The network policy of these pods goes by them."""
RAY_VERSION = "2.60.0"


@dataclass(frozen=True)
class RayWork:
    """What is asked: a command, and how far the pool of workers may grow."""

    name: str
    """A DNS label of at most 47 characters: KubeRay appends to it."""
    command: str
    """As one types it; the submitter gives it to `ray job submit`."""
    image: str
    """By its digest; it must hold Ray of RAY_VERSION."""
    workspace_claim: str
    """A ReadWriteMany claim: every node sees the workspace under the same path."""
    max_workers: int
    cpus_per_worker: int
    memory_gib_per_worker: int
    min_workers: int = 0
    deadline_seconds: int = 86_400
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    spot_tolerations: tuple[Mapping[str, str], ...] = ()
    """Tolerations of the taints that spot nodes carry; with none the workers stay off them."""


def ray_job(work: RayWork) -> dict[str, Any]:
    """The manifest. ValueError: a pool that cannot be, or a name that KubeRay would refuse."""
    if not 0 <= work.min_workers <= work.max_workers or work.max_workers < 1:
        raise ValueError(f"{work.min_workers} to {work.max_workers} workers is no pool; ask for at least one at most")
    if len(work.name) > 47:
        raise ValueError(f"the name {work.name!r} has {len(work.name)} characters; KubeRay takes no more than 47")
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": work.name, "namespace": NAMESPACE, "labels": dict(WORK_LABELS)},
        "spec": {
            "entrypoint": work.command,
            "submissionMode": "K8sJobMode",
            "submitterPodTemplate": _template(work, "submitter", cpus=1, memory_gib=1, restart="Never"),
            "backoffLimit": 2,  # a lost head: a new cluster, in which what is published is found
            "activeDeadlineSeconds": work.deadline_seconds,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": {
                    "idleTimeoutSeconds": 120,
                    "resources": _resources(1, 1),
                    "securityContext": dict(RESTRICTED_CONTAINER),
                },
                "headGroupSpec": {
                    # No CPUs: the head plans and keeps the books, and is not killed by a step's memory.
                    "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},  # noqa: S104
                    "template": _head(work),
                },
                "workerGroupSpecs": [_workers(work)],
            },
        },
    }


def _head(work: RayWork) -> dict[str, Any]:
    template = _template(work, "ray-head", cpus=2, memory_gib=8)
    template["metadata"]["annotations"] = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    # The account has no rights of ours: KubeRay binds those of the autoscaler beside the head to it (rbac.go).
    template["spec"]["serviceAccountName"] = "ray-head"
    template["spec"]["automountServiceAccountToken"] = True
    (head,) = template["spec"]["containers"]
    head["ports"] = [
        {"name": "gcs-server", "containerPort": 6379},
        {"name": "dashboard", "containerPort": 8265},
        {"name": "client", "containerPort": 10001},
    ]
    return template


def _workers(work: RayWork) -> dict[str, Any]:
    template = _template(work, "ray-worker", cpus=work.cpus_per_worker, memory_gib=work.memory_gib_per_worker)
    template["spec"]["terminationGracePeriodSeconds"] = 30  # a spot node is gone after two minutes, or after 30 seconds
    if work.spot_tolerations:
        template["spec"]["tolerations"] = [dict(toleration) for toleration in work.spot_tolerations]
    return {
        "groupName": "cpu",
        "replicas": work.min_workers,
        "minReplicas": work.min_workers,
        "maxReplicas": work.max_workers,
        "rayStartParams": {},
        "template": template,
    }


def _template(work: RayWork, name: str, *, cpus: int, memory_gib: int, restart: str | None = None) -> dict[str, Any]:
    """A pod of the cluster: the workspace and room to write. Ray spills to /tmp what memory cannot hold."""
    container: dict[str, Any] = {
        "name": name,
        "image": work.image,
        "env": [{"name": key, "value": value} for key, value in sorted(work.environment.items())],
        "envFrom": [
            {"configMapRef": {"name": "starloom"}},
            {"configMapRef": {"name": "object-store"}},
            {"secretRef": {"name": "object-store", "optional": True}},
        ],
        "resources": _resources(cpus, memory_gib),
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "home", "mountPath": "/home/starloom"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - inside the pod
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }
    spec: dict[str, Any] = {
        "serviceAccountName": "data-work",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": dict(RESTRICTED_POD),
        "containers": [container],
        "volumes": [
            {"name": "workspace", "persistentVolumeClaim": {"claimName": work.workspace_claim}},
            {"name": "home", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "100Gi"}},
            # Ray's object store; it counts as memory of the pod.
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{max(1, memory_gib * 3 // 10)}Gi"}},
        ],
    }
    if restart:
        spec["restartPolicy"] = restart
    return {"metadata": {"labels": dict(WORK_LABELS)}, "spec": spec}


def _resources(cpus: int, memory_gib: int) -> dict[str, Any]:
    amounts = {"cpu": str(cpus), "memory": f"{memory_gib}Gi"}
    return {"requests": dict(amounts), "limits": dict(amounts)}
