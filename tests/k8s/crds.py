"""Schemas of JobSet and Kueue, where they are at hand: nothing of them is kept here."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

CRDS = Path("../shared/data/crds")
_FILES = {
    "JobSet": "jobset.x-k8s.io_jobsets",
    "Topology": "kueue.x-k8s.io_topologies",
    "ResourceFlavor": "kueue.x-k8s.io_resourceflavors",
    "WorkloadPriorityClass": "kueue.x-k8s.io_workloadpriorityclasses",
    "ClusterQueue": "kueue.x-k8s.io_clusterqueues",
    "LocalQueue": "kueue.x-k8s.io_localqueues",
    "Workload": "kueue.x-k8s.io_workloads",
}


def faults_by_crd(manifest: dict[str, Any]) -> list[str]:
    """What the schema of its kind and version finds; skips the test without the schema. Rules in CEL are not run."""
    path = CRDS / f"{_FILES[manifest['kind']]}.yaml"
    if not path.exists():
        pytest.skip(f"the CRD of {manifest['kind']} is not there: {path}")
    group, _, version = manifest["apiVersion"].partition("/")
    assert path.name.startswith(group)
    return [error.message for error in Draft202012Validator(_schema(path, version)).iter_errors(manifest)]


@cache
def _schema(path: Path, version: str) -> Any:
    crd = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    (ours,) = [one for one in crd["spec"]["versions"] if one["name"] == version]
    schema = _strict(ours["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _strict(schema: Any) -> Any:
    """A CRD's schema as a JSON schema that knows no field it does not name."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    converted = {key: _strict(value) for key, value in schema.items() if key not in ("default", "format")}
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if isinstance(schema.get("properties"), dict) and not free:
        converted.setdefault("additionalProperties", False)
    return converted
