"""A real control plane for tests: a namespace of our own, pools as its nodes tell them, and what a kubelet would say.

Nothing pulls an image: the tests write the end of programs into the status of pods, which runs the real rules of Job,
JobSet and Kueue. Nodes may be fake ones whose pods are set to run by whoever plays their kubelet.
"""

import contextlib
import json
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from kubernetes import client, config
from ruamel.yaml import YAML

from k8s.cluster_launcher import Gang
from k8s.profile import Profile, load_profile

KUBECONFIG = os.environ.get("STARLOOM_TEST_KUBECONFIG")
LIVE = [
    pytest.mark.k8s_live,
    pytest.mark.skipif(not KUBECONFIG, reason="STARLOOM_TEST_KUBECONFIG names no cluster"),
]
BOUND_SECONDS = 120
GPU = "nvidia.com/gpu"
_OF_THE_CLUSTER = "node.kubernetes.io/"
"""Taints of a node that is not well: no pool's."""
_HOST = "kubernetes.io/hostname"

Object = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Pool:
    """Nodes of one number of GPUs, as they tell themselves."""

    nodes: frozenset[str]
    gpus: int
    """Of a node."""
    labels: dict[str, str]
    """That they alone bear."""
    tolerations: tuple[Object, ...]
    """Of every taint that they all bear."""
    block_label: str | None
    """One that divides them into several groups of one size."""
    nodes_per_block: int | None


def gpu_pool(nodes: list[Object]) -> Pool | None:
    """The largest pool with GPUs; None if there is none, or no label of its own."""
    by_gpus: dict[int, list[Object]] = defaultdict(list)
    for node in nodes:
        by_gpus[int(node["status"].get("allocatable", {}).get(GPU, "0"))].append(node)
    by_gpus.pop(0, None)
    if not by_gpus:
        return None
    gpus, ours = max(by_gpus.items(), key=lambda one: len(one[1]))
    shared = _shared(node["metadata"].get("labels", {}).items() for node in ours)
    others = {label for node in nodes if node not in ours for label in node["metadata"].get("labels", {}).items()}
    own = sorted(shared - others)
    if not own:
        return None
    taints = _shared(map(_taints, ours))
    block, size = _blocks(ours)
    return Pool(
        nodes=frozenset(node["metadata"]["name"] for node in ours),
        gpus=gpus,
        labels=dict(own[:1]),
        tolerations=tuple(
            {"key": key, "operator": "Equal" if value else "Exists", "value": value or None, "effect": effect}
            for key, value, effect in sorted(taints)
        ),
        block_label=block,
        nodes_per_block=size,
    )


def _shared(sets: Iterable[Iterable[T]]) -> set[T]:
    return set.intersection(*map(set, sets))


def _taints(node: Object) -> set[tuple[str, str, str]]:
    taints = node["spec"].get("taints") or ()
    ours = [one for one in taints if not one["key"].startswith(_OF_THE_CLUSTER)]
    return {(one["key"], one.get("value") or "", one["effect"]) for one in ours}


def _blocks(nodes: list[Object]) -> tuple[str | None, int | None]:
    keys = _shared(node["metadata"].get("labels", {}) for node in nodes)
    for key in sorted(keys - {_HOST}):
        values = [node["metadata"]["labels"][key] for node in nodes]
        sizes = {values.count(value) for value in values}
        if len(sizes) == 1 and 1 < min(sizes) < len(nodes):
            return key, sizes.pop()
    return None, None


@dataclass(frozen=True)
class Live:
    """The cluster as an administrator sees it, and a namespace of ours in it."""

    core: client.CoreV1Api
    objects: client.CustomObjectsApi
    namespace: str

    def nodes(self) -> list[Object]:
        """As the API writes them."""
        return json.loads(self.core.list_node(_preload_content=False).data)["items"]

    def pool(self) -> Pool:
        """Skips the test without one."""
        found = gpu_pool(self.nodes())
        if found is None:
            pytest.skip(f"no nodes with {GPU} that a label of their own tells from others")
        return found

    def pods(self, made: Gang) -> list[Any]:
        """Those of a gang, by index, without those that are being removed."""
        selector = f"app.kubernetes.io/instance={made.instance}"
        items = self.core.list_namespaced_pod(made.namespace, label_selector=selector).items
        index = "batch.kubernetes.io/job-completion-index"
        staying = [one for one in items if not one.metadata.deletion_timestamp]
        return sorted(staying, key=lambda one: int((one.metadata.annotations or {}).get(index, "0")))

    def placed(self, made: Gang, number: int) -> list[Any]:
        """So many pods, when all of them have a node."""
        pods = self.pods(made)
        return pods if len(pods) == number and all(one.spec.node_name for one in pods) else []

    def end(self, pod: Any, code: int) -> None:
        """As its kubelet tells that the program ended."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        container = pod.spec.containers[0]
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": now, "finishedAt": now}
        status = {
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        body = {"status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status]}}
        self.core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, body)

    def succeed(self, made: Gang, number: int) -> None:
        """All its pods end well, when all have a node."""
        for pod in until(lambda: self.placed(made, number)):
            self.end(pod, 0)

    def evict(self, pod: Any) -> None:
        """As a drained node does."""
        named = {"name": pod.metadata.name, "namespace": pod.metadata.namespace}
        self.core.create_namespaced_pod_eviction(
            **named, body={"apiVersion": "policy/v1", "kind": "Eviction", "metadata": named}
        )


@contextlib.contextmanager
def live() -> Iterator[Live]:
    """Needs an administrator. The namespace has a service account and a bound claim, without which no pod is placed."""
    api = config.new_client_from_config(KUBECONFIG)
    core, name = client.CoreV1Api(api), f"starloom-test-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    core.create_namespaced_service_account(name, {"metadata": {"name": "training"}})
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    claim_ref = {"claimRef": {"namespace": name, "name": "workspace"}, "hostPath": {"path": f"/var/tmp/{name}"}}
    core.create_persistent_volume(
        {"metadata": {"name": name}, "spec": common | claim_ref | {"capacity": {"storage": "1Gi"}}}
    )
    claim = common | {"volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}
    core.create_namespaced_persistent_volume_claim(name, {"metadata": {"name": "workspace"}, "spec": claim})
    ours = Live(core, client.CustomObjectsApi(api), name)
    stopping = threading.Event()
    kubelet = threading.Thread(target=_end_what_is_deleted, args=(ours, stopping), daemon=True)
    kubelet.start()
    try:
        yield ours
    finally:
        core.delete_namespace(name)
        core.delete_persistent_volume(name)
        until(lambda: name not in [one.metadata.name for one in core.list_namespace().items])
        stopping.set()
        kubelet.join()


def _end_what_is_deleted(ours: Live, stopping: threading.Event) -> None:
    """As a kubelet does; a real one, or one that plays it, may be faster."""
    while not stopping.wait(0.5):
        with contextlib.suppress(client.ApiException):
            pods = ours.core.list_namespaced_pod(ours.namespace).items
            for pod in [one for one in pods if one.metadata.deletion_timestamp]:
                with contextlib.suppress(client.ApiException):
                    if pod.status.phase in {"Pending", "Running"} and pod.spec.node_name:
                        ours.end(pod, 143)
                    ours.core.delete_namespaced_pod(pod.metadata.name, ours.namespace, grace_period_seconds=0)


def until(what: Callable[[], Any], bound_seconds: float = BOUND_SECONDS) -> Any:
    """What it finds, as soon as it finds something."""
    deadline = time.monotonic() + bound_seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)
    return found


def small_profile(namespace: str, kind: str, *, max_restarts: int = 0, **cluster: Any) -> Profile:
    """Small pods without GPUs, on any node that bears no taint."""
    raw = load_profile("kind-cpu").model_dump()
    gangs = {
        "jobset": {"kind": "jobset", "version": "0.8.2", "max_restarts": max_restarts},
        "indexed_job": {"kind": "indexed_job"},
    }
    raw["cluster"] |= {"namespace": namespace, "service_account": "training", "gang": gangs[kind], "queue": None}
    raw["cluster"] |= {"priority_class": None, "grace_seconds": 30, **cluster}
    raw["cluster"]["pool"] |= {"labels": {}, "tolerations": ()}
    raw["cluster"]["storage"] |= {"workspace_claim": "workspace", "checkpoint_store": None, "credentials_secret": None}
    raw["cluster"]["limits"] = {"cpus": 1, "memory_gib": 1, "shm_gib": 1, "scratch_gib": 1}
    return Profile.model_validate(raw)


def pool_profile(
    namespace: str, pool: Pool, *, nodes: int, queue: Object | None = None, max_restarts: int = 0, **in_pool: Any
) -> Profile:
    """Whole nodes of the pool, by their GPUs, as a JobSet. `nodes` may be more than there are."""
    raw = small_profile(namespace, "jobset", max_restarts=max_restarts).model_dump()
    raw |= {"name": namespace, "nodes": nodes, "devices_per_node": pool.gpus}
    raw["cluster"]["pool"] |= {"gpu_resource": GPU, "labels": pool.labels, "tolerations": pool.tolerations, **in_pool}
    raw["cluster"]["queue"] = queue
    return Profile.model_validate(raw)


def through(port: int, directory: Path) -> Path:
    """The kubeconfig with a proxy on this machine in the place of the server; its certificate stays the server's."""
    assert KUBECONFIG
    return kubeconfig_through(Path(KUBECONFIG), port, directory)


def kubeconfig_through(original: Path, port: int, directory: Path) -> Path:
    """As `through`, of any kubeconfig."""
    raw = YAML(typ="safe", pure=True).load(original.read_text(encoding="utf-8"))
    cluster, user = _current(raw, "cluster"), _current(raw, "user")
    server = urlsplit(cluster["server"])
    cluster["server"] = f"{server.scheme}://127.0.0.1:{port}"
    if server.scheme == "https":
        cluster.setdefault("tls-server-name", server.hostname)
    for section, key in ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key")):
        if key in section:
            section[key] = str((original.parent / section[key]).resolve())
    path = directory / f"kubeconfig-{port}"
    YAML(typ="safe", pure=True).dump(raw, path)
    path.chmod(0o600)
    return path


def address_of(original: Path) -> tuple[str, int]:
    """Host and port of the server of its current context."""
    raw = YAML(typ="safe", pure=True).load(original.read_text(encoding="utf-8"))
    server = urlsplit(_current(raw, "cluster")["server"])
    assert server.hostname
    return server.hostname, server.port or (443 if server.scheme == "https" else 80)


def _current(raw: Object, kind: str) -> Object:
    (context,) = [one["context"] for one in raw["contexts"] if one["name"] == raw["current-context"]]
    (found,) = [one[kind] for one in raw[f"{kind}s"] if one["name"] == context[kind]]
    return found
