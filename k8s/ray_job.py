"""A command on a Ray cluster of its own, as a KubeRay RayJob: the corpus steps, where one machine is not enough.

The head has no work of its own and stands on a node that stays: with it the whole cluster would be lost. Workers come
and go with the work, on spot nodes too: Ray runs the tasks of a lost worker again, and a step's shards that are
published already are not computed again. Nothing here knows what the command does.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from k8s.cluster_profile import DataWork
from k8s.pod import WORKSPACE, literal
from k8s.pod_rules import RESTRICTED_CONTAINER, RESTRICTED_POD, pod_faults, pods_of

WORK_LABELS: Mapping[str, str] = {"starloom/role": "data-work", "app.kubernetes.io/part-of": "starloom"}
"""The network policy of these pods goes by them."""
RAY_VERSION = "2.60.0"
"""That the image must hold."""
SUBMITTER = "submitter"
"""Container of the pod that gives the command to the head and says what the command says."""
HEAD = "ray-head"

_INSTANCE = "app.kubernetes.io/instance"
_MOST_NAME_CHARS = 47
"""KubeRay appends to it (MaxRayJobNameLength)."""


def ray_job(
    work: DataWork, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The manifest. `command` is program and arguments; the environment is that of all its pods.

    ValueError: a name that KubeRay would refuse.
    """
    if len(name) > _MOST_NAME_CHARS:
        raise ValueError(f"the name {name!r} has {len(name)} characters; KubeRay takes no more than {_MOST_NAME_CHARS}")
    values = {"RAY_USAGE_STATS_ENABLED": "0"} | dict(environment or {})
    submitter = _template(work, name, values, SUBMITTER, cpus=1, memory_gib=1)
    submitter["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": work.namespace, "labels": dict(WORK_LABELS) | {_INSTANCE: name}},
        "spec": {
            "entrypoint": literal(shlex.join(command)),  # two shells read it; `ray job submit` quotes for the second
            "submissionMode": "K8sJobMode",
            "submitterPodTemplate": submitter,
            "submitterConfig": {"backoffLimit": 2},  # a lost head comes back empty: then the command is given again
            "backoffLimit": 0,  # KubeRay would make a new cluster for a person's mistake as well
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
                    "template": _head(work, name, values),
                },
                "workerGroupSpecs": [_workers(work, name, values)],
            },
        },
    }


def ray_job_faults(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with its pods, one sentence each: an image whose digest nobody has set, above all."""
    faults: list[str] = []
    for pod in pods_of(manifest):
        faults += pod_faults(pod, needs_token=pod.spec["containers"][0]["name"] == HEAD)
    return faults


def _head(work: DataWork, name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    template = _template(work, name, environment, HEAD, cpus=2, memory_gib=work.head_memory_gib)
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


def _workers(work: DataWork, name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    template = _template(
        work, name, environment, "ray-worker", cpus=work.cpus_per_worker, memory_gib=work.memory_gib_per_worker
    )
    template["spec"]["terminationGracePeriodSeconds"] = 30  # a spot node is gone after two minutes, or after 30 seconds
    if work.worker_labels:
        template["spec"]["nodeSelector"] = dict(work.worker_labels)
    if work.worker_tolerations:
        template["spec"]["tolerations"] = [one.model_dump(exclude_none=True) for one in work.worker_tolerations]
    return {
        "groupName": "cpu",
        "replicas": work.min_workers,
        "minReplicas": work.min_workers,
        "maxReplicas": work.max_workers,
        "rayStartParams": {},
        "template": template,
    }


def _template(
    work: DataWork, instance: str, environment: Mapping[str, str], name: str, *, cpus: int, memory_gib: int
) -> dict[str, Any]:
    """A pod of the cluster: the workspace and room to write. Ray spills to /tmp what memory cannot hold."""
    container: dict[str, Any] = {
        "name": name,
        "image": work.image,
        "env": [{"name": key, "value": literal(value)} for key, value in sorted(environment.items())],
        "envFrom": [
            {"configMapRef": {"name": "starloom"}},
            {"configMapRef": {"name": "object-store"}},
            {"secretRef": {"name": "object-store", "optional": True}},
        ],
        "resources": _resources(cpus, memory_gib),
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "workspace", "mountPath": WORKSPACE},
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
    return {"metadata": {"labels": dict(WORK_LABELS) | {_INSTANCE: instance}}, "spec": spec}


def _resources(cpus: int, memory_gib: int) -> dict[str, Any]:
    amounts = {"cpu": str(cpus), "memory": f"{memory_gib}Gi"}
    return {"requests": dict(amounts), "limits": dict(amounts)}
