"""The launcher against a real control plane with JobSet: its API, webhooks and controllers; pods may be on fake nodes.

    STARLOOM_TEST_KUBECONFIG=FILE python -m pytest tests/k8s/test_cluster_launcher_live.py tests/k8s/test_kueue_live.py

They make a namespace and a volume of their own and remove both, so they need an administrator.
"""

import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s.cluster_launcher import Connection, connect, submit
from k8s.gang_outcome import outcome_of
from k8s.request import Cancelled, ClusterError, Evicted, GangRequest, Succeeded, UserError
from tests.k8s.cutting_proxy import CuttingProxy
from tests.k8s.following import Following
from tests.k8s.gangs import gang
from tests.k8s.live_cluster import (
    BOUND_SECONDS,
    KUBECONFIG,
    LIVE,
    Live,
    address_of,
    live,
    pool_profile,
    small_profile,
    through,
    until,
)

NODES = 2
KINDS = ("jobset", "indexed_job")

pytestmark = LIVE


@pytest.fixture(scope="module")
def cluster() -> Iterator[Live]:
    with live() as ours:
        yield ours


@pytest.fixture(scope="module")
def connection() -> Connection:
    assert KUBECONFIG
    return connect(Path(KUBECONFIG), patience_seconds=60.0)


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    assert KUBECONFIG
    with CuttingProxy(*address_of(Path(KUBECONFIG))) as between:
        yield between


def request(nodes: int = NODES, devices: int = 1) -> GangRequest:
    return gang(f"pretrain-{uuid.uuid4().hex[:12]}", nodes, devices, 1, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gang_is_submitted_placed_and_succeeds(cluster: Live, connection: Connection, kind: str) -> None:
    made = submit(connection, small_profile(cluster.namespace, kind), request())
    following = Following(made)
    following.wait_for(
        lambda one: one.statuses and sum(pod.node is not None for pod in one.statuses[-1].pods) == NODES, BOUND_SECONDS
    )
    cluster.succeed(made, NODES)
    assert following.outcome(BOUND_SECONDS) == Succeeded()
    made.remove()
    assert made.observed() is None


def test_a_gang_of_the_whole_pool_has_each_of_its_nodes_once(cluster: Live, connection: Connection) -> None:
    pool = cluster.pool()
    whole = len(pool.nodes)
    made = submit(connection, pool_profile(cluster.namespace, pool, nodes=whole), request(whole, pool.gpus))
    following = Following(made)
    pods = until(lambda: cluster.placed(made, whole))
    assert sorted(one.spec.node_name for one in pods) == sorted(pool.nodes)
    following.wait_for(lambda one: len({pod.node for pod in one.statuses[-1].pods} - {None}) == whole, BOUND_SECONDS)
    cluster.succeed(made, whole)
    assert following.outcome(BOUND_SECONDS) == Succeeded()
    made.remove()


def test_without_the_pools_toleration_it_stays_pending_and_the_status_tells_why(
    cluster: Live, connection: Connection
) -> None:
    pool = cluster.pool()
    if not pool.tolerations:
        pytest.skip("the nodes with GPUs bear no taint")
    profile = pool_profile(cluster.namespace, pool, nodes=NODES, tolerations=())
    made = submit(connection, profile, request(NODES, pool.gpus))
    following = Following(made)
    following.wait_for(
        lambda one: one.statuses and any("untolerated taint" in (pod.waits_for or "") for pod in one.statuses[-1].pods),
        BOUND_SECONDS,
    )
    assert {(pod.phase, pod.node) for pod in following.statuses[-1].pods} == {("Pending", None)}
    made.cancel()
    assert following.outcome(BOUND_SECONDS) == Cancelled()


def test_one_node_too_many_is_told_and_without_a_queue_the_others_are_held(
    cluster: Live, connection: Connection
) -> None:
    """Why the profiles of GPU pools have a queue: tests/k8s/test_kueue_live.py shows the same gang hold nothing."""
    pool = cluster.pool()
    more = len(pool.nodes) + 1
    made = submit(connection, pool_profile(cluster.namespace, pool, nodes=more), request(more, pool.gpus))
    following = Following(made)
    following.wait_for(
        lambda one: (
            one.statuses
            and any("Insufficient nvidia.com/gpu" in (pod.waits_for or "") for pod in one.statuses[-1].pods)
        ),
        BOUND_SECONDS,
    )
    following.wait_for(lambda one: [pod.node for pod in one.statuses[-1].pods].count(None) == 1, BOUND_SECONDS)
    until(lambda: len({pod.node for pod in following.statuses[-1].pods} - {None}) == len(pool.nodes))
    made.cancel()
    assert following.outcome(BOUND_SECONDS) == Cancelled()


def test_an_evicted_pod_restarts_the_whole_set(cluster: Live, connection: Connection) -> None:
    made = submit(connection, small_profile(cluster.namespace, "jobset", max_restarts=1), request())
    following = Following(made)
    before = until(lambda: cluster.placed(made, NODES))
    cluster.evict(before[0])
    following.wait_for(lambda one: one.statuses and one.statuses[-1].restarts == 1, BOUND_SECONDS)
    old = {one.metadata.uid for one in before}
    until(lambda: len({one.metadata.uid for one in cluster.placed(made, NODES)} - old) == NODES)
    cluster.succeed(made, NODES)
    assert following.outcome(BOUND_SECONDS) == Succeeded()
    made.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_ends_it_at_once(cluster: Live, connection: Connection, kind: str) -> None:
    made = submit(connection, small_profile(cluster.namespace, kind, max_restarts=3), request())
    following = Following(made)
    cluster.end(until(lambda: cluster.placed(made, NODES))[1], 42)
    assert isinstance(following.outcome(BOUND_SECONDS), UserError)
    assert following.statuses[-1].restarts == 0
    made.remove()


def test_an_evicted_pod_of_a_job_is_told(cluster: Live, connection: Connection) -> None:
    made = submit(connection, small_profile(cluster.namespace, "indexed_job"), request())
    following = Following(made)
    cluster.evict(until(lambda: cluster.placed(made, NODES))[0])
    assert isinstance(following.outcome(BOUND_SECONDS), Evicted)
    made.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_that_forbids_pods_is_told(cluster: Live, connection: Connection, kind: str) -> None:
    quota = {"metadata": {"name": "one-pod"}, "spec": {"hard": {"requests.cpu": "1"}}}
    cluster.core.create_namespaced_resource_quota(cluster.namespace, quota)
    until(lambda: cluster.core.read_namespaced_resource_quota("one-pod", cluster.namespace).status.used)
    try:
        made = submit(connection, small_profile(cluster.namespace, kind), request())
        following = Following(made)
        following.wait_for(
            lambda one: one.statuses and "exceeded quota: one-pod" in (one.statuses[-1].waits_for or ""), BOUND_SECONDS
        )
        made.cancel()
        assert following.outcome(BOUND_SECONDS) == Cancelled()
    finally:
        cluster.core.delete_namespaced_resource_quota("one-pod", cluster.namespace)


def test_a_watch_that_is_cut_loses_neither_places_nor_the_end(
    cluster: Live, proxy: CuttingProxy, tmp_path: Path
) -> None:
    connection = connect(through(proxy.port, tmp_path), patience_seconds=60.0)
    made = submit(connection, small_profile(cluster.namespace, "jobset"), request())
    following = Following(made)
    following.wait_for(lambda one: one.statuses, BOUND_SECONDS)
    opened = proxy.connections
    proxy.cut()
    pods = until(lambda: cluster.placed(made, NODES))
    cluster.end(pods[1], 0)
    proxy.cut()
    cluster.end(pods[0], 0)
    assert following.outcome(BOUND_SECONDS) == Succeeded()
    assert proxy.connections > opened
    made.remove()


def test_an_api_server_that_is_away_for_a_while_ends_nothing(
    cluster: Live, connection: Connection, proxy: CuttingProxy, tmp_path: Path
) -> None:
    asked, profile = request(), small_profile(cluster.namespace, "jobset")
    made = submit(connect(through(proxy.port, tmp_path), patience_seconds=60.0), profile, asked)
    following = Following(made)
    following.wait_for(lambda one: one.statuses, BOUND_SECONDS)
    proxy.close()
    seen_from_here = submit(connection, profile, asked)  # the cluster itself goes on
    cluster.succeed(made, NODES)
    until(lambda: outcome_of(seen_from_here.observed() or {"metadata": {}}, ()))
    proxy.open()
    assert following.outcome(BOUND_SECONDS) == Succeeded()
    made.remove()


def test_a_second_launcher_adopts_what_the_first_left(
    cluster: Live, connection: Connection, proxy: CuttingProxy, tmp_path: Path
) -> None:
    asked, profile = request(), small_profile(cluster.namespace, "jobset")
    first = submit(connect(through(proxy.port, tmp_path), patience_seconds=1.0), profile, asked)
    assert not first.was_adopted
    dropped = Following(first)
    dropped.wait_for(lambda one: one.statuses, BOUND_SECONDS)
    proxy.close()
    with pytest.raises(ClusterError, match="did not answer for 1 s"):
        dropped.outcome(BOUND_SECONDS)
    second = submit(connection, profile, asked)
    assert second.was_adopted
    following = Following(second)
    cluster.succeed(second, NODES)
    assert following.outcome(BOUND_SECONDS) == Succeeded()
    second.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_gang_is_gone_with_its_pods(cluster: Live, connection: Connection, kind: str) -> None:
    made = submit(connection, small_profile(cluster.namespace, kind), request())
    following = Following(made)
    until(lambda: cluster.placed(made, NODES))
    made.cancel()
    assert following.outcome(BOUND_SECONDS) == Cancelled()
    assert made.observed() is None
    assert cluster.pods(made) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_again_is_adopted_and_another_is_refused(cluster: Live, connection: Connection, kind: str) -> None:
    asked, profile = request(), small_profile(cluster.namespace, kind)
    made = submit(connection, profile, asked)
    assert submit(connection, profile, asked).was_adopted
    with pytest.raises(ClusterError, match="made from another profile or request"):
        submit(connection, profile, dataclasses.replace(asked, environment={"OMP_NUM_THREADS": "2"}))
    made.remove()


def test_a_namespace_that_is_none_is_one_sentence(connection: Connection) -> None:
    with pytest.raises(ClusterError, match="has no namespace starloom-none or knows no JobSet"):
        submit(connection, small_profile("starloom-none", "jobset"), request())
