"""The launcher against a real control plane with JobSet: its API, webhooks and controllers; pods may be on fake nodes.

    STARLOOM_TEST_KUBECONFIG=FILE python -m pytest tests/k8s/test_cluster_launcher_live.py

It makes a namespace and a volume of its own and removes both, so it needs an administrator. Nothing pulls an image:
the tests write what a kubelet would into the status of pods, which runs the real rules of Job and JobSet.
"""

import contextlib
import dataclasses
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from k8s.cluster_launcher import Connection, Gang, connect, submit
from k8s.profile import Profile, load_profile
from k8s.request import Cancelled, ClusterError, Evicted, GangRequest, Succeeded, UserError
from tests.k8s.following import Following
from tests.k8s.gangs import gang

KUBECONFIG = os.environ.get("STARLOOM_TEST_KUBECONFIG")
BOUND_SECONDS = 120
NODES = 2
KINDS = ("jobset", "indexed_job")

pytestmark = [
    pytest.mark.k8s_live,
    pytest.mark.skipif(not KUBECONFIG, reason="STARLOOM_TEST_KUBECONFIG names no cluster"),
]


@pytest.fixture(scope="module")
def core() -> client.CoreV1Api:
    return client.CoreV1Api(config.new_client_from_config(KUBECONFIG))


@pytest.fixture(scope="module")
def namespace(core: client.CoreV1Api) -> Iterator[str]:
    """With a service account and a bound claim `workspace`, without which no pod is placed."""
    name = f"starloom-test-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    core.create_namespaced_service_account(name, {"metadata": {"name": "training"}})
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    claim_ref = {"claimRef": {"namespace": name, "name": "workspace"}, "hostPath": {"path": f"/var/tmp/{name}"}}
    core.create_persistent_volume(
        {"metadata": {"name": name}, "spec": common | claim_ref | {"capacity": {"storage": "1Gi"}}}
    )
    claim = common | {"volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}
    core.create_namespaced_persistent_volume_claim(name, {"metadata": {"name": "workspace"}, "spec": claim})
    stopping = threading.Event()
    kubelet = threading.Thread(target=end_what_is_deleted, args=(core, name, stopping), daemon=True)
    kubelet.start()
    yield name
    core.delete_namespace(name)
    core.delete_persistent_volume(name)
    until(lambda: name not in [one.metadata.name for one in core.list_namespace().items])
    stopping.set()
    kubelet.join()


def end_what_is_deleted(core: client.CoreV1Api, namespace: str, stopping: threading.Event) -> None:
    """As a kubelet does; a real one, or one that plays it, may be faster."""
    while not stopping.wait(0.5):
        for one in core.list_namespaced_pod(namespace).items:
            if not one.metadata.deletion_timestamp:
                continue
            with contextlib.suppress(client.ApiException):
                if one.status.phase in {"Pending", "Running"} and one.spec.node_name:
                    end(core, one, 143)
                core.delete_namespaced_pod(one.metadata.name, namespace, grace_period_seconds=0)


@pytest.fixture(scope="module")
def connection() -> Connection:
    assert KUBECONFIG
    return connect(Path(KUBECONFIG), patience_seconds=60.0)


def profile(namespace: str, kind: str, **changes: Any) -> Profile:
    """Small pods on any node that bears no taint."""
    raw = load_profile("kind-cpu").model_dump()
    gangs = {
        "jobset": {"kind": "jobset", "version": "0.8.2", "max_restarts": 0},
        "indexed_job": {"kind": "indexed_job"},
    }
    raw["cluster"] |= {"namespace": namespace, "service_account": "training", "gang": gangs[kind], "queue": None}
    raw["cluster"] |= {"priority_class": None, "grace_seconds": 30, **changes}
    raw["cluster"]["pool"] |= {"labels": {}, "tolerations": ()}
    raw["cluster"]["storage"] |= {"workspace_claim": "workspace", "checkpoint_store": None, "credentials_secret": None}
    raw["cluster"]["limits"] = {"cpus": 1, "memory_gib": 1, "shm_gib": 1, "scratch_gib": 1}
    return Profile.model_validate(raw)


def request() -> GangRequest:
    return gang(f"pretrain-{uuid.uuid4().hex[:12]}", NODES, 1, 1, None)


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + BOUND_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)
    return found


def pods_of(core: client.CoreV1Api, made: Gang) -> list[Any]:
    """Those that have a node, when all have."""
    items = core.list_namespaced_pod(made.namespace, label_selector=f"app.kubernetes.io/instance={made.instance}").items
    placed = [one for one in items if one.spec.node_name]
    return sorted(placed, key=lambda one: one.metadata.name) if len(placed) == NODES else []


def end(core: client.CoreV1Api, one: Any, code: int) -> None:
    """As its kubelet tells that the program ended."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    container = one.spec.containers[0]
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
    core.patch_namespaced_pod_status(one.metadata.name, one.metadata.namespace, body)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gang_is_submitted_placed_and_succeeds(
    core: client.CoreV1Api, connection: Connection, namespace: str, kind: str
) -> None:
    made = submit(connection, profile(namespace, kind), request())
    following = Following(made)
    pods = until(lambda: pods_of(core, made))
    following.wait_for(
        lambda one: one.statuses and sum(pod.node is not None for pod in one.statuses[-1].pods) == NODES, BOUND_SECONDS
    )
    for one in pods:
        end(core, one, 0)
    assert following.outcome(BOUND_SECONDS) == Succeeded()
    made.remove()
    assert made.observed() is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_ends_it_at_once(core: client.CoreV1Api, connection: Connection, namespace: str, kind: str) -> None:
    made = submit(connection, profile(namespace, kind), request())
    following = Following(made)
    end(core, until(lambda: pods_of(core, made))[1], 42)
    assert isinstance(following.outcome(BOUND_SECONDS), UserError)
    made.remove()


def test_an_evicted_pod_of_a_job_is_told(core: client.CoreV1Api, connection: Connection, namespace: str) -> None:
    made = submit(connection, profile(namespace, "indexed_job"), request())
    following = Following(made)
    name = until(lambda: pods_of(core, made))[0].metadata.name
    core.create_namespaced_pod_eviction(name, namespace, {"metadata": {"name": name, "namespace": namespace}})
    assert isinstance(following.outcome(BOUND_SECONDS), Evicted)
    made.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_gang_is_gone_with_its_pods(
    core: client.CoreV1Api, connection: Connection, namespace: str, kind: str
) -> None:
    made = submit(connection, profile(namespace, kind), request())
    following = Following(made)
    until(lambda: pods_of(core, made))
    made.cancel()
    assert following.outcome(BOUND_SECONDS) == Cancelled()
    assert made.observed() is None
    assert pods_of(core, made) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_again_is_adopted_and_another_is_refused(connection: Connection, namespace: str, kind: str) -> None:
    asked = request()
    made = submit(connection, profile(namespace, kind), asked)
    assert submit(connection, profile(namespace, kind), asked).was_adopted
    with pytest.raises(ClusterError, match="made from another profile or request"):
        submit(connection, profile(namespace, kind), dataclasses.replace(asked, environment={"OMP_NUM_THREADS": "2"}))
    made.remove()


def test_a_namespace_that_is_none_is_one_sentence(connection: Connection) -> None:
    with pytest.raises(ClusterError, match="has no namespace starloom-none or knows no JobSet"):
        submit(connection, profile("starloom-none", "jobset"), request())
