"""Records: what each artifact is, what it was made from, and how it came to be. The lineage is read from them alone.

The record lies beside the artifact as `_record.json` and, for as long as the workspace lives, in the archive under its
digest: an artifact may be replaced, its record never is. A record names its inputs by their records' digests, so
the digest of one record pins everything upstream of it (a Merkle tree).

With a record store, every record is put there too, once, under its digest, and a record that another workspace made is
found there. A store that does not answer stops no work: what it has not got is sent after a later step.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.errors import CorruptArtifactError, MissingInputError, StorageError
from components.fingerprint import canonical_json, digest_of
from components.planning.run_cost import RunCost
from components.settings import RECORD_STORE_VARIABLE, Settings
from components.storage.object_store import ObjectStore
from components.storage.open_store import open_store
from components.store import RECORD_FILE, FileDigest
from data_contracts.report import ContractReport

_STORED_UNDER = "records/"


class InputReference(BaseModel):
    """An input as it was used: which recipe, which bytes, which record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    digest: str
    record: str


class Provenance(BaseModel):
    """How the artifact came to be. Observed, not chosen: it is no part of the record's digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str | None
    """Git commit of the workspace; null outside a repository."""
    dirty: bool | None
    """True when tracked files differed from that commit."""
    lock_digest: str | None
    """sha256 of requirements.lock."""
    image_digest: str | None
    command: tuple[str, ...]
    host: str
    started: str
    """UTC, ISO 8601."""
    ended: str
    cpu_seconds: float
    """Of the process that finished the step, and its children."""
    mlflow_run: str | None = None
    cost: RunCost | None = None
    """Of a training: all its attempts, those that were killed or preempted included."""
    attempts: int | None = None
    """How many; null where no cost is told."""


class StepRecord(BaseModel):
    """The record of one published artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    step: str
    artifact: str
    fingerprint: str
    digest: str
    sections: dict[str, dict[str, Any]]
    inputs: dict[str, InputReference]
    sources: dict[str, str]
    summary: dict[str, Any]
    contract: ContractReport | None
    files: dict[str, FileDigest]
    provenance: Provenance

    def identity(self) -> dict[str, Any]:
        """All but the provenance: equal for equal work, whichever door it went through."""
        return self.model_dump(mode="json", exclude={"provenance"})

    def record_digest(self) -> str:
        """sha256 of the identity; pins everything upstream."""
        return digest_of(self.identity())

    def reference(self) -> InputReference:
        """How a downstream record names this one."""
        return InputReference(fingerprint=self.fingerprint, digest=self.digest, record=self.record_digest())


def write_record(record: StepRecord, directory: Path) -> None:
    """Put the record beside the files it describes."""
    (directory / RECORD_FILE).write_bytes(_as_bytes(record))


def _as_bytes(record: StepRecord) -> bytes:
    return canonical_json(record.model_dump(mode="json")) + b"\n"


def archive_record(record: StepRecord, settings: Settings) -> None:
    """Keep the record under its digest; one that is there already stays."""
    place = settings.records_dir / f"{record.record_digest()}.json"
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".{os.getpid()}.tmp")
    draft.write_bytes(_as_bytes(record))
    draft.replace(place)


def read_record(path: Path) -> StepRecord:
    """Read a record file; CorruptArtifactError when it is not one."""
    try:
        return StepRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise CorruptArtifactError(
            f"{path} is not a record ({fault['msg']}); delete {path.parent} to have the artifact computed again"
        ) from None


def published_record(artifact: str, settings: Settings) -> StepRecord | None:
    """The record of the artifact that stands in the workspace, or None."""
    path = settings.artifacts_dir / artifact / RECORD_FILE
    return read_record(path) if path.exists() else None


def archived_digests(settings: Settings) -> list[str]:
    """Of every record in the workspace's archive."""
    return [path.stem for path in settings.records_dir.glob("*.json")]


def archived_record(digest: str, settings: Settings) -> StepRecord:
    """The record of that digest, from the record store if it was made elsewhere; MissingInputError if nobody has it."""
    path = settings.records_dir / f"{digest}.json"
    if not path.exists():
        _fetch_record(digest, settings)
    try:
        record = read_record(path)
    except CorruptArtifactError:
        record = None
    if record is None or record.record_digest() != digest:
        raise CorruptArtifactError(f"record {path} was altered: it no longer has the digest that names it; delete it")
    return record


def send_records(settings: Settings) -> str | None:
    """Put each archived record that the record store has not got yet into it, the oldest first; nothing without one.

    Returns what to tell a person if the store cannot be used: the records stay here and are sent the next time.
    CorruptArtifactError, if something else than the record lies there under its digest, or the record was altered here.
    """
    if settings.record_store is None:
        return None
    sent = settings.records_sent_dir / hashlib.sha256(settings.record_store.encode()).hexdigest()[:16]
    archived = sorted(settings.records_dir.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    waiting = [path.stem for path in archived if not (sent / path.stem).exists()]
    if not waiting:
        return None
    sent.mkdir(parents=True, exist_ok=True)
    left = len(waiting)
    try:
        store = _open_record_store(settings.record_store, settings)
        for digest in waiting:
            _send_record(archived_record(digest, settings), store)
            (sent / digest).touch()
            left -= 1
    except StorageError as error:
        return f"not sent yet to {settings.record_store}: {left} record(s), kept here and sent next time; {error}"
    return None


def record_store(settings: Settings) -> ObjectStore | None:
    """The store of STARLOOM_RECORD_STORE, None without one; touches nothing yet."""
    return None if settings.record_store is None else _open_record_store(settings.record_store, settings)


def _open_record_store(place: str, settings: Settings) -> ObjectStore:
    absolute = place if "://" in place else str((settings.workspace / place).resolve())
    return open_store(absolute, RECORD_STORE_VARIABLE, settings.s3_encryption)


def _stored_as(digest: str) -> str:
    return f"{_STORED_UNDER}{digest}.json"


def stored_digests(store: ObjectStore) -> list[str]:
    """Of every record in a record store."""
    return [key.removeprefix(_STORED_UNDER).removesuffix(".json") for key in store.keys(_STORED_UNDER)]


def _send_record(record: StepRecord, store: ObjectStore) -> None:
    digest = record.record_digest()
    if store.put_once(_stored_as(digest), _as_bytes(record)):
        return
    # Equal work in two workspaces is one record with two provenances: the first one stays.
    stored_record(digest, store)


def stored_record(digest: str, store: ObjectStore) -> StepRecord:
    """The record of that digest in a record store; CorruptArtifactError if another one or none lies there."""
    try:
        record = StepRecord.model_validate_json(store.get(_stored_as(digest)))
    except (CorruptArtifactError, ValidationError):
        record = None
    if record is None or record.record_digest() != digest:
        raise CorruptArtifactError(
            f"{store.url} holds something else than record {digest[:12]} under {_stored_as(digest)}, where it was "
            "altered or damaged; remove it there, and a workspace that has the record sends it again"
        )
    return record


def _fetch_record(digest: str, settings: Settings) -> None:
    if settings.record_store is None:
        raise MissingInputError(
            f"no record {digest[:12]} in {settings.records_dir}; it was made in another workspace, and no "
            f"{RECORD_STORE_VARIABLE} is set in which to look for it"
        )
    store = _open_record_store(settings.record_store, settings)
    try:
        record = stored_record(digest, store)
    except MissingInputError:
        raise MissingInputError(
            f"no record {digest[:12]} in {settings.records_dir} nor in {store.url}; run any step in the workspace that "
            f"made it, with {RECORD_STORE_VARIABLE} set"
        ) from None
    archive_record(record, settings)


def upstream(record: StepRecord, settings: Settings) -> Iterator[StepRecord]:
    """`record` and every record it stands on, each once, downstream first."""
    seen: set[str] = set()
    waiting = [record]
    while waiting:
        current = waiting.pop(0)
        if current.record_digest() in seen:
            continue
        seen.add(current.record_digest())
        yield current
        waiting.extend(archived_record(reference.record, settings) for reference in current.inputs.values())
