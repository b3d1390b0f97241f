"""The base job template of the pool `kubernetes`: what Prefect asks of it, and what the API server takes."""

import asyncio
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from jsonpatch import JsonPatch
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.server.schemas.actions import WorkPoolCreate as WorkPoolCreateOnTheServer
from prefect.workers.base import BaseJobConfiguration

from flows.deployments import kubernetes_pool, main
from k8s.pod_rules import pod_faults, pods_of
from k8s.work_pool import WORK_POOL, base_job_template
from tests.k8s.rendered import of_kind, rendered

IMAGE = "registry.example.org/starloom-worker@sha256:" + "ab" * 32

ASKED_BY_THE_WORKER = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"annotations": {}, "labels": {}},
    "spec": {
        "template": {
            "spec": {
                "parallelism": 1,
                "completions": 1,
                "restartPolicy": "Never",
                "containers": [{"name": "prefect-job"}],
            }
        }
    },
}
"""What prefect-kubernetes 0.8.0 compares a Job with (worker.py, `_get_base_job_manifest`)."""


class Configuration(BaseJobConfiguration):
    """As the Kubernetes worker's own, as far as the template fills it."""

    namespace: str
    job_manifest: dict[str, Any]
    pod_watch_timeout_seconds: int
    stream_output: bool


def job_of(values: dict[str, Any]) -> dict[str, Any]:
    """The Job as the worker sends it."""
    given = {"name": "quiet-otter", "command": "prefect flow-run execute", "labels": {"prefect.io/flow-run-id": "x"}}
    template = base_job_template(IMAGE)
    filled = asyncio.run(Configuration.from_template_and_values(template, given | values, client=object()))
    job = filled.job_manifest
    # The rest of what the worker does: the command as arguments, its variables before ours, labels on the pod.
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["args"] = container["args"].split()
    container["env"] = [{"name": "PREFECT_API_URL", "value": "http://prefect-server"}, *container["env"]]
    job["spec"]["template"]["metadata"]["labels"] |= given["labels"]
    return job


def test_prefect_takes_the_template():
    template = kubernetes_pool(IMAGE).base_job_template
    for kind in (WorkPoolCreate, WorkPoolCreateOnTheServer):
        kind(name=WORK_POOL, type="kubernetes", base_job_template=template)
    assert set(template["job_configuration"]) >= {"name", "command", "env", "labels", "namespace", "job_manifest"}


def test_the_job_is_valid_with_no_unknown_field():
    kubernetes_validate.validate(job_of({}), "1.36", strict=True)


def test_one_pod_and_kubernetes_never_starts_it_again():
    spec = job_of({})["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 0)
    assert not {"completions", "parallelism"} & set(spec["template"]["spec"])
    assert spec["ttlSecondsAfterFinished"] == 86_400


def complaints(job: dict[str, Any]) -> list[str]:
    """What the worker would refuse the Job for; absent labels and annotations it fills in itself."""
    job = deepcopy(job)
    for name in ("labels", "annotations"):
        job["metadata"].setdefault(name, {})
    return [step["path"] for step in JsonPatch.from_diff(job, ASKED_BY_THE_WORKER) if step["op"] in ("add", "replace")]


def test_the_worker_is_content_though_the_pod_has_no_such_fields():
    assert complaints(job_of({})) == []


@pytest.mark.parametrize("field", ["completions", "parallelism"])
def test_without_them_in_the_jobs_own_spec_the_worker_would_refuse_every_run(field: str):
    job = job_of({})
    del job["spec"][field]
    (complaint,) = complaints(job)
    assert complaint.startswith("/spec/template/spec/")


def test_the_pod_keeps_our_rules_and_finds_what_it_names():
    (pod,) = pods_of(job_of({}))
    assert list(pod_faults(pod, needs_token=True)) == []
    manifests = rendered("local-kind")
    assert f"{pod.namespace}/{pod.spec['serviceAccountName']}" in of_kind(manifests, "ServiceAccount")
    assert f"{pod.namespace}/{pod.spec['volumes'][0]['persistentVolumeClaim']['claimName']}" in of_kind(
        manifests, "PersistentVolumeClaim"
    )
    for source in pod.spec["containers"][0]["envFrom"]:
        if "configMapRef" in source:
            assert f"{pod.namespace}/{source['configMapRef']['name']}" in of_kind(manifests, "ConfigMap")


def test_a_run_may_ask_for_more_and_for_nothing_else():
    (container,) = job_of({"cpus": "15", "memory_gib": 100})["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "15", "memory": "100Gi"} == container["resources"]["requests"]
    variables = base_job_template(IMAGE)["variables"]
    assert variables["additionalProperties"] is False
    assert not {"image", "namespace", "service_account_name", "job_manifest"} & set(variables["properties"])


def test_the_digest_of_the_image_goes_into_the_records():
    (container,) = job_of({})["spec"]["template"]["spec"]["containers"]
    assert container["env"][-1] == {"name": "STARLOOM_IMAGE_DIGEST", "value": "sha256:" + "ab" * 32}
    by_tag = base_job_template("starloom-worker:dev")
    assert by_tag["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"][0]["env"] == []


def test_the_file_names_no_image_of_its_own():
    text = (Path(__file__).parents[2] / "k8s" / "base_job_template.json").read_text()
    assert {line.strip() for line in text.splitlines() if '"image"' in line} == {'"image": "IMAGE",'}
    json.loads(text)


@pytest.mark.parametrize("arguments", [["--pool", "kubernetes"], ["--image", IMAGE]])
def test_a_pool_without_its_image_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "the pool kubernetes needs --image" in capsys.readouterr().err
