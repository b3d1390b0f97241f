"""Canonical JSON, and the fingerprint of a recipe: what is computed, told so that equal recipes have equal bytes."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from components.step import Step


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON that depends on the value alone: sorted keys, no spaces, shortest floats.

    TypeError for what JSON does not know, ValueError for NaN, infinity and keys that are not strings.
    """
    _refuse_ambiguity(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _refuse_ambiguity(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(key, str):
                raise ValueError(f"key {key!r} is not a string")
            _refuse_ambiguity(inner)
    elif isinstance(value, list | tuple):
        for inner in value:  # pyright: ignore[reportUnknownVariableType]
            _refuse_ambiguity(inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no canonical form")


def digest_of(value: Any) -> str:
    """sha256 in hex of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def fingerprint_of(
    step: Step,
    sections: Mapping[str, Any],
    input_fingerprints: Mapping[str, str],
    source_digests: Mapping[str, str],
) -> str:
    """Hash of the recipe: the step, its sections (the `recipe` number is one of their keys), what goes in."""
    return digest_of(
        {
            "step": step.name,
            "sections": dict(sections),
            "inputs": dict(input_fingerprints),
            "sources": dict(source_digests),
        }
    )
