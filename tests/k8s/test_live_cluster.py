"""What the live tests find out of a cluster, held to nodes as a cluster of 74 has them; no cluster is asked."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from k8s.cluster_launcher import connect
from k8s.gang_manifests import gang_manifests
from k8s.gang_rules import require_sound
from k8s.queues import queue_manifests
from tests.k8s.gangs import gang
from tests.k8s.live_cluster import GPU, Pool, address_of, gpu_pool, kubeconfig_through, pool_profile

TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
UNWELL = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


def node(kind: str, number: int, gpus: int, **labels: str) -> dict[str, Any]:
    name = f"{kind}-{number}"
    common = {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "pool": kind}
    taints = [TAINT] if gpus else []
    return {
        "metadata": {"name": name, "labels": common | labels},
        "spec": {"taints": taints + ([UNWELL] if number == 1 else [])},
        "status": {"allocatable": {"cpu": "96"} | ({GPU: str(gpus)} if gpus else {})},
    }


def nodes() -> list[dict[str, Any]]:
    large = [node("gpu-a100", n, 8, block=f"b{n // 16}") for n in range(64)]
    return [*large, *(node("gpu-l4", n, 1) for n in range(4)), *(node("cpu", n, 0) for n in range(6))]


def found() -> Pool:
    pool = gpu_pool(nodes())
    assert pool
    return pool


def test_the_largest_pool_with_gpus_is_known_by_its_own_label_and_taint() -> None:
    pool = found()
    assert (len(pool.nodes), pool.gpus) == (64, 8)
    assert pool.labels == {"pool": "gpu-a100"}
    assert pool.tolerations == ({"key": GPU, "operator": "Equal", "value": "present", "effect": "NoSchedule"},)
    assert (pool.block_label, pool.nodes_per_block) == ("block", 16)


def test_without_gpus_or_a_label_of_its_own_there_is_none() -> None:
    assert gpu_pool([node("cpu", n, 0) for n in range(6)]) is None
    same = nodes()
    for one in same:
        one["metadata"]["labels"] |= {"pool": "all"}
    assert gpu_pool(same) is None


@pytest.mark.parametrize("by_block", [False, True])
def test_its_profile_makes_sound_manifests_and_queues(by_block: bool) -> None:
    pool = found()
    level = (pool.block_label, pool.nodes_per_block) if by_block else (None, None)
    queue = {"local_queue": "training", "priority_class": "starloom-test", "priority": 1000}
    queue |= {"topology_level": level[0], "nodes_per_block": level[1]}
    profile = pool_profile("starloom-test-1234", pool, nodes=64, queue=queue)
    manifests = gang_manifests(profile, gang("pretrain-0123456789ab", 16, 8, 1, None))
    require_sound(manifests)
    annotations = manifests[0]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["metadata"].get(
        "annotations"
    )
    assert annotations == ({"kueue.x-k8s.io/podset-required-topology": "block"} if by_block else None)
    kinds = [one["kind"] for one in queue_manifests([profile])]
    assert ("Topology" in kinds) is by_block


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_kubeconfig_leads_through_the_proxy_and_keeps_what_the_server_is_known_by(
    scheme: str, tmp_path: Path
) -> None:
    original = tmp_path / "there" / "config"
    original.parent.mkdir()
    (original.parent / "ca.crt").write_text("")
    cluster = {"server": f"{scheme}://api.example:6443", "certificate-authority": "ca.crt"}
    raw = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "ours",
        "contexts": [{"name": "ours", "context": {"cluster": "a", "user": "b"}}],
        "clusters": [{"name": "other", "cluster": {"server": "http://no"}}, {"name": "a", "cluster": cluster}],
        "users": [{"name": "b", "user": {"token": "t"}}],
    }
    YAML(typ="safe", pure=True).dump(raw, original)
    assert address_of(original) == ("api.example", 6443)
    made = kubeconfig_through(original, 7001, tmp_path)
    settings = connect(made).core.api_client.configuration
    assert settings.host == f"{scheme}://127.0.0.1:7001"
    known_by = (str(original.parent / "ca.crt"), "api.example") if scheme == "https" else (None, None)
    assert (settings.ssl_ca_cert, settings.tls_server_name) == known_by
