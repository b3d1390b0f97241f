"""Kueue's objects from profiles: golden files, Kueue's own schemas, and arithmetic: a pool fits and no node more.

Renew the golden files with: STARLOOM_RENEW=1 python -m pytest tests/k8s/test_queues.py
"""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from k8s.gang_manifests import gang_manifests
from k8s.profile import Profile, load_profile, profile_names
from k8s.queues import QueueError, main, queue_manifests
from k8s.request import GangRequest
from tests.k8s.crds import faults_by_crd
from tests.k8s.gangs import gang
from tests.k8s.golden import assert_golden

QUEUED = ("a100-64x8", "h100-8x8", "spot-h100")
UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def made(*names: str) -> list[dict[str, Any]]:
    return queue_manifests([load_profile(name) for name in names])


def named(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def changed(
    base: str, *, queue: dict[str, Any] | None = None, pool: dict[str, Any] | None = None, **top: Any
) -> Profile:
    content = load_profile(base).model_dump(mode="json")
    content["cluster"]["queue"] |= queue or {}
    content["cluster"]["pool"] |= pool or {}
    return Profile.model_validate(content | top)


def number(quantity: str) -> int:
    matched = re.fullmatch(r"(\d+)(\D*)", quantity)
    assert matched
    return int(matched[1]) * UNITS[matched[2]]


def quota(manifests: list[dict[str, Any]], flavor: str) -> dict[str, int]:
    flavors = [
        one
        for queue in named(manifests, "ClusterQueue").values()
        for group in queue["spec"]["resourceGroups"]
        for one in group["flavors"]
        if one["name"] == flavor
    ]
    (ours,) = flavors
    return {one["name"]: number(one["nominalQuota"]) for one in ours["resources"]}


def asked(profile: Profile, nodes: int) -> dict[str, int]:
    """By all pods of a gang of so many nodes, as its manifest says; the pool is told to be as large as that."""
    assert profile.devices_per_node
    larger = profile.model_copy(update={"nodes": nodes})
    request: GangRequest = gang("probe", nodes, profile.devices_per_node, 1, None)
    job = gang_manifests(larger, request)[-1]["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    return {name: job["parallelism"] * number(one) for name, one in container["resources"]["requests"].items()}


def test_the_profiles_with_a_queue_are_known_here() -> None:
    clusters = {name: load_profile(name).cluster for name in profile_names()}
    assert tuple(name for name, cluster in clusters.items() if cluster and cluster.queue) == QUEUED


@pytest.mark.parametrize("name", QUEUED)
def test_the_objects_of_a_profile_are_the_golden_ones(name: str) -> None:
    assert_golden(f"queues-{name}", *made(name))


def test_those_of_all_together_are_the_golden_ones() -> None:
    assert_golden("queues", *made(*QUEUED))


def test_kueues_own_schemas_know_every_field() -> None:
    manifests = made(*QUEUED)
    assert [fault for one in manifests for fault in faults_by_crd(one)] == []
    kinds = ("Topology", "ResourceFlavor", "WorkloadPriorityClass", "ClusterQueue", "LocalQueue")
    assert {one["kind"] for one in manifests} == set(kinds)


def test_the_schemas_see_a_field_that_is_none() -> None:
    queue = named(made("a100-64x8"), "ClusterQueue")["starloom-training.training"]
    queue["spec"]["preemption"]["withinQueue"] = "Never"
    assert faults_by_crd(queue) == ["Additional properties are not allowed ('withinQueue' was unexpected)"]


@pytest.mark.parametrize("name", QUEUED)
def test_a_gang_of_the_whole_pool_fits_to_the_last_byte_and_one_node_more_fits_in_nothing(name: str) -> None:
    profile, held = load_profile(name), quota(made(*QUEUED), name)
    assert asked(profile, profile.nodes) == held
    more = asked(profile, profile.nodes + 1)
    assert all(more[resource] > held[resource] for resource in held)


def test_the_reference_pool_has_512_gpus() -> None:
    held = quota(made("a100-64x8"), "a100-64x8")
    assert (held["nvidia.com/gpu"], held["vpc.amazonaws.com/efa"]) == (512, 256)
    assert held["memory"] == 64 * (960 + 64) * 2**30


@pytest.mark.parametrize("name", QUEUED)
def test_a_flavor_means_the_nodes_that_pods_ask_for_and_pods_tolerate_its_taints(name: str) -> None:
    profile = load_profile(name)
    assert profile.devices_per_node
    flavor = named(made(*QUEUED), "ResourceFlavor")[name]["spec"]
    job = gang_manifests(profile, gang("probe", 1, profile.devices_per_node, 1, None))[-1]
    pod = job["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    assert flavor["nodeLabels"] == pod["spec"]["nodeSelector"]
    for taint in flavor["nodeTaints"]:
        assert any(
            one["key"] == taint["key"]
            and one.get("effect") == taint["effect"]
            and (one["operator"] == "Exists" or one["value"] == taint.get("value"))
            for one in pod["spec"]["tolerations"]
        )
    (asked_level,) = [value for key, value in pod["metadata"]["annotations"].items() if key.endswith("-topology")]
    levels = [level["nodeLabel"] for level in named(made(name), "Topology")[flavor["topologyName"]]["spec"]["levels"]]
    assert levels == [asked_level, "kubernetes.io/hostname"]


def test_profiles_of_one_queue_share_it_and_each_pool_is_a_flavor_of_it() -> None:
    manifests = made(*QUEUED)
    queues = named(manifests, "ClusterQueue")
    flavors = {
        name: [one["name"] for one in queue["spec"]["resourceGroups"][0]["flavors"]] for name, queue in queues.items()
    }
    assert flavors == {"starloom-training.training": ["a100-64x8", "h100-8x8"], "starloom-training.spot": ["spot-h100"]}
    locals_ = {name: one["spec"]["clusterQueue"] for name, one in named(manifests, "LocalQueue").items()}
    assert locals_ == {"training": "starloom-training.training", "spot": "starloom-training.spot"}
    kinds = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(kinds)) == len(kinds)


def test_flavors_of_one_queue_list_the_same_resources_in_the_same_order() -> None:
    network = {"kind": "infiniband", "resources": {"rdma/hca": "8"}, "environment": {}}
    manifests = queue_manifests([load_profile("a100-64x8"), changed("h100-8x8", pool={"network": network})])
    (group,) = named(manifests, "ClusterQueue")["starloom-training.training"]["spec"]["resourceGroups"]
    for flavor in group["flavors"]:
        assert [one["name"] for one in flavor["resources"]] == group["coveredResources"]
    assert quota(manifests, "a100-64x8")["rdma/hca"] == 0
    assert quota(manifests, "h100-8x8")["vpc.amazonaws.com/efa"] == 0


def test_nodes_that_nobody_labels_by_block_have_no_topology() -> None:
    profile = changed("a100-64x8", queue={"topology_level": None, "nodes_per_block": None})
    manifests = queue_manifests([profile])
    assert named(manifests, "Topology") == {}
    assert "topologyName" not in named(manifests, "ResourceFlavor")["a100-64x8"]["spec"]


def test_a_queue_may_have_no_class() -> None:
    manifests = queue_manifests([changed("a100-64x8", queue={"priority_class": None, "priority": None})])
    assert named(manifests, "WorkloadPriorityClass") == {}


@pytest.mark.parametrize(
    ("profiles", "told"),
    [
        ([load_profile("kind-cpu")], "profile kind-cpu has no cluster.queue, so Kueue has nothing to do with it"),
        ([load_profile("local")], "profile local has no cluster.queue"),
        ([load_profile("h100-8x8")] * 2, "profile h100-8x8 is named twice"),
        (
            [load_profile("h100-8x8"), changed("h100-8x8", name="h100-too")],
            "h100-8x8 and h100-too may mean the same nodes: no key of cluster.pool.labels has different values",
        ),
        ([changed("h100-8x8", pool={"labels": {}})], "h100-8x8: cluster.pool.labels has 0 labels"),
        (
            [load_profile("h100-8x8"), changed("spot-h100", queue={"priority": 7})],
            "priority class training is 1000 in one profile and 7 in spot-h100; say the same in all",
        ),
    ],
)
def test_what_kueue_cannot_tell_apart_is_one_sentence(profiles: list[Profile], told: str) -> None:
    with pytest.raises(QueueError, match=told):
        queue_manifests(profiles)


def test_the_command_prints_yaml_for_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a100-64x8", "spot-h100"]) == 0
    assert list(YAML(typ="safe", pure=True).load_all(capsys.readouterr().out)) == made("a100-64x8", "spot-h100")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name the profiles whose gangs go through Kueue"),
        (["kind-cpu"], "error: profile kind-cpu has no cluster.queue"),
        (["nonsense"], "error: there is no profile nonsense"),
    ],
)
def test_the_command_says_what_it_cannot_use(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(told)
