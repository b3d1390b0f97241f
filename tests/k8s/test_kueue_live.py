"""Queues and quota against a real control plane with JobSet and Kueue, with the objects that `k8s.queues` makes.

They fill the largest pool with GPUs to its last node, so nobody else may use it meanwhile. Run as the tests of
tests/k8s/test_cluster_launcher_live.py are.
"""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from k8s.cluster_launcher import Connection, connect, submit
from k8s.profile import Profile
from k8s.queues import queue_manifests
from k8s.request import Cancelled, GangRequest, Succeeded
from tests.k8s.following import Following
from tests.k8s.gangs import gang
from tests.k8s.live_cluster import BOUND_SECONDS, KUBECONFIG, LIVE, Live, Pool, live, pool_profile, until

PLURALS = {
    "Topology": "topologies",
    "ResourceFlavor": "resourceflavors",
    "WorkloadPriorityClass": "workloadpriorityclasses",
    "ClusterQueue": "clusterqueues",
    "LocalQueue": "localqueues",
}

pytestmark = LIVE


@pytest.fixture
def cluster() -> Iterator[Live]:
    with live() as ours:
        groups = client.ApisApi(ours.core.api_client).get_api_versions().groups
        if "kueue.x-k8s.io" not in [one.name for one in groups]:
            pytest.skip("the cluster has no Kueue")
        yield ours


@pytest.fixture
def connection() -> Connection:
    assert KUBECONFIG
    return connect(Path(KUBECONFIG), patience_seconds=60.0)


def queued(
    cluster: Live, pool: Pool, *, nodes: int, by_block: bool = False, is_urgent: bool = False, max_restarts: int = 0
) -> Profile:
    """Its class is named after the namespace: classes are the whole cluster's."""
    queue = {
        "local_queue": "training",
        "priority_class": f"{cluster.namespace}-urgent" if is_urgent else cluster.namespace,
        "priority": 2000 if is_urgent else 1000,
        "topology_level": pool.block_label if by_block else None,
        "nodes_per_block": pool.nodes_per_block if by_block else None,
    }
    return pool_profile(cluster.namespace, pool, nodes=nodes, queue=queue, max_restarts=max_restarts)


@contextlib.contextmanager
def queues(cluster: Live, profile: Profile) -> Iterator[None]:
    """What `python -m k8s.queues` prints, applied until the block ends."""
    made = queue_manifests([profile])
    (queue,) = [one for one in made if one["kind"] == "ClusterQueue"]
    with contextlib.ExitStack() as stack:  # removed in reverse: Kueue keeps a flavor for as long as a queue names it
        for one in made:
            create(cluster, one)
            stack.callback(remove, cluster, one)
        until(lambda: is_active(read(cluster, queue)))
        yield


def create(cluster: Live, one: dict[str, Any]) -> None:
    asked: dict[str, Any] = where(one) | {"body": one, "field_validation": "Strict"}
    if "namespace" in asked:
        cluster.objects.create_namespaced_custom_object(**asked)
    else:
        cluster.objects.create_cluster_custom_object(**asked)


def read(cluster: Live, queue: dict[str, Any]) -> Any:
    return cluster.objects.get_cluster_custom_object(**where(queue), name=queue["metadata"]["name"])


def remove(cluster: Live, one: dict[str, Any]) -> None:
    named: dict[str, Any] = where(one) | {"name": one["metadata"]["name"]}
    if "namespace" in named:
        cluster.objects.delete_namespaced_custom_object(**named)
    else:
        cluster.objects.delete_cluster_custom_object(**named)


def where(one: dict[str, Any]) -> dict[str, Any]:
    group, _, version = one["apiVersion"].partition("/")
    place = {"group": group, "version": version, "plural": PLURALS[one["kind"]]}
    return place | ({"namespace": one["metadata"]["namespace"]} if "namespace" in one["metadata"] else {})


def is_active(queue: Any) -> bool:
    conditions = queue.get("status", {}).get("conditions", ())
    return any(one["type"] == "Active" and one["status"] == "True" for one in conditions)


def request(nodes: int, pool: Pool) -> GangRequest:
    return gang(f"pretrain-{uuid.uuid4().hex[:12]}", nodes, pool.gpus, 1, None)


def is_started(following: Following) -> bool:
    return bool(following.statuses) and not following.statuses[-1].is_suspended


def waits(following: Following) -> str:
    """Why, if it is suspended and has no pod."""
    last = following.statuses[-1] if following.statuses else None
    return (last.waits_for or "") if last and last.is_suspended and not last.pods else ""


def test_a_gang_of_the_whole_pool_fits_its_quota_and_one_node_more_never_starts(
    cluster: Live, connection: Connection
) -> None:
    pool = cluster.pool()
    whole = len(pool.nodes)
    profile = queued(cluster, pool, nodes=whole)
    with queues(cluster, profile):
        larger = submit(connection, queued(cluster, pool, nodes=whole + 1), request(whole + 1, pool))
        waiting = Following(larger)
        waiting.wait_for(lambda one: "insufficient quota for" in waits(one), BOUND_SECONDS)
        assert f"in flavor {profile.name}" in waits(waiting)
        fitting = submit(connection, profile, request(whole, pool))
        following = Following(fitting)
        following.wait_for(is_started, BOUND_SECONDS)
        pods = until(lambda: cluster.placed(fitting, whole))
        assert sorted(one.spec.node_name for one in pods) == sorted(pool.nodes)
        cluster.succeed(fitting, whole)
        assert following.outcome(BOUND_SECONDS) == Succeeded()
        assert cluster.pods(larger) == []
        assert all(status.is_suspended and not status.pods for status in waiting.statuses)
        larger.cancel()
        assert waiting.outcome(BOUND_SECONDS) == Cancelled()
        fitting.remove()


def test_a_gang_waits_behind_another_and_starts_after_it(cluster: Live, connection: Connection) -> None:
    pool = cluster.pool()
    most = len(pool.nodes) // 2 + 1  # two of them are two nodes too many, or one
    profile = queued(cluster, pool, nodes=len(pool.nodes))
    with queues(cluster, profile):
        first = submit(connection, profile, request(most, pool))
        ahead = Following(first)
        ahead.wait_for(is_started, BOUND_SECONDS)
        until(lambda: cluster.placed(first, most))
        second = submit(connection, profile, request(most, pool))
        behind = Following(second)
        behind.wait_for(lambda one: "insufficient unused quota for" in waits(one), BOUND_SECONDS)
        assert cluster.pods(second) == []
        cluster.succeed(first, most)
        assert ahead.outcome(BOUND_SECONDS) == Succeeded()
        behind.wait_for(is_started, BOUND_SECONDS)
        cluster.succeed(second, most)
        assert behind.outcome(BOUND_SECONDS) == Succeeded()
        first.remove()
        second.remove()


def test_a_more_urgent_gang_takes_the_place_of_another_which_comes_back(cluster: Live, connection: Connection) -> None:
    """The pods of a suspended Job end failed, so with this JobSet it costs a restart."""
    pool = cluster.pool()
    most = len(pool.nodes) // 2 + 1
    profile = queued(cluster, pool, nodes=len(pool.nodes), max_restarts=1)
    urgent = queued(cluster, pool, nodes=len(pool.nodes), is_urgent=True)
    (higher,) = [one for one in queue_manifests([urgent]) if one["kind"] == "WorkloadPriorityClass"]
    with queues(cluster, profile), contextlib.ExitStack() as stack:
        create(cluster, higher)
        stack.callback(remove, cluster, higher)
        first = submit(connection, profile, request(most, pool))
        lower = Following(first)
        until(lambda: cluster.placed(first, most))
        second = submit(connection, urgent, request(most, pool))
        taking = Following(second)
        lower.wait_for(
            lambda one: one.statuses and "Preempted to accommodate" in (one.statuses[-1].waits_for or ""), BOUND_SECONDS
        )
        cluster.succeed(second, most)
        assert taking.outcome(BOUND_SECONDS) == Succeeded()
        lower.wait_for(is_started, BOUND_SECONDS)
        cluster.succeed(first, most)
        assert lower.outcome(BOUND_SECONDS) == Succeeded()
        first.remove()
        second.remove()


def test_without_the_pools_toleration_it_is_never_admitted_and_kueue_tells_the_taint(
    cluster: Live, connection: Connection
) -> None:
    pool = cluster.pool()
    if not any(one["effect"] in {"NoSchedule", "NoExecute"} for one in pool.tolerations):
        pytest.skip("the nodes with GPUs bear no taint")
    profile = queued(cluster, pool, nodes=len(pool.nodes))
    assert profile.cluster
    bare = profile.cluster.model_copy(update={"pool": profile.cluster.pool.model_copy(update={"tolerations": ()})})
    with queues(cluster, profile):
        made = submit(connection, profile.model_copy(update={"cluster": bare}), request(1, pool))
        following = Following(made)
        following.wait_for(lambda one: "untolerated taint" in waits(one), BOUND_SECONDS)
        made.cancel()
        assert following.outcome(BOUND_SECONDS) == Cancelled()


def test_a_queue_that_is_not_there_is_told(cluster: Live, connection: Connection) -> None:
    pool = cluster.pool()
    raw = queued(cluster, pool, nodes=1).model_dump(mode="json")
    raw["cluster"]["queue"] |= {"priority_class": None, "priority": None}
    made = submit(connection, Profile.model_validate(raw), request(1, pool))
    following = Following(made)
    following.wait_for(lambda one: "LocalQueue training doesn't exist" in waits(one), BOUND_SECONDS)
    made.cancel()
    assert following.outcome(BOUND_SECONDS) == Cancelled()


def test_a_gang_that_fits_a_block_is_in_one(cluster: Live, connection: Connection) -> None:
    """Needs Kueue's feature gate TopologyAwareScheduling."""
    pool = cluster.pool()
    if pool.block_label is None or pool.nodes_per_block is None:
        pytest.skip("no label divides the nodes with GPUs into blocks")
    profile = queued(cluster, pool, nodes=len(pool.nodes), by_block=True)
    with queues(cluster, profile):
        made = submit(connection, profile, request(pool.nodes_per_block, pool))
        following = Following(made)
        pods = until(lambda: cluster.placed(made, pool.nodes_per_block or 0))
        labels = {one["metadata"]["name"]: one["metadata"]["labels"] for one in cluster.nodes()}
        assert len({labels[one.spec.node_name][pool.block_label] for one in pods}) == 1
        assert len({one.spec.node_name for one in pods}) == pool.nodes_per_block
        cluster.succeed(made, pool.nodes_per_block)
        assert following.outcome(BOUND_SECONDS) == Succeeded()
        made.remove()
