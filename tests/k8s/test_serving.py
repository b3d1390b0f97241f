from dataclasses import replace

import kubernetes_validate
import pytest

from k8s.manifest_rules import manifest_faults
from k8s.pod_rules import pod_faults, pods_of
from k8s.serving import Colour, ServedModel, deployment, disruption_budget, service
from tests.k8s.golden import assert_golden
from tests.k8s.rendered import of_kind, rendered

BUNDLE = "3c" * 32
MODEL = ServedModel(
    name="starcoder",
    version=7,
    bundle_url="s3://team-models/mlflow/1/models/m-0123/artifacts",
    bundle_digest=BUNDLE,
    server_image="docker.io/vllm/vllm-openai@sha256:" + "ab" * 32,
    fetch_image="registry.example.org/starloom-worker@sha256:" + "cd" * 32,
    gpus=2,
    memory_gib=96,
    bundle_gib=40,
    context_tokens=8192,
    node_selector=(("node-pool", "gpu-l4"),),
)


def test_the_manifests_are_the_golden_ones():
    assert_golden(
        "serving",
        deployment(MODEL, Colour.BLUE),
        deployment(replace(MODEL, version=8, bundle_digest="4d" * 32), Colour.GREEN),
        service("starcoder", Colour.BLUE),
        disruption_budget("starcoder", Colour.BLUE),
    )


@pytest.mark.parametrize("colour", Colour)
def test_each_is_valid_and_keeps_the_rules(colour: Colour):
    manifests = [deployment(MODEL, colour), service("starcoder", colour), disruption_budget("starcoder", colour)]
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.36", strict=True)
    (pod,) = pods_of(manifests[0])
    assert list(pod_faults(pod)) == []
    around = rendered("local-kind")
    assert manifest_faults([*around, *manifests], allow_tags=True) == []


def test_the_service_leads_to_one_colour_and_moving_it_is_one_field():
    blue, green = service("starcoder", Colour.BLUE), service("starcoder", Colour.GREEN)
    for colour, route in ((Colour.BLUE, blue), (Colour.GREEN, green)):
        selector = route["spec"]["selector"]
        leads_to = [
            other for other in Colour
            if selector.items() <= deployment(MODEL, other)["spec"]["template"]["metadata"]["labels"].items()
        ]  # fmt: skip
        assert leads_to == [colour]
    blue["spec"]["selector"]["starloom/colour"] = "green"
    assert blue == green


def test_the_server_starts_only_after_the_digest_was_verified_and_cannot_change_the_files():
    pod = deployment(MODEL, Colour.BLUE)["spec"]["template"]["spec"]
    (fetch,), (server,) = pod["initContainers"], pod["containers"]
    assert fetch["command"][2:] == ["k8s.fetch_bundle", MODEL.bundle_url, BUNDLE, "/bundle/model"]
    assert {"name": "bundle", "mountPath": "/bundle", "readOnly": True} in server["volumeMounts"]
    assert "envFrom" not in server, "the server has no keys to the object store"
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in server["env"]


def test_another_bundle_is_another_rollout():
    other = deployment(replace(MODEL, bundle_digest="4d" * 32), Colour.BLUE)
    assert other["spec"]["template"] != deployment(MODEL, Colour.BLUE)["spec"]["template"]


def test_the_policies_let_the_gateway_in_and_monitoring_knows_the_service():
    labels = deployment(MODEL, Colour.BLUE)["spec"]["template"]["metadata"]["labels"]
    manifests = rendered("production")
    for name in ("model", "scrape"):
        policy = of_kind(manifests, "NetworkPolicy")[f"starloom-serving/{name}"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    monitor = of_kind(manifests, "ServiceMonitor")["starloom-serving/vllm"]["spec"]
    route = service("starcoder", Colour.BLUE)
    assert monitor["selector"]["matchLabels"].items() <= route["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == route["spec"]["ports"][0]["name"]


@pytest.mark.parametrize("digest", ["", "champion", "3c" * 31, "sha256:" + "3c" * 32])
def test_a_bundle_without_its_digest_is_not_served(digest: str):
    with pytest.raises(ValueError, match="is no sha256 in hex"):
        deployment(replace(MODEL, bundle_digest=digest), Colour.BLUE)
