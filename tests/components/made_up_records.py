"""Records of artifacts that nobody made, for tests of what is done with records."""

from collections.abc import Mapping
from typing import Any

from components.lineage import Provenance, StepRecord
from components.store import FileDigest


def record_of(
    artifact: str,
    *on: StepRecord,
    digest: str = "d" * 64,
    sources: Mapping[str, str] | None = None,
    summary: Mapping[str, Any] | None = None,
    files: Mapping[str, FileDigest] | None = None,
    host: str = "here",
) -> StepRecord:
    """A small record, perhaps one that stands on others."""
    return StepRecord(
        step=f"make_{artifact}",
        artifact=artifact,
        fingerprint="f" * 64,
        digest=digest,
        sections={},
        inputs={one.artifact: one.reference() for one in on},
        sources=dict(sources or {}),
        summary=dict(summary or {"files": 3}),
        contract=None,
        files=dict(files or {}),
        provenance=Provenance(
            commit=None, dirty=None, lock_digest=None, image_digest=None, command=("starloom",), host=host,
            started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:00:01+00:00", cpu_seconds=1.0,
        ),
    )  # fmt: skip
