"""Profiles: those that come with starloom are whole, others are refused with the mend."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from k8s.cluster_profile import JobSetGang
from k8s.profile import PROFILES_DIR, ProfileError, load_profile, profile_names


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_can_be_read_and_bears_its_name(name: str) -> None:
    assert load_profile(name).name == name


@pytest.mark.parametrize("name", profile_names())
def test_every_constant_has_a_word_on_where_it_is_from(name: str) -> None:
    lines = (PROFILES_DIR / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    measured = [
        line
        for line in lines
        if ":" in line.split("#")[0]
        and line.split(":")[0]
        in (
            "network_bytes_per_second_per_node",
            "price_per_device_hour_usd",
            "watts_per_device",
            "power_usage_effectiveness",
            "carbon_kg_per_kwh",
            "device_hours_between_interruptions",
            "checkpoint_stall_seconds",
        )
    ]
    assert len(measured) == 7
    assert [line for line in measured if "#" not in line and not line.endswith(": 0")] == []


@pytest.mark.parametrize("name", profile_names())
def test_every_number_of_a_cluster_has_a_word_on_where_it_is_from(name: str) -> None:
    _, _, cluster = (PROFILES_DIR / f"{name}.yaml").read_text(encoding="utf-8").partition("\ncluster:\n")
    numbers = [line for line in cluster.splitlines() if any(char.isdigit() for char in line.split("#")[0])]
    told = [line.strip() for line in numbers if "#" not in line]
    assert [line for line in told if not line.startswith(("image:", "checkpoint_store:", "credentials_secret:"))] == []


def test_those_of_the_plan_are_there() -> None:
    assert {"local", "kind-cpu", "a100-64x8", "h100-8x8", "spot-h100"} <= set(profile_names())
    assert load_profile("local").cluster is None


def test_a_pool_that_is_only_planned_with_needs_no_cluster(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((PROFILES_DIR / "h100-8x8.yaml").read_text().partition("cluster:\n")[0])
    assert load_profile(str(path)).cluster is None


def test_a_profile_cannot_be_changed() -> None:
    cluster = load_profile("h100-8x8").cluster
    assert cluster is not None
    with pytest.raises(ValidationError, match="frozen"):
        cluster.pool.gpu_resource = None  # pyright: ignore[reportAttributeAccessIssue]


def test_only_a_jobset_from_0_10_on_tells_failures_apart() -> None:
    told = {
        version: JobSetGang(kind="jobset", version=version, max_restarts=0).tells_failures_apart
        for version in ("0.8.2", "0.9.1", "0.10.0", "0.10.1", "1.0.0")
    }
    assert told == {"0.8.2": False, "0.9.1": False, "0.10.0": True, "0.10.1": True, "1.0.0": True}


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ProfileError, match="there is no profile nonsense; there are a100-64x8, h100-8x8"):
        load_profile("nonsense")


def test_a_file_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((PROFILES_DIR / "h100-8x8.yaml").read_text().replace("h100-8x8", "mine"))
    assert load_profile(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("nodes: 8", "nodes: 0", "nodes: input should be greater than or equal to 1"),
        ("nodes: 8", "nods: 8", "nods: extra inputs are not permitted"),
        ("watts_per_device: 700", "watts_per_device: many", "watts_per_device: input should be a valid number"),
        ("nodes: 8", "nodes: [", "cannot be read"),
        (
            "@sha256:" + "0" * 64,
            ":latest",
            "cluster.image: 'registry.example.com/starloom-training:latest' does not name its bytes; give the image by "
            "digest, registry/name@sha256:...",
        ),
        ("devices_per_node: 8", "devices_per_node: null", "devices_per_node is null, which is this machine"),
        ("lost_node_seconds: 60", "lost_node_seconds: 300", "lost_node_seconds: input should be less than or equal"),
        ("kind: efa", "kind: none", "network: value error, kind none and resources {'vpc.amazonaws.com/efa': '32'"),
        (
            'efa: "32"',
            "efa: 32",
            "cluster.pool.network.resources.vpc.amazonaws.com/efa: input should be a valid string",
        ),
        ("value: null", "value: gpu", "operator exists and value 'gpu' exclude each other"),
        ("nodes_per_block: 8", "nodes_per_block: null", "topology_level and nodes_per_block go together"),
        (
            "gang: {kind: jobset",
            "gang: {kind: volcano",
            "does not match any of the expected tags: 'jobset', 'indexed_job'",
        ),
        ("version: 0.8.2", "version: main", "cluster.gang.jobset.version: string should match pattern"),
        ("namespace: starloom-training", "namespace: Star_Loom", "cluster.namespace: string should match pattern"),
        ("ttl_seconds: 604800", "ttl: 604800", "cluster.ttl: extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((PROFILES_DIR / "h100-8x8.yaml").read_text().replace(old, new, 1))
    with pytest.raises(ProfileError, match=r"mine\.yaml") as caught:
        load_profile(str(path))
    assert told in str(caught.value)
