"""The overlays as kustomize renders them, once for all tests."""

import shutil
import subprocess
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = tuple(sorted(path.name for path in (K8S / "overlays").iterdir()))
THEIR_CUSTOM_KINDS = {"ServiceMonitor", "PrometheusRule", "ExternalSecret"}
"""Of operators that we use and whose schemas are not here."""


def rendered(overlay: str) -> list[dict[str, Any]]:
    """Every manifest of an overlay, a copy of its own; without kubectl the test is skipped."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, which renders the kustomize overlays")
    return deepcopy(_rendered(overlay))


@cache
def _rendered(overlay: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(K8S / "overlays" / overlay)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return list(YAML(typ="safe", pure=True).load_all(done.stdout))


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Manifests of one kind by NAMESPACE/NAME."""
    return {
        f"{manifest['metadata'].get('namespace', '')}/{manifest['metadata']['name']}": manifest
        for manifest in manifests
        if manifest["kind"] == kind
    }
