"""How a gang that is there is known again: by the hash of its manifest as it was meant. Pure functions."""

import hashlib
import json
from typing import Any

Manifest = dict[str, Any]

FINGERPRINT = "starloom/fingerprint"
"""Annotation: hash of the manifest as it was meant, before the cluster filled in its defaults."""


def signed(manifest: Manifest) -> Manifest:
    """The manifest with its fingerprint."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    signature = {FINGERPRINT: hashlib.sha256(text.encode()).hexdigest()}
    metadata = manifest["metadata"]
    return manifest | {"metadata": metadata | {"annotations": metadata.get("annotations", {}) | signature}}


def difference(there: Manifest, manifest: Manifest) -> str | None:
    """What is wrong with the object of that name which is there already; None if it is the same."""
    annotations = there["metadata"].get("annotations") or {}
    if annotations.get(FINGERPRINT) == manifest["metadata"]["annotations"][FINGERPRINT]:
        return None
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    return (
        f"{namespace} has another {manifest['kind']} {name}, made from another profile or request; see whose it is, "
        f"and delete it: kubectl -n {namespace} delete {manifest['kind'].lower()} {name}"
    )


def is_ours(there: Manifest) -> bool:
    """Whether a launcher made it, whatever it was asked for."""
    return FINGERPRINT in (there["metadata"].get("annotations") or {})
