from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from k8s.pod_rules import Pod, pod_faults, pods_of
from k8s.ray_job import RAY_VERSION, RayWork, ray_job
from tests.k8s.golden import assert_golden
from tests.k8s.rendered import K8S, of_kind, rendered

WORK = RayWork(
    name="deduplicate",
    command="python -m components deduplicate --params params/starcoderbase-1b.yaml",
    image="registry.example.org/starloom-worker@sha256:" + "ab" * 32,
    workspace_claim="workspace",
    max_workers=64,
    cpus_per_worker=15,
    memory_gib_per_worker=56,
    environment={"STARLOOM_RUNNER": "ray"},
    spot_tolerations=({"key": "example.org/spot", "operator": "Exists", "effect": "NoSchedule"},),
)


def pods() -> dict[str, Pod]:
    return {pod.spec["containers"][0]["name"]: pod for pod in pods_of(ray_job(WORK))}


def as_pod(pod: Pod) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": pod.namespace, "labels": dict(pod.labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod.spec}


def test_the_manifest_is_the_golden_one():
    assert_golden("ray-job", ray_job(WORK))


def test_each_of_its_pods_is_valid_and_keeps_the_rules():
    assert set(pods()) == {"submitter", "ray-head", "ray-worker"}
    for name, pod in pods().items():
        kubernetes_validate.validate(as_pod(pod), "1.36", strict=True)
        assert list(pod_faults(pod, needs_token=name == "ray-head")) == []


def test_the_accounts_it_names_and_the_policy_that_lets_it_speak_are_there():
    manifests = rendered("local-kind")
    policy = of_kind(manifests, "NetworkPolicy")["starloom-runs/data-work"]["spec"]["podSelector"]["matchLabels"]
    for pod in pods().values():
        assert f"{pod.namespace}/{pod.spec['serviceAccountName']}" in of_kind(manifests, "ServiceAccount")
        assert policy.items() <= pod.labels.items()


def test_only_workers_go_to_spot_nodes_and_the_head_is_kept_from_eviction():
    assert {name for name, pod in pods().items() if "tolerations" in pod.spec} == {"ray-worker"}
    head = ray_job(WORK)["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["template"]["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert head["rayStartParams"]["num-cpus"] == "0"


def test_the_pool_grows_from_nothing_and_the_cluster_goes_when_the_work_is_done():
    spec = ray_job(WORK)["spec"]
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (0, 0, 64)
    assert spec["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    assert spec["shutdownAfterJobFinishes"] is True


def test_the_image_and_the_manifest_have_one_ray():
    lock = (K8S / "images" / "worker.lock").read_text()
    assert f"\nray=={RAY_VERSION} " in lock


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"max_workers": 0}, "0 to 0 workers is no pool"),
        ({"min_workers": 65}, "65 to 64 workers is no pool"),
        ({"min_workers": -1}, "-1 to 64 workers is no pool"),
        ({"name": "n" * 48}, "has 48 characters"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(change: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        ray_job(replace(WORK, **change))
