"""Flow runs, Ray's nodes and the ranks of a training see one file system under /workspace."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from k8s.gang_manifests import gang_manifests
from k8s.manifest_rules import manifest_faults
from k8s.pod_rules import pods_of
from k8s.profile import load_profile
from k8s.ray_job import ray_job
from k8s.work_pool import base_job_template
from tests.k8s.gangs import GANGS
from tests.k8s.rendered import K8S, OVERLAYS, of_kind, rendered

IMAGE = "registry.example.org/starloom@sha256:" + "ab" * 32


def mounted(manifest: dict[str, Any]) -> set[str]:
    """NAMESPACE/CLAIM of every pod's /workspace."""
    found: set[str] = set()
    for pod in pods_of(manifest):
        claims = {
            one["name"]: one["persistentVolumeClaim"]["claimName"]
            for one in pod.spec["volumes"]
            if "persistentVolumeClaim" in one
        }
        for _, container in pod.containers():
            for mount in container.get("volumeMounts", ()):
                if mount["mountPath"] == "/workspace":
                    found.add(f"{pod.namespace}/{claims[mount['name']]}")
    return found


def everybodys() -> set[str]:
    works = [load_profile(name).cluster.data_work for name in GANGS]
    corpus = [ray_job(work, "corpus", ("python", "-V"), {}) for work in works if work]
    flow_run = base_job_template(IMAGE)["job_configuration"]["job_manifest"]
    gangs = [gang_manifests(load_profile(name), GANGS[name])[-1] for name in GANGS]
    made = [*corpus, flow_run, *gangs]
    assert all(mounted(one) for one in made)
    return {claim for one in made for claim in mounted(one)}


def test_pods_of_both_namespaces_mount_a_workspace() -> None:
    assert everybodys() == {"starloom-runs/workspace", "starloom-training/workspace"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_workspace_that_a_pod_mounts_leads_to_the_same_place(overlay: str) -> None:
    manifests = rendered(overlay)
    claims, volumes = of_kind(manifests, "PersistentVolumeClaim"), of_kind(manifests, "PersistentVolume")
    places: list[str] = []
    for name in everybodys():
        claim = claims[name]["spec"]
        volume = volumes[f"/{claim['volumeName']}"]["spec"]
        assert claim["accessModes"] == volume["accessModes"] == ["ReadWriteMany"]
        assert claim["storageClassName"] == volume["storageClassName"] == ""
        assert claim["resources"]["requests"]["storage"] == volume["capacity"]["storage"]
        places.append(json.dumps(volume.get("nfs") or volume["hostPath"], sort_keys=True))
    assert len(set(places)) == 1


def test_csi_volumes_of_one_place_differ_in_their_handle_alone() -> None:
    manifests = rendered("local-kind")
    place = {"driver": "fsx.csi.aws.com", "volumeAttributes": {"dnsname": "fs.example", "mountname": "fsx"}}
    for number, volume in enumerate(of_kind(manifests, "PersistentVolume").values()):
        del volume["spec"]["hostPath"]
        volume["spec"]["csi"] = deepcopy(place) | {"volumeHandle": f"fs-{number}"}
    assert manifest_faults(manifests, allow_tags=True) == []


def test_kind_mounts_the_directory_of_the_volumes_into_its_node() -> None:
    config = YAML(typ="safe", pure=True).load((Path(K8S) / "overlays/local-kind/kind.yaml").read_text())
    (mount,) = [one for node in config["nodes"] for one in node["extraMounts"]]
    assert mount["hostPath"] == "."  # kind's own working directory, which is the workspace
    volumes = of_kind(rendered("local-kind"), "PersistentVolume").values()
    assert {volume["spec"]["hostPath"]["path"] for volume in volumes} == {mount["containerPath"]}
