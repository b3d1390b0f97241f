"""The pod of a gang: one container that runs torchrun, with a node's devices, and no right that it does not need.

All values are plain JSON. Quantities are strings: the Kubernetes client takes no numbers for them.
"""

from typing import Any

from k8s.cluster_profile import Cluster, NodePool
from k8s.failure_rules import TRAINER
from k8s.request import GangRequest

WORKSPACE = "/workspace"
"""Where the pods see the workspace."""
MASTER_PORT = 29_500
"""Where rank 0 listens; torchrun's own default."""

_SECONDS_TO_LEAVE = 10
"""Of the grace, what torchrun keeps for itself after its ranks have ended."""
_USER = 10_001
"""Of the image."""
_INDEX = "JOB_COMPLETION_INDEX"
_INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"

_ALWAYS = {
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # else restarted ranks meet the addresses of the dead (torch 2.13)
    "HOME": "/tmp",  # noqa: S108 - the root file system is read-only; caches of libraries go there
}
_ON_GPUS = {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}  # a dead peer ends the rank, so that the set can restart


def pod_spec(cluster: Cluster, request: GangRequest, master_host: str) -> dict[str, Any]:
    """Of every pod of the gang; they differ only in their index, which Kubernetes gives them."""
    spec: dict[str, Any] = {
        "serviceAccountName": cluster.service_account,
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": cluster.grace_seconds,
        "nodeSelector": dict(cluster.pool.labels),
        "tolerations": _tolerations(cluster.pool),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # a large workspace is not walked through at every start
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(cluster, request, master_host)],
        "volumes": _volumes(cluster, request),
    }
    if cluster.priority_class:
        spec["priorityClassName"] = cluster.priority_class
    return spec


def _container(cluster: Cluster, request: GangRequest, master_host: str) -> dict[str, Any]:
    has_adapters = cluster.pool.network.kind != "none"
    capabilities = {"drop": ["ALL"]} | ({"add": ["IPC_LOCK"]} if has_adapters else {})  # they pin memory
    container: dict[str, Any] = {
        "name": TRAINER,
        "image": cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": _command(cluster, request, master_host),
        "workingDir": WORKSPACE,
        "env": _environment(cluster, request),
        "resources": _resources(cluster, request),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": capabilities,
        },
        "volumeMounts": _mounts(request),
    }
    if request.checkpoint_store and cluster.storage.credentials_secret:
        container["envFrom"] = [{"secretRef": {"name": cluster.storage.credentials_secret}}]
    return container


def _command(cluster: Cluster, request: GangRequest, master_host: str) -> list[str]:
    """No shell: Kubernetes itself puts the index of the pod in the place of `$(JOB_COMPLETION_INDEX)`."""
    if not request.agent:
        return list(map(literal, request.command))
    options = (
        f"--nnodes={request.nodes}",
        f"--nproc-per-node={request.processes_per_node}",
        f"--node-rank=$({_INDEX})",
        f"--master-addr={master_host}",
        f"--master-port={MASTER_PORT}",
        "--max-restarts=0",  # ranks restart all together, which is the set's work
        f"--shutdown-timeout={cluster.grace_seconds - _SECONDS_TO_LEAVE}",  # torchrun's own 30 cut a checkpoint short
    )
    return [*map(literal, request.agent), *options, *map(literal, request.command)]


def _environment(cluster: Cluster, request: GangRequest) -> list[dict[str, Any]]:
    values = dict(_ALWAYS)
    if cluster.pool.gpu_resource:
        values |= _ON_GPUS
    values |= dict(cluster.pool.network.environment) | dict(request.environment)
    if request.checkpoint_store:
        values["STARLOOM_CHECKPOINT_STORE"] = request.checkpoint_store
        if cluster.storage.endpoint_url:
            values["AWS_ENDPOINT_URL"] = cluster.storage.endpoint_url
    index = {"name": _INDEX, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{_INDEX_ANNOTATION}']"}}}
    return [index, *({"name": name, "value": literal(values[name])} for name in sorted(values))]


def literal(text: str) -> str:
    """For a command, an argument or a value, where Kubernetes replaces `$(NAME)` and takes `$$` for one sign."""
    return text.replace("$", "$$")


def asked_resources(cluster: Cluster, devices: int) -> dict[str, str]:
    """What a pod with so many devices asks for, and gets no more of."""
    limits = cluster.limits
    asked = {"cpu": str(limits.cpus), "memory": f"{limits.memory_gib + limits.shm_gib}Gi"}
    asked |= dict(cluster.pool.network.resources)
    if cluster.pool.gpu_resource:
        asked[cluster.pool.gpu_resource] = str(devices)
    return asked


def _resources(cluster: Cluster, request: GangRequest) -> dict[str, Any]:
    asked = asked_resources(cluster, request.processes_per_node)
    return {"limits": asked, "requests": dict(asked)}


def _tolerations(pool: NodePool) -> list[dict[str, Any]]:
    ours = [toleration.model_dump(exclude_none=True) for toleration in pool.tolerations]
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": pool.lost_node_seconds,
        }
        for state in ("not-ready", "unreachable")
    ]
    return [*ours, *lost]


def _volumes(cluster: Cluster, request: GangRequest) -> list[dict[str, Any]]:
    return [
        {"name": "workspace", "persistentVolumeClaim": {"claimName": cluster.storage.workspace_claim}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{cluster.limits.shm_gib}Gi"}},
        {"name": "scratch", "emptyDir": {"sizeLimit": f"{cluster.limits.scratch_gib}Gi"}},
        *(
            {
                "name": f"volume-{number}",
                "persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only},
            }
            for number, volume in enumerate(request.volumes)
        ),
    ]


def _mounts(request: GangRequest) -> list[dict[str, Any]]:
    return [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - where NCCL and torch share memory between processes
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
        *(
            {"name": f"volume-{number}", "mountPath": volume.mount_path, "readOnly": volume.read_only}
            for number, volume in enumerate(request.volumes)
        ),
    ]
