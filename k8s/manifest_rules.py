"""What the manifests of the platform keep to, as a whole: kubectl kustomize OVERLAY | python -m k8s.manifest_rules.

Each rule is a function from all manifests to faults. Prints one sentence for each fault. Exit codes: 0 none, 1 some,
2 what came in is no YAML. With --allow-tags, for an overlay of this machine, images may go by a tag and volumes be a
directory of the node.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from k8s.pod_rules import pod_faults, pods_of

Manifest = Mapping[str, Any]
Manifests = Sequence[Manifest]

_PLACEHOLDER = "replace-me"
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@$]+@")
_FORBIDDEN_RESOURCES = {
    "*",
    "secrets",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "serviceaccounts/token",
    "roles",
    "rolebindings",
}
_FORBIDDEN_VERBS = {"*", "escalate", "bind", "impersonate", "deletecollection"}
_WHY = "starloom/why-not-restricted"


def manifest_faults(manifests: Manifests, *, allow_tags: bool = False) -> list[str]:
    """Every fault of every rule, in the order of the rules; an empty list is what one wants."""
    return [
        *_pods(manifests, allow_tags),
        *_disks_of_nodes(manifests, allow_tags),
        *(fault for rule in _RULES for fault in rule(manifests)),
    ]


def told(manifest: Manifest) -> str:
    """Kind, namespace and name, for a person."""
    meta = manifest.get("metadata", {})
    return f"{manifest['kind']} {meta.get('namespace', '')}/{meta.get('name')}"


def _of_kind(manifests: Manifests, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def accounts_with_rights(manifests: Manifests) -> set[tuple[str, str]]:
    """Namespace and name of every service account that a binding names."""
    return {
        (subject["namespace"], subject["name"])
        for binding in _of_kind(manifests, "RoleBinding", "ClusterRoleBinding")
        for subject in binding["subjects"]
        if subject["kind"] == "ServiceAccount"
    }


def _pods(manifests: Manifests, allow_tags: bool) -> Iterator[str]:
    with_rights = accounts_with_rights(manifests)
    for manifest in manifests:
        for pod in pods_of(manifest):
            needs_token = (pod.namespace, pod.spec.get("serviceAccountName")) in with_rights
            yield from pod_faults(pod, needs_token=needs_token, allow_tags=allow_tags)


def _namespaces(manifests: Manifests) -> Iterator[str]:
    there = {manifest["metadata"]["name"] for manifest in _of_kind(manifests, "Namespace")}
    for manifest in _of_kind(manifests, "Namespace"):
        labels, notes = manifest["metadata"].get("labels", {}), manifest["metadata"].get("annotations", {})
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted" and _WHY not in notes:
            yield f"{told(manifest)}: does not enforce `restricted` and does not say why ({_WHY})"
    for manifest in manifests:
        if (namespace := manifest["metadata"].get("namespace")) and namespace not in there:
            yield f"{told(manifest)}: its namespace {namespace} is not among the manifests"


def _default_deny(manifests: Manifests) -> Iterator[str]:
    denied = {
        policy["metadata"]["namespace"]
        for policy in _of_kind(manifests, "NetworkPolicy")
        if policy["spec"]["podSelector"] == {}
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress")
        and not policy["spec"].get("egress")
    }
    for manifest in _of_kind(manifests, "Namespace"):
        if manifest["metadata"]["name"] not in denied:
            yield f"{told(manifest)}: no network policy denies what is not listed"


def _open_paths(manifests: Manifests) -> Iterator[str]:
    for policy in _of_kind(manifests, "NetworkPolicy"):
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for path in policy["spec"].get(direction, ()):
                if not path.get(peers):
                    yield f"{told(policy)}: one {direction} path names nobody, which means everybody"
                for peer in path.get(peers, ()):
                    block = peer.get("ipBlock", {})
                    if block.get("cidr") == "0.0.0.0/0" and "169.254.0.0/16" not in block.get("except", ()):
                        yield f"{told(policy)}: reaches the cloud's metadata service; except 169.254.0.0/16"


def _secrets(manifests: Manifests) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            yield f"{told(manifest)}: a Secret with its values does not belong into manifests; refer to one"
        if _PASSWORD_IN_URL.search(json.dumps(manifest)):
            yield f"{told(manifest)}: holds an address with a password; take it from a Secret"


def _services(manifests: Manifests) -> Iterator[str]:
    for service in _of_kind(manifests, "Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP" or service["spec"].get("externalIPs"):
            yield f"{told(service)}: can be reached from outside past the proxy; make it a ClusterIP"


def _ingresses(manifests: Manifests) -> Iterator[str]:
    behind_proxy = {
        (manifest["metadata"]["namespace"], pod.labels.get("app.kubernetes.io/name"), port["name"])
        for manifest in manifests
        for pod in pods_of(manifest)
        for _, container in pod.containers()
        if "oauth2-proxy" in container.get("image", "")
        for port in container.get("ports", ())
    }
    for ingress in _of_kind(manifests, "Ingress"):
        namespace, spec = ingress["metadata"]["namespace"], ingress["spec"]
        encrypted = {host for tls in spec.get("tls", ()) for host in tls["hosts"]}
        for rule in spec.get("rules", ()):
            if rule.get("host") not in encrypted:
                yield f"{told(ingress)}: {rule.get('host', 'any host')} has no TLS"
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                if (namespace, service["name"], service["port"].get("name")) not in behind_proxy:
                    yield f"{told(ingress)}: {path['path']} of {rule.get('host')} leads past the authenticating proxy"


def _rights(manifests: Manifests) -> Iterator[str]:
    for binding in _of_kind(manifests, "ClusterRole", "ClusterRoleBinding"):
        yield f"{told(binding)}: gives rights in every namespace; use a Role"
    for role in _of_kind(manifests, "Role"):
        for rule in role["rules"]:
            wrong = set(rule["resources"]) & _FORBIDDEN_RESOURCES | set(rule["verbs"]) & _FORBIDDEN_VERBS
            if wrong or "*" in rule["apiGroups"]:
                yield f"{told(role)}: {', '.join(sorted(wrong)) or 'every API group'} is more than any of ours needs"


def _disks_of_nodes(manifests: Manifests, is_one_machine: bool) -> Iterator[str]:
    for volume in _of_kind(manifests, "PersistentVolume"):
        if "hostPath" in volume["spec"] and not is_one_machine:
            yield f"{told(volume)}: is a directory of whichever node a pod is on; take a file system that all nodes see"


def _volumes(manifests: Manifests) -> Iterator[str]:
    volumes = {volume["metadata"]["name"]: volume for volume in _of_kind(manifests, "PersistentVolume")}
    for volume in volumes.values():
        if volume["spec"].get("persistentVolumeReclaimPolicy") != "Retain":
            yield f"{told(volume)}: its files may go with its claim; set persistentVolumeReclaimPolicy: Retain"
    places: dict[str, tuple[Manifest, Any]] = {}
    for claim in _of_kind(manifests, "PersistentVolumeClaim"):
        if (name := claim["spec"].get("volumeName")) is None:
            continue
        meta, spec = claim["metadata"], volumes.get(name, {}).get("spec", {})
        reserved = spec.get("claimRef", {})
        if (reserved.get("namespace"), reserved.get("name")) != (meta["namespace"], meta["name"]):
            yield f"{told(claim)}: no volume {name} is kept for it; give it one whose claimRef names this claim"
            continue
        first, place = places.setdefault(meta["name"], (claim, _place(spec)))
        if place != _place(spec):
            yield f"{told(claim)}: leads to another place than {told(first)}; give both volumes the same"


def _place(volume: Mapping[str, Any]) -> Any:
    """What a volume leads to. The handle of a CSI volume must be another in each, so it says nothing."""
    if "csi" in volume:
        return {key: value for key, value in volume["csi"].items() if key != "volumeHandle"}
    return volume.get("nfs") or volume.get("hostPath")


def _placeholders(manifests: Manifests) -> Iterator[str]:
    for manifest in manifests:
        for found in sorted(set(re.findall(rf"[\w./:-]*{_PLACEHOLDER}[\w./:-]*", json.dumps(manifest)))):
            yield f"{told(manifest)}: {found} is a placeholder; set what is yours"


_RULES: tuple[Callable[[Manifests], Iterator[str]], ...] = (
    _namespaces,
    _default_deny,
    _open_paths,
    _secrets,
    _services,
    _ingresses,
    _rights,
    _volumes,
    _placeholders,
)


def main(arguments: Sequence[str]) -> int:
    """Judge the manifests on standard input."""
    try:
        manifests = [manifest for manifest in YAML(typ="safe", pure=True).load_all(sys.stdin.read()) if manifest]
    except YAMLError as error:
        print(f"standard input is not YAML: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    faults = manifest_faults(manifests, allow_tags="--allow-tags" in arguments)
    print("\n".join(faults) or f"{len(manifests)} manifests, no fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
