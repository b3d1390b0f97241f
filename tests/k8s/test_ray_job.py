import shlex
from typing import Any

import kubernetes_validate
import pytest
from pydantic import ValidationError

from k8s.cluster_profile import DataWork
from k8s.pod_rules import Pod, pods_of
from k8s.profile import load_profile, profile_names
from k8s.ray_job import RAY_VERSION, ray_job, ray_job_faults
from tests.k8s.golden import assert_golden
from tests.k8s.rendered import K8S, of_kind, rendered

NAME = "deduplicate-0123456789ab"
COMMAND = ("python", "-m", "components", "deduplicate", "--params", "params/starcoderbase-1b.yaml")
ENVIRONMENT = {"STARLOOM_RUNNER": "ray", "STARLOOM_LOCK_HOLDER": NAME}
PUSHED = "registry.example.com/starloom-worker@sha256:" + "ab" * 32


def data_works() -> dict[str, DataWork]:
    """By profile, of those that have one."""
    clusters = {name: load_profile(name).cluster for name in profile_names()}
    return {name: cluster.data_work for name, cluster in clusters.items() if cluster and cluster.data_work}


def work(profile: str = "spot-h100", **changes: Any) -> DataWork:
    return DataWork.model_validate(data_works()[profile].model_dump() | {"image": PUSHED} | changes)


def manifest(profile: str = "spot-h100", **changes: Any) -> dict[str, Any]:
    return ray_job(work(profile, **changes), NAME, COMMAND, ENVIRONMENT)


def pods(profile: str = "spot-h100") -> dict[str, Pod]:
    return {pod.spec["containers"][0]["name"]: pod for pod in pods_of(manifest(profile))}


def as_pod(pod: Pod) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": pod.namespace, "labels": dict(pod.labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod.spec}


def test_corpus_steps_go_to_ray_on_the_clusters_that_have_many_machines():
    assert set(data_works()) == {"a100-64x8", "h100-8x8", "spot-h100"}


@pytest.mark.parametrize("profile", data_works())
def test_the_manifest_is_the_golden_one(profile: str):
    assert_golden(f"ray-job-{profile}", ray_job(data_works()[profile], NAME, COMMAND, ENVIRONMENT))


@pytest.mark.parametrize("profile", data_works())
def test_each_of_its_pods_is_valid_and_keeps_the_rules(profile: str):
    assert set(pods(profile)) == {"submitter", "ray-head", "ray-worker"}
    for pod in pods(profile).values():
        kubernetes_validate.validate(as_pod(pod), "1.36", strict=True)
    assert ray_job_faults(manifest(profile)) == []


@pytest.mark.parametrize("profile", data_works())
def test_the_placeholder_of_an_image_is_a_fault(profile: str):
    faults = ray_job_faults(ray_job(data_works()[profile], NAME, COMMAND))
    assert len(faults) == 3
    assert all("has the placeholder for a digest; set the one that was pushed" in fault for fault in faults)


def test_a_secret_in_the_environment_is_a_fault():
    (fault, *_) = ray_job_faults(ray_job(work(), NAME, COMMAND, {"AWS_SECRET_ACCESS_KEY": "x"}))
    assert "AWS_SECRET_ACCESS_KEY has its value in the manifest; take it from a Secret" in fault


@pytest.mark.parametrize("profile", data_works())
def test_the_accounts_it_names_and_the_policy_that_lets_it_speak_are_there(profile: str):
    manifests = rendered("local-kind")
    policy = of_kind(manifests, "NetworkPolicy")["starloom-runs/data-work"]["spec"]["podSelector"]["matchLabels"]
    for pod in pods(profile).values():
        assert f"{pod.namespace}/{pod.spec['serviceAccountName']}" in of_kind(manifests, "ServiceAccount")
        assert policy.items() <= pod.labels.items()


def test_only_workers_go_to_spot_nodes_and_the_head_is_kept_from_eviction():
    assert {name for name, pod in pods().items() if "tolerations" in pod.spec} == {"ray-worker"}
    assert not any("tolerations" in pod.spec for pod in pods("h100-8x8").values())
    head = manifest()["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["template"]["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert head["rayStartParams"]["num-cpus"] == "0"


def test_the_workers_alone_ask_for_the_labels_of_the_pool():
    labelled = ray_job(work(worker_labels={"pool": "cpu"}), NAME, COMMAND)
    asking = {pod.spec["containers"][0]["name"] for pod in pods_of(labelled) if "nodeSelector" in pod.spec}
    assert asking == {"ray-worker"}


def test_the_pool_grows_from_nothing_and_the_cluster_goes_when_the_work_is_done():
    spec = manifest()["spec"]
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (0, 0, 64)
    assert work().pieces_at_work == 960
    assert spec["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    assert spec["shutdownAfterJobFinishes"] is True


def test_a_mistake_costs_one_cluster():
    assert manifest()["spec"]["backoffLimit"] == 0


def test_the_command_stays_what_it_is_through_kubernetes_and_the_shell():
    command = ("python", "-m", "components", "x", "--set", 'x.text=it\'s $(HOME) $5 "two" \\ `a`; b', "--set", "y=")
    entrypoint: str = ray_job(work(), NAME, command)["spec"]["entrypoint"]
    assert shlex.split(entrypoint.replace("$$", "$")) == list(command)
    assert "$(HOME)" not in entrypoint.replace("$$", "")


def test_the_image_and_the_manifest_have_one_ray():
    lock = (K8S / "images" / "worker.lock").read_text()
    assert f"\nray=={RAY_VERSION} " in lock


def test_the_image_has_the_job_server_that_kuberay_submits_to():
    lock = (K8S / "images" / "worker.lock").read_text()
    for package in ("aiohttp-cors", "opencensus", "grpcio", "opentelemetry-exporter-prometheus"):
        assert f"\n{package}==" in lock, package


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"max_workers": 0}, "greater than or equal to 1"),
        ({"min_workers": 65}, "min_workers 65 is more than max_workers 64"),
        ({"min_workers": -1}, "greater than or equal to 0"),
        ({"image": "registry.example.com/starloom-worker:latest"}, "does not name its bytes"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(change: dict[str, Any], why: str):
    with pytest.raises(ValidationError, match=why):
        work(**change)


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="has 48 characters"):
        ray_job(work(), "n" * 48, COMMAND)
