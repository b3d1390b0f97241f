"""Who may do what, and who may speak to whom: the whole lists. A line more here is a decision."""

from typing import Any

import pytest

from k8s.manifest_rules import accounts_with_rights
from tests.k8s.rendered import OVERLAYS, of_kind, rendered

RUN = ("create", "delete", "get", "list", "watch")
RIGHTS = {
    # The worker turns flow runs into Jobs (prefect-kubernetes 0.8.0; list and watch are its observer's).
    ("starloom-platform/prefect-worker", "starloom-runs", "batch/jobs"): RUN,
    ("starloom-platform/prefect-worker", "starloom-runs", "/pods"): ("list", "watch"),
    ("starloom-platform/prefect-worker", "starloom-runs", "/pods/log"): ("get",),
    # A flow run submits trainings, watches and adopts them, streams their logs, tells their place in the queue.
    ("starloom-runs/flow-run", "starloom-training", "jobset.x-k8s.io/jobsets"): RUN,
    ("starloom-runs/flow-run", "starloom-training", "batch/jobs"): RUN,
    ("starloom-runs/flow-run", "starloom-training", "/services"): ("create", "delete", "get"),
    ("starloom-runs/flow-run", "starloom-training", "kueue.x-k8s.io/workloads"): ("get", "list", "watch"),
    ("starloom-runs/flow-run", "starloom-training", "/pods"): ("get", "list", "watch"),
    ("starloom-runs/flow-run", "starloom-training", "/pods/log"): ("get",),
    ("starloom-runs/flow-run", "starloom-training", "/events"): ("list", "watch"),
    # And corpus steps on Ray.
    ("starloom-runs/flow-run", "starloom-runs", "ray.io/rayjobs"): RUN,
    ("starloom-runs/flow-run", "starloom-runs", "/pods"): ("get", "list", "watch"),
    ("starloom-runs/flow-run", "starloom-runs", "/pods/log"): ("get",),
}

INTERNET = "0.0.0.0/0"
PATHS = {
    "local-kind": {
        ("*", "kube-dns", 53),
        ("prefect-worker", "prefect-server", 4200),
        ("flow-run", "prefect-server", 4200),
        ("flow-run", "mlflow", 5000),
        ("ns starloom-training", "mlflow", 5000),
        ("prefect-server", "postgres", 5432),
        ("mlflow", "postgres", 5432),
        ("backup", "postgres", 5432),
        ("mlflow", INTERNET, 443),
        ("backup", INTERNET, 443),
        ("prefect-worker", INTERNET, 443),
        ("prefect-worker", INTERNET, 6443),
        ("flow-run", INTERNET, 443),
        ("flow-run", INTERNET, 6443),
        ("data-work", "data-work", None),
        ("ns kuberay-operator", "data-work", 8265),
        ("data-work", INTERNET, 443),
        ("data-work", INTERNET, 6443),
        ("all of starloom-training", "all of starloom-training", None),
        ("all of starloom-training", "mlflow", 5000),
        ("all of starloom-training", INTERNET, 443),
        ("gateway", "vllm", 8000),
        ("vllm", INTERNET, 443),
    }
}
PATHS["production"] = {path for path in PATHS["local-kind"] if path[1] != "postgres"} | {
    ("ns ingress-nginx", "prefect-server", 4180),
    ("ns ingress-nginx", "mlflow", 4180),
    ("prefect-server", INTERNET, 443),
    ("prefect-server", INTERNET, 5432),
    ("mlflow", INTERNET, 5432),
    ("backup", INTERNET, 5432),
    ("prometheus", "prefect-server", 4200),
    ("prometheus", "vllm", 8000),
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_account_has_these_rights_and_no_others(overlay: str):
    manifests = rendered(overlay)
    roles, found = of_kind(manifests, "Role"), {}
    for binding in of_kind(manifests, "RoleBinding").values():
        namespace = binding["metadata"]["namespace"]
        for rule in roles.pop(f"{namespace}/{binding['roleRef']['name']}")["rules"]:
            for subject in binding["subjects"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        key = (f"{subject['namespace']}/{subject['name']}", namespace, f"{group}/{resource}")
                        found[key] = tuple(rule["verbs"])
    assert found == RIGHTS
    assert roles == {}, "a role that nobody is bound to"
    assert not of_kind(manifests, "ClusterRole")
    assert not of_kind(manifests, "ClusterRoleBinding")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_account_mounts_its_token_unasked(overlay: str):
    accounts = of_kind(rendered(overlay), "ServiceAccount")
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    assert accounts_with_rights(rendered(overlay)) == {
        ("starloom-platform", "prefect-worker"),
        ("starloom-runs", "flow-run"),
    }


def names(selector: dict[str, Any], namespace: str) -> list[str]:
    """What a pod selector means, in one word each."""
    if not selector:
        return [f"all of {namespace}"]
    labels = selector.get("matchLabels", {})
    single = labels.get("starloom/role") or labels.get("app.kubernetes.io/name") or labels.get("k8s-app")
    return [single] if single else [value for term in selector["matchExpressions"] for value in term["values"]]


def peer_names(peer: dict[str, Any], namespace: str) -> list[str]:
    if "ipBlock" in peer:
        return [peer["ipBlock"]["cidr"]]
    if "podSelector" not in peer:
        return ["ns " + peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]]
    return names(peer["podSelector"], namespace)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_these_paths_are_open_and_no_others(overlay: str):
    found: set[tuple[str, str, int | None]] = set()
    for policy in of_kind(rendered(overlay), "NetworkPolicy").values():
        namespace, spec = policy["metadata"]["namespace"], policy["spec"]
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for path in spec.get(direction, ()):
                for own in names(spec["podSelector"], namespace):
                    for peer in path[peers]:
                        for other in peer_names(peer, namespace):
                            ends = (other, own) if direction == "ingress" else (own, other)
                            found |= {(*ends, port["port"]) for port in path.get("ports", [{"port": None}])}
    found = {("*", end, port) if end == "kube-dns" else (start, end, port) for start, end, port in found}
    assert found == PATHS[overlay]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_path_inside_the_cluster_is_open_at_both_ends(overlay: str):
    """A policy opens one end; what leaves must be let in, and what is let in must be let out."""
    into, out_of = set(), set()
    for policy in of_kind(rendered(overlay), "NetworkPolicy").values():
        namespace, spec = policy["metadata"]["namespace"], policy["spec"]
        for path in spec.get("ingress", ()):
            into |= {
                (own, port["port"]) for own in names(spec["podSelector"], namespace) for port in path.get("ports", ())
            }
        for path in spec.get("egress", ()):
            for peer in path["to"]:
                if "podSelector" in peer:
                    ports = path.get("ports", ())
                    out_of |= {(other, port["port"]) for other in peer_names(peer, namespace) for port in ports}
    assert out_of - {("kube-dns", 53)} <= into
