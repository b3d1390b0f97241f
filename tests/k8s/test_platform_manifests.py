"""Every manifest of every overlay is one that the API server takes as it stands, and keeps to our rules."""

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from k8s.manifest_rules import main, manifest_faults
from k8s.pod_rules import NO_DIGEST, pods_of
from tests.k8s.rendered import OVERLAYS, THEIR_CUSTOM_KINDS, of_kind, rendered

KUBERNETES = "1.36"
Manifests = list[dict[str, Any]]


def production_as_its_owner_sets_it() -> Manifests:
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump_all(rendered("production"), text)
    told = text.getvalue().replace("replace-me", "team").replace(NO_DIGEST, "sha256:" + "ab" * 32)
    return list(YAML(typ="safe", pure=True).load_all(told))


def test_there_is_an_overlay_for_a_trial_and_one_for_production():
    assert OVERLAYS == ("local-kind", "production")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_manifest_is_valid_with_no_unknown_field(overlay: str):
    for manifest in rendered(overlay):
        if manifest["kind"] not in THEIR_CUSTOM_KINDS:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_unique_and_references_lead_somewhere(overlay: str):
    manifests = rendered(overlay)
    names = [(m["apiVersion"], m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
    assert len(set(names)) == len(names)
    accounts, config_maps = of_kind(manifests, "ServiceAccount"), of_kind(manifests, "ConfigMap")
    for manifest in manifests:
        for pod in pods_of(manifest):
            assert f"{pod.namespace}/{pod.spec['serviceAccountName']}" in accounts
            for _, container in pod.containers():
                for source in container.get("envFrom", ()):
                    if "configMapRef" in source:
                        assert f"{pod.namespace}/{source['configMapRef']['name']}" in config_maps
                mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
                assert mounted <= {volume["name"] for volume in pod.spec["volumes"]} | {"data"}  # a claim template's


def test_the_trial_overlay_keeps_the_rules_with_images_by_tag():
    assert manifest_faults(rendered("local-kind"), allow_tags=True) == []


def test_production_as_it_comes_is_refused_for_what_is_yours_to_set_and_for_nothing_else():
    faults = manifest_faults(rendered("production"))
    assert [fault for fault in faults if "placeholder" not in fault] == []
    without_digest = {found for fault in faults for found in re.findall(r"image (\S+) has the placeholder", fault)}
    assert without_digest == {
        "registry.replace-me.example/starloom-worker",
        "docker.io/library/postgres",
        "quay.io/oauth2-proxy/oauth2-proxy",
    }


def test_production_with_its_digests_and_names_set_keeps_the_rules():
    assert manifest_faults(production_as_its_owner_sets_it()) == []


@pytest.mark.parametrize(("overlay", "image"), [("local-kind", "starloom-worker"), ("production", "starloom-training")])
def test_flow_runs_get_their_image_and_the_profile_of_the_overlay(overlay: str, image: str):
    spec = of_kind(rendered(overlay), "Deployment")["starloom-platform/prefect-worker"]["spec"]["template"]["spec"]
    (register,), (worker,) = spec["initContainers"], spec["containers"]
    given = {variable["name"]: variable.get("value") for variable in register["env"]}
    assert image in given["FLOW_RUN_IMAGE"]
    assert (given["FLOW_RUN_IMAGE"] == worker["image"]) == (overlay == "local-kind")
    assert register["command"][-2:] == ["--image", "$(FLOW_RUN_IMAGE)"]
    assert of_kind(rendered(overlay), "ConfigMap")["starloom-runs/starloom"]["data"]["STARLOOM_PROFILE"] == "local"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_servers_start_as_they_do_on_a_laptop(overlay: str):
    deployments = of_kind(rendered(overlay), "Deployment")

    def of(name: str) -> dict[str, Any]:
        containers = deployments[f"starloom-platform/{name}"]["spec"]["template"]["spec"]["containers"]
        return next(container for container in containers if container["name"] in (name, "worker"))

    mlflow = of("mlflow")
    assert mlflow["command"][-2:] == ["--workers", "1"]
    assert {"name": "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "value": "false"} in mlflow["env"]
    prefect = {variable["name"]: variable.get("value") for variable in of("prefect-server")["env"]}
    assert prefect["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert prefect["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert of("prefect-worker")["command"][-2:] == ["--install-policy", "never"]


def test_only_the_trial_has_a_database_of_its_own():
    assert list(of_kind(rendered("local-kind"), "StatefulSet")) == ["starloom-platform/postgres"]
    assert of_kind(rendered("production"), "StatefulSet") == {}


def test_every_secret_that_production_refers_to_is_filled_from_the_vault():
    manifests = rendered("production")
    filled = {
        (secret["metadata"]["namespace"], secret["spec"]["target"]["name"], entry["secretKey"])
        for secret in of_kind(manifests, "ExternalSecret").values()
        for entry in secret["spec"]["data"]
    }
    for manifest in manifests:
        for pod in pods_of(manifest):
            for _, container in pod.containers():
                for variable in container.get("env", ()):
                    if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                        assert (pod.namespace, reference["name"], reference["key"]) in filled


def set_at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets what a dotted path names; None removes it."""

    def act(manifest: dict[str, Any]) -> None:
        *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        node: Any = manifest
        for part in way:
            node = node[part]
        if value is None:
            del node[last]
        else:
            node[last] = value

    return act


WORKSPACE = "starloom-workspace-training"
HANDLES = {"driver": "fsx.csi.aws.com", "volumeHandle": "x", "volumeAttributes": {"dnsname": "a"}}
POD = "spec/template/spec"
MLFLOW = f"{POD}/containers/1"  # beside the proxy
BACKEND = "spec/rules/0/http/paths/0/backend/service"
MISTAKES: tuple[tuple[str, str, Callable[[dict[str, Any]], None], str], ...] = (
    ("Deployment", "mlflow", set_at(f"{MLFLOW}/image", "mlflow:latest"), "goes by no digest"),
    ("Deployment", "mlflow", set_at(f"{MLFLOW}/resources/limits/memory", None), "has no memory in its limits"),
    ("Deployment", "mlflow", set_at(f"{MLFLOW}/securityContext/readOnlyRootFilesystem", False), "its image"),
    ("Deployment", "mlflow", set_at(f"{MLFLOW}/securityContext/capabilities/add", ["KILL"]), "keeps capab"),
    ("Deployment", "mlflow", set_at(f"{MLFLOW}/securityContext/privileged", True), "may gain privileges"),
    ("Deployment", "mlflow", set_at(f"{POD}/securityContext/runAsNonRoot", False), "may run as root"),
    ("Deployment", "mlflow", set_at(f"{POD}/securityContext/seccompProfile", None), "has no seccomp profile"),
    ("Deployment", "mlflow", set_at(f"{POD}/hostNetwork", True), "hostNetwork is not allowed"),
    ("Deployment", "mlflow", set_at(f"{POD}/volumes/0", {"name": "home", "hostPath": {}}), "kind hostPath"),
    ("Deployment", "mlflow", set_at(f"{POD}/automountServiceAccountToken", True), "a token that it has no use for"),
    ("Deployment", "prefect-worker", set_at(f"{POD}/automountServiceAccountToken", False), "must mount its token"),
    ("Deployment", "mlflow", set_at(f"{POD}/serviceAccountName", None), "the default service account"),
    ("Deployment", "mlflow", set_at(f"{MLFLOW}/env/0", {"name": "MY_TOKEN", "value": "x"}), "from a Secret"),
    ("ConfigMap", "platform", set_at("data/X", "postgresql://me:pass@db/x"), "an address with a password"),
    ("Service", "mlflow", set_at("spec/type", "LoadBalancer"), "can be reached from outside"),
    ("Ingress", "web", set_at(f"{BACKEND}/port/name", "api"), "past the authenticating proxy"),
    ("Ingress", "web", set_at("spec/tls", []), "has no TLS"),
    ("NetworkPolicy", "default-deny", set_at("spec/policyTypes", ["Ingress"]), "denies what is not listed"),
    ("NetworkPolicy", "web", set_at("spec/ingress/0/from", []), "names nobody, which means everybody"),
    ("NetworkPolicy", "web", set_at("spec/egress/0/to/0/ipBlock/except", []), "metadata service"),
    ("Role", "prefect-worker", set_at("rules/0/verbs", ["*"]), "more than any of ours needs"),
    ("Role", "prefect-worker", set_at("rules/0/resources", ["secrets"]), "secrets is more than"),
    ("Namespace", "starloom-training", set_at("metadata/annotations", {}), "does not say why"),
    ("Namespace", "starloom-serving", set_at("metadata/labels", {}), "does not enforce `restricted`"),
    ("RoleBinding", "flow-run", set_at("kind", "ClusterRoleBinding"), "rights in every namespace"),
    ("ConfigMap", "platform", set_at("kind", "Secret"), "does not belong into manifests"),
    ("ConfigMap", "platform", set_at("metadata/namespace", "default"), "its namespace default is not among"),
    ("PersistentVolume", WORKSPACE, set_at("spec/nfs/path", "/other"), "leads to another place"),
    ("PersistentVolume", WORKSPACE, set_at("spec/csi", HANDLES), "leads to another place"),
    ("PersistentVolume", WORKSPACE, set_at("spec/claimRef/namespace", "starloom-runs"), "is kept for it"),
    ("PersistentVolume", WORKSPACE, set_at("spec/persistentVolumeReclaimPolicy", "Delete"), "may go with its claim"),
    ("PersistentVolume", WORKSPACE, set_at("spec/hostPath", {"path": "/data"}), "directory of whichever node"),
    ("PersistentVolumeClaim", "workspace", set_at("spec/volumeName", "other"), "no volume other is kept for it"),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "spoil", "why"), MISTAKES, ids=[mistake[3] for mistake in MISTAKES])
def test_a_mistake_is_told(kind: str, name: str, spoil: Callable[[dict[str, Any]], None], why: str):
    manifests = production_as_its_owner_sets_it()
    spoil(next(m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name))
    assert any(why in fault for fault in manifest_faults(manifests))


def test_the_command_judges_what_kubectl_renders(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump_all(rendered("local-kind"), text)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.getvalue()))
    assert main(["--allow-tags"]) == 0
    assert "no fault" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.getvalue()))
    assert main([]) == 1
    assert "goes by no digest" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("a: [b"))
    assert main([]) == 2
