"""Manifests of a gang: golden files, three validators that need no cluster, and laws.

Renew the golden files with: STARLOOM_RENEW=1 python -m pytest tests/k8s/test_gang_manifests.py
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from k8s.gang_manifests import GangError, gang_manifests, manifest_text
from k8s.gang_rules import faults_of, require_sound
from k8s.profile import Profile, load_profile, profile_names
from k8s.request import GangRequest, Volume
from tests.k8s.crds import faults_by_crd
from tests.k8s.gangs import GANGS, gang

GOLDEN = Path(__file__).parent / "golden"
KUBERNETES = "1.36"


def made(profile: str) -> list[dict[str, Any]]:
    return gang_manifests(load_profile(profile), GANGS[profile])


def job_of(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    last = manifests[-1]
    return last["spec"]["replicatedJobs"][0]["template"] if last["kind"] == "JobSet" else last


def pod_of(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    return job_of(manifests)["spec"]["template"]


def test_every_profile_with_a_cluster_has_a_golden_file() -> None:
    assert {name for name in profile_names() if load_profile(name).cluster} == GANGS.keys()


@pytest.mark.parametrize("profile", GANGS)
def test_the_manifests_are_the_golden_ones(profile: str) -> None:
    path, text = GOLDEN / f"{profile}.yaml", manifest_text(made(profile))
    if os.environ.get("STARLOOM_RENEW"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "look at the difference, then renew with STARLOOM_RENEW=1"
    assert list(YAML(typ="safe", pure=True).load_all(text)) == made(profile)


@pytest.mark.parametrize("profile", GANGS)
def test_the_manifests_hold_our_own_rules(profile: str) -> None:
    require_sound(made(profile))


@pytest.mark.parametrize("profile", GANGS)
def test_jobs_and_services_hold_the_schemas_of_kubernetes(profile: str) -> None:
    manifests = made(profile)
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "inner"}, "spec": job_of(manifests)["spec"]}
    for manifest in [job, *(one for one in manifests if one["kind"] != "JobSet")]:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_schemas_of_kubernetes_see_a_field_that_is_none() -> None:
    service = made("kind-cpu")[0]
    service["spec"]["clusterIp"] = "None"
    with pytest.raises(kubernetes_validate.ValidationError, match="clusterIp"):
        kubernetes_validate.validate(service, KUBERNETES, strict=True)


@pytest.mark.parametrize("profile", ["a100-64x8", "h100-8x8"])
def test_jobsets_hold_their_crd(profile: str) -> None:
    assert faults_by_crd(made(profile)[0]) == []


def test_the_crd_at_hand_is_older_than_the_jobset_that_tells_failures_apart() -> None:
    faults = faults_by_crd(made("spot-h100")[0])
    assert len(faults) == 2  # one for each rule
    assert all("('onJobFailureMessagePatterns' was unexpected)" in fault for fault in faults)


def test_the_crd_sees_a_field_that_is_none() -> None:
    manifest = made("a100-64x8")[0]
    manifest["spec"]["suspended"] = True
    assert faults_by_crd(manifest) == ["Additional properties are not allowed ('suspended' was unexpected)"]


def test_one_jobset_with_one_job_of_64_pods_runs_torchrun_with_the_index_of_the_pod() -> None:
    manifests = made("a100-64x8")
    assert [one["kind"] for one in manifests] == ["JobSet"]
    (replicated,) = manifests[0]["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    job = replicated["template"]["spec"]
    assert (job["completions"], job["parallelism"], job["completionMode"]) == (64, 64, "Indexed")
    (container,) = job["template"]["spec"]["containers"]
    name = GANGS["a100-64x8"].name
    assert container["command"] == [
        *("python", "-m", "model.torchrun", "--pipeline-nodes=4", "--nnodes=64", "--nproc-per-node=8"),
        *("--node-rank=$(JOB_COMPLETION_INDEX)", f"--master-addr={name}-trainer-0-0.{name}", "--master-port=29500"),
        *("--max-restarts=0", "--shutdown-timeout=590", "-m", "model.train_worker"),
        f"/workspace/.starloom/gangs/{name}/request.json",
    ]
    index = next(one for one in container["env"] if one["name"] == "JOB_COMPLETION_INDEX")
    path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert index["valueFrom"]["fieldRef"]["fieldPath"] == path
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in container["env"]
    assert manifests[0]["spec"]["network"]["publishNotReadyAddresses"] is True
    assert manifests[0]["spec"]["suspend"] is True


def test_devices_are_strings_and_shared_memory_is_counted() -> None:
    (container,) = pod_of(made("a100-64x8"))["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert (limits["nvidia.com/gpu"], limits["vpc.amazonaws.com/efa"]) == ("8", "4")
    assert limits["memory"] == "1024Gi"  # 960 for processes, 64 for /dev/shm
    assert container["resources"]["requests"] == limits
    cpu = pod_of(made("kind-cpu"))["spec"]["containers"][0]["resources"]["limits"]
    assert cpu == {"cpu": "1", "memory": "3Gi"}


@pytest.mark.parametrize("profile", GANGS)
def test_pods_have_no_right_that_they_do_not_need(profile: str) -> None:
    pod = pod_of(made(profile))["spec"]
    (container,) = pod["containers"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("training", False)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
    pinned = {"add": ["IPC_LOCK"]} if profile != "kind-cpu" else {}
    assert security["capabilities"] == {"drop": ["ALL"]} | pinned


@pytest.mark.parametrize("profile", GANGS)
def test_a_lost_node_is_given_up_within_a_minute(profile: str) -> None:
    tolerations = pod_of(made(profile))["spec"]["tolerations"]
    lost = {one["key"]: one["tolerationSeconds"] for one in tolerations if "tolerationSeconds" in one}
    assert lost.keys() == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    assert all(30 <= seconds <= 60 for seconds in lost.values())


def test_a_set_that_fits_a_block_must_have_one_and_a_larger_one_keeps_its_pipelines_together() -> None:
    level = "cloud.provider.com/topology-block"
    assert pod_of(made("h100-8x8"))["metadata"]["annotations"] == {"kueue.x-k8s.io/podset-required-topology": level}
    assert pod_of(made("a100-64x8"))["metadata"]["annotations"] == {
        "kueue.x-k8s.io/podset-preferred-topology": level,
        "kueue.x-k8s.io/podset-slice-required-topology": level,
        "kueue.x-k8s.io/podset-slice-size": "4",
    }
    assert "annotations" not in pod_of(made("kind-cpu"))["metadata"]


@pytest.mark.parametrize("profile", GANGS)
def test_a_pod_that_fails_is_never_made_anew_alone(profile: str) -> None:
    job = job_of(made(profile))["spec"]
    assert job["backoffLimit"] == 0
    assert "successPolicy" not in job
    assert "Ignore" not in {rule["action"] for rule in job["podFailurePolicy"]["rules"]}


def test_jobset_0_8_fails_at_once_on_a_mistake_and_restarts_on_all_else() -> None:
    manifests = made("a100-64x8")
    assert job_of(manifests)["spec"]["podFailurePolicy"]["rules"] == [
        {"action": "FailJob", "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [42]}}
    ]
    assert manifests[0]["spec"]["failurePolicy"] == {
        "maxRestarts": 20,
        "restartStrategy": "BlockingRecreate",
        "rules": [
            {
                "name": "mistake",
                "action": "FailJobSet",
                "targetReplicatedJobs": ["trainer"],
                "onJobFailureReasons": ["PodFailurePolicy"],
            }
        ],
    }


def test_jobset_0_10_does_not_count_what_the_cloud_takes_back() -> None:
    """Read in the sources of both, never run: the message names the place of the rule in the Job."""
    manifests = made("spot-h100")
    rules = job_of(manifests)["spec"]["podFailurePolicy"]["rules"]
    assert [rule.get("onExitCodes", {}).get("values") for rule in rules] == [[42], [75], None]
    assert rules[2]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    mistake, disruption = manifests[0]["spec"]["failurePolicy"]["rules"]
    assert (mistake["action"], disruption["action"]) == ("FailJobSet", "RestartJobSetAndIgnoreMaxRestarts")
    assert mistake["onJobFailureMessagePatterns"] == ["matching FailJob rule at index 0$"]
    assert disruption["onJobFailureMessagePatterns"] == ["matching FailJob rule at index [1-2]$"]


def test_a_job_alone_says_that_it_is_no_gang_and_has_a_service_of_its_own() -> None:
    service, job = made("kind-cpu")
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    assert "This is no gang" in job["metadata"]["annotations"]["starloom/gang"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    first_pod = f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert f"--master-addr={first_pod}" in pod["containers"][0]["command"]


def changed(profile: str, **changes: Any) -> Profile:
    """The profile with other values, by their path in `cluster` with `__` between."""
    content = load_profile(profile).model_dump(mode="json")
    for path, value in changes.items():
        *sections, last = path.split("__")
        section = content["cluster"]
        for name in sections:
            section = section[name]
        section[last] = value
    return Profile.model_validate(content)


def test_infiniband_brings_adapters_variables_and_the_right_to_pin_memory() -> None:
    network = {
        "kind": "infiniband",
        "resources": {"rdma/hca": "8"},
        "environment": {"NCCL_IB_HCA": "mlx5", "NCCL_IB_GID_INDEX": "3"},
    }
    manifests = gang_manifests(changed("h100-8x8", pool__network=network), GANGS["h100-8x8"])
    (container,) = pod_of(manifests)["spec"]["containers"]
    assert container["resources"]["limits"]["rdma/hca"] == "8"
    assert {"name": "NCCL_IB_HCA", "value": "mlx5"} in container["env"]
    assert container["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
    require_sound(manifests)


def test_a_job_alone_can_be_queued_too() -> None:
    queue = {
        "local_queue": "small",
        "priority_class": None,
        "priority": None,
        "topology_level": None,
        "nodes_per_block": None,
    }
    manifests = gang_manifests(changed("kind-cpu", queue=queue, priority_class="low"), GANGS["kind-cpu"])
    job = manifests[-1]
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "small"
    assert "kueue.x-k8s.io/priority-class" not in job["metadata"]["labels"]
    assert pod_of(manifests)["spec"]["priorityClassName"] == "low"
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    require_sound(manifests)


def test_another_store_than_amazons_is_named_and_its_secret_is_only_referred_to() -> None:
    profile = changed("h100-8x8", storage__endpoint_url="http://store:9000")
    (container,) = pod_of(gang_manifests(profile, GANGS["h100-8x8"]))["spec"]["containers"]
    assert {"name": "AWS_ENDPOINT_URL", "value": "http://store:9000"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "starloom-s3"}}]
    assert not [one for one in container["env"] if "KEY" in one["name"]]


def test_a_dollar_sign_of_ours_is_nobody_elses_variable() -> None:
    request = gang("probe", 1, 1, 1, None, PRICE="$(HOME) $$")
    (container,) = pod_of(gang_manifests(load_profile("kind-cpu"), request))["spec"]["containers"]
    assert {"name": "PRICE", "value": "$$(HOME) $$$$"} in container["env"]


def test_further_claims_are_mounted() -> None:
    base = GANGS["kind-cpu"]
    request = GangRequest(
        base.name, base.agent, base.command, 4, 1, volumes=(Volume("corpus", "/corpus", read_only=True),)
    )
    manifests = gang_manifests(load_profile("kind-cpu"), request)
    pod = pod_of(manifests)["spec"]
    assert pod["volumes"][-1]["persistentVolumeClaim"] == {"claimName": "corpus", "readOnly": True}
    mount = pod["containers"][0]["volumeMounts"][-1]
    assert mount == {"name": "volume-0", "mountPath": "/corpus", "readOnly": True}
    require_sound(manifests)


@pytest.mark.parametrize(
    ("profile", "request_", "told"),
    [
        ("local", GANGS["kind-cpu"], "profile local describes no cluster; give it a `cluster` section"),
        ("h100-8x8", GANGS["a100-64x8"], "asks for 64 nodes of 8 devices, h100-8x8 has 8 of 8; ask for fewer"),
    ],
)
def test_what_the_pool_cannot_hold_is_refused(profile: str, request_: GangRequest, told: str) -> None:
    with pytest.raises(GangError, match=told):
        gang_manifests(load_profile(profile), request_)


def _places(manifest: Any, path: str = "") -> Iterator[str]:
    if isinstance(manifest, dict):
        for key, value in manifest.items():
            yield from _places(value, f"{path}.{key}")
    elif isinstance(manifest, list):
        for one in manifest:
            yield from _places(one, path)
    elif isinstance(manifest, float):
        yield path


@given(
    profile=st.sampled_from(sorted(GANGS)),
    nodes=st.integers(1, 4),
    processes=st.integers(1, 1),
    close_pods=st.sampled_from([1, 2, 4]),
    name=st.from_regex(r"[a-z][a-z0-9]{0,30}", fullmatch=True),
    value=st.text(max_size=20),
)
def test_whatever_fits_a_pool_makes_sound_manifests(
    profile: str, nodes: int, processes: int, close_pods: int, name: str, value: str
) -> None:
    manifests = gang_manifests(load_profile(profile), gang(name, nodes, processes, close_pods, None, VALUE=value))
    assert [faults_of(manifest) for manifest in manifests] == [[]] * len(manifests)
    assert list(_places(manifests)) == []  # no number with a point in it: Kubernetes has none
