"""What every pod of ours keeps to: the Pod Security Standard `restricted`, and more. From a pod to its faults.

Kubernetes enforces `restricted` itself, when a pod is created; here it is told before anything is applied.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RESTRICTED_POD: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of a pod with our images; 10001 is their user."""
RESTRICTED_CONTAINER: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Security context of each of its containers."""

_VOLUMES = {
    "name",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|PRIVATE_KEY|CREDENTIAL")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
NO_DIGEST = "sha256:" + "0" * 64
"""Stands where nobody has set an image's digest yet."""


@dataclass(frozen=True)
class Pod:
    """A pod template, wherever it stands in a manifest."""

    owner: str
    """Kind, namespace and name of the manifest, for a person."""
    namespace: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each container, init containers too, with the words that name it."""
        for kind in ("initContainers", "containers"):
            for container in self.spec.get(kind, ()):
                yield f"{self.owner}, container {container['name']}", container


def pods_of(manifest: Mapping[str, Any]) -> Iterator[Pod]:
    """Every pod template inside a manifest: of a Deployment, a CronJob, a Ray cluster, whatever nests them."""
    meta = manifest.get("metadata", {})
    owner = f"{manifest['kind']} {meta.get('namespace', '')}/{meta.get('name') or meta.get('generateName')}"
    for template in _templates(manifest.get("spec")):
        labels = template.get("metadata", {}).get("labels", {})
        yield Pod(owner, meta.get("namespace", ""), labels, template["spec"])


def _templates(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for inner in node:
            yield from _templates(inner)
    elif isinstance(node, dict):
        if isinstance(node.get("spec"), dict) and "containers" in node["spec"]:
            yield node
            return
        for inner in node.values():
            yield from _templates(inner)


def pod_faults(pod: Pod, *, needs_token: bool = False, allow_tags: bool = False) -> Iterator[str]:
    """What is wrong with a pod, one sentence each.

    `needs_token`: its account has rights, so its token may be mounted. `allow_tags`: images may go by a tag, as those
    that are built on this machine must.
    """
    yield from _account_faults(pod, needs_token)
    yield from _host_faults(pod)
    for place, container in pod.containers():
        for rule in _CONTAINER_RULES:
            yield from (f"{place}: {fault}" for fault in rule(pod, container))
        yield from (f"{place}: {fault}" for fault in image_faults(container.get("image", ""), allow_tags=allow_tags))


def image_faults(image: str, *, allow_tags: bool = False) -> Iterator[str]:
    """What is wrong with the name of an image; only a digest names the same bytes tomorrow."""
    if image.endswith(NO_DIGEST):
        yield f"image {image.partition('@')[0]} has the placeholder for a digest; set the one that was pushed"
    elif _DIGEST.search(image):
        return
    elif not allow_tags:
        yield f"image {image or 'missing'} goes by no digest (NAME@sha256:...)"
    elif ":" not in image.rpartition("/")[2] or image.endswith(":latest"):
        yield f"image {image or 'missing'} has no tag of its own, so it may be another one tomorrow"


def _account_faults(pod: Pod, needs_token: bool) -> Iterator[str]:
    if pod.spec.get("serviceAccountName", "default") == "default":
        yield f"{pod.owner}: runs as the default service account; give it one of its own"
    if pod.spec.get("automountServiceAccountToken") is not needs_token:
        what = "must mount its token, which its role is for" if needs_token else "mounts a token that it has no use for"
        yield f"{pod.owner}: {what}; set automountServiceAccountToken: {str(needs_token).lower()}"


def _host_faults(pod: Pod) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(name):
            yield f"{pod.owner}: {name} is not allowed"
    for volume in pod.spec.get("volumes", ()):
        if strange := set(volume) - _VOLUMES:
            yield f"{pod.owner}: volume {volume['name']} is of the kind {', '.join(strange)}, which is not allowed"


def _context_faults(pod: Pod, container: Mapping[str, Any]) -> Iterator[str]:
    of_pod, own = pod.spec.get("securityContext", {}), container.get("securityContext", {})
    effective = {**of_pod, **own}
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
        yield "may run as root; set runAsNonRoot: true"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "has no seccomp profile; set RuntimeDefault"
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "may gain privileges; set allowPrivilegeEscalation: false"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
        yield "keeps capabilities; drop ALL and add none"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "can write to its image; set readOnlyRootFilesystem: true and mount an emptyDir where it must"


def _resource_faults(pod: Pod, container: Mapping[str, Any]) -> Iterator[str]:
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        for name in ("cpu", "memory"):
            if name not in resources.get(kind, {}):
                yield f"has no {name} in its {kind}"


def _secret_faults(pod: Pod, container: Mapping[str, Any]) -> Iterator[str]:
    for variable in container.get("env", ()):
        if "value" in variable and _SECRET_NAME.search(variable["name"]):
            yield f"variable {variable['name']} has its value in the manifest; take it from a Secret"


_CONTAINER_RULES: tuple[Callable[[Pod, Mapping[str, Any]], Iterator[str]], ...] = (
    _context_faults,
    _resource_faults,
    _secret_faults,
)
