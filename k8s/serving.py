"""A registered bundle served by vLLM: two Deployments, blue and green, and a Service that points to one of them.

The new bundle goes to the colour that serves nobody; when it answers, the Service's selector moves. Going back is the
same move. The bundle comes by an init container which refuses other bytes than the gate judged; the server itself
reaches no hub and has no keys. It is asked through the gateway alone (the network policy `model`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from k8s.pod_rules import RESTRICTED_CONTAINER, RESTRICTED_POD

NAMESPACE = "starloom-serving"
_APP = "vllm"
_PORT = 8000
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Colour(Enum):
    """Which of the two Deployments."""

    BLUE = "blue"
    GREEN = "green"


@dataclass(frozen=True)
class ServedModel:
    """One registered version, and how much of the cluster it gets."""

    name: str
    """Of the model in the registry; requests name it. A DNS label, as all names of Kubernetes."""
    version: int
    bundle_url: str
    """s3://bucket/prefix of the registered files."""
    bundle_digest: str
    """sha256 in hex, the version's tag `bundle_digest`."""
    server_image: str
    """vLLM's image, by its digest."""
    fetch_image: str
    """An image of ours, by its digest: the init container's."""
    gpus: int
    """Per replica, on one node: tensor parallel ranks of the server."""
    memory_gib: int
    bundle_gib: int
    """Room for the bundle on the node's disk."""
    context_tokens: int
    replicas: int = 2
    node_selector: tuple[tuple[str, str], ...] = ()


def deployment(model: ServedModel, colour: Colour) -> dict[str, Any]:
    """The Deployment of one colour. ValueError: the digest is none, so nothing could be verified."""
    if not _SHA256.fullmatch(model.bundle_digest):
        raise ValueError(f"bundle_digest {model.bundle_digest!r} is no sha256 in hex; take the version's own tag")
    labels = _selector(model.name, colour) | {"app.kubernetes.io/part-of": "starloom"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{model.name}-{colour.value}",
            "namespace": NAMESPACE,
            "labels": labels,
            "annotations": {"starloom/version": str(model.version), "starloom/bundle-digest": model.bundle_digest},
        },
        "spec": {
            "replicas": model.replicas,
            "progressDeadlineSeconds": 1800,
            # GPUs are counted: there is none left over for a pod more than asked.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "selector": {"matchLabels": _selector(model.name, colour)},
            "template": {
                # The digest is part of the template: another bundle is another rollout.
                "metadata": {"labels": labels, "annotations": {"starloom/bundle-digest": model.bundle_digest}},
                "spec": _pod(model, colour),
            },
        },
    }


def service(name: str, serving: Colour) -> dict[str, Any]:
    """The Service that requests go to; applying it with the other colour moves them all at once."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": _APP, "app.kubernetes.io/part-of": "starloom"},
        },
        "spec": {
            "type": "ClusterIP",
            "selector": _selector(name, serving),
            "ports": [{"name": "http", "port": _PORT, "targetPort": "http"}],
        },
    }


def disruption_budget(name: str, colour: Colour) -> dict[str, Any]:
    """Nodes are drained one replica at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"{name}-{colour.value}", "namespace": NAMESPACE},
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": _selector(name, colour)},
        },
    }


def _selector(name: str, colour: Colour) -> dict[str, str]:
    return {"app.kubernetes.io/name": _APP, "app.kubernetes.io/instance": name, "starloom/colour": colour.value}


def _pod(model: ServedModel, colour: Colour) -> dict[str, Any]:
    return {
        "serviceAccountName": "serving",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # else the Service's name makes VLLM_* variables that vLLM reads
        "terminationGracePeriodSeconds": 120,  # requests that stream are let end
        "securityContext": dict(RESTRICTED_POD),
        "nodeSelector": dict(model.node_selector),
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _selector(model.name, colour)},
            }
        ],
        "initContainers": [_fetch(model)],
        "containers": [_server(model)],
        "volumes": [
            {"name": "bundle", "emptyDir": {"sizeLimit": f"{model.bundle_gib}Gi"}},
            {"name": "home", "emptyDir": {"sizeLimit": "10Gi"}},  # compiled kernels
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}},  # between tensor parallel ranks
        ],
    }


def _fetch(model: ServedModel) -> dict[str, Any]:
    return {
        "name": "fetch-bundle",
        "image": model.fetch_image,
        "command": ["python", "-m", "k8s.fetch_bundle", model.bundle_url, model.bundle_digest, "/bundle/model"],
        "envFrom": [
            {"configMapRef": {"name": "object-store"}},
            {"secretRef": {"name": "object-store", "optional": True}},
        ],
        "resources": _resources({"cpu": "1", "memory": "1Gi"}),
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [{"name": "bundle", "mountPath": "/bundle"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _server(model: ServedModel) -> dict[str, Any]:
    health = {"httpGet": {"path": "/health", "port": "http"}}
    flags = {
        "--model": "/bundle/model",
        "--served-model-name": model.name,
        "--host": "0.0.0.0",  # noqa: S104 - the pod's own address
        "--port": str(_PORT),
        "--tensor-parallel-size": str(model.gpus),
        "--max-model-len": str(model.context_tokens),
    }
    environment = {"HOME": "/home/starloom", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    return {
        "name": "server",
        "image": model.server_image,
        "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
        "args": [part for flag in flags.items() for part in flag],
        "ports": [{"name": "http", "containerPort": _PORT}],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "startupProbe": {**health, "periodSeconds": 10, "failureThreshold": 120},  # weights are read, kernels compiled
        "readinessProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**health, "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 5},
        "resources": _resources(
            {"cpu": str(4 * model.gpus), "memory": f"{model.memory_gib}Gi", "nvidia.com/gpu": str(model.gpus)}
        ),
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "bundle", "mountPath": "/bundle", "readOnly": True},
            {"name": "home", "mountPath": "/home/starloom"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }


def _resources(amounts: Mapping[str, str]) -> dict[str, Any]:
    return {"requests": dict(amounts), "limits": dict(amounts)}
