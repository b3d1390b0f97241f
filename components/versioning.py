"""Data versions: the only file that speaks to DVC, and to Git for writing.

A data version is a commit and a tag `data/vN` on the branch `data`. It holds dvc.lock, the parameters and the records'
digests beside the code they were made with; the bytes are in DVC's remote. The commits are written without touching
the checkout, its index or its branch: whoever works there sees nothing move (docs/decisions/0001-data-branch.md).
History only moves forward: a rollback is a new commit with the older version.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("DVC_NO_ANALYTICS", "1")  # read by dvc at import

from dvc.api import DVCFileSystem  # pyright: ignore[reportPrivateUsage] - the documented name
from dvc.exceptions import DvcException
from dvc.repo import Repo
from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from components.catalog import DATA_ARTIFACTS, step_making, steps_toward
from components.config import PipelineConfig, load_config, stands_alone
from components.errors import MissingInputError, VersioningError
from components.fingerprint import canonical_json, digest_of
from components.lineage import StepRecord, archive_record, published_record, read_record
from components.settings import Settings
from components.sources.read_parquet import digest_tables, list_tables
from components.store import RECORD_FILE, publish, storage_errors_told, verify_files
from components.workspace import exclusive

BRANCH = "refs/heads/data"
TAG_PREFIX = "data/"
VERSION_FILE = "data_version.json"


class VersionedArtifact(BaseModel):
    """One artifact of a data version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    record: str
    dvc_md5: str


class DataVersion(BaseModel):
    """What a tag `data/vN` names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    digest: str
    """Hash of the records' digests: equal content, equal version."""
    code_commit: str
    artifacts: dict[str, VersionedArtifact]
    pins: tuple[str, ...] = ()
    """Files of the workspace that name versions of objects in S3 that the data were read from."""


class Rollback(BaseModel):
    """What a rollback did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: DataVersion
    commit: str
    params_differences: tuple[str, ...]
    """Parameters and pins of the workspace that ask for other data than the version that is back."""


def record_data_version(config: PipelineConfig, settings: Settings) -> DataVersion:
    """Commit, push and tag the data artifacts of the workspace; the same content again gives the version it has."""
    with exclusive(settings, "record the data version"):
        records = _data_records(settings)
        digest = digest_of({name: record.record_digest() for name, record in records.items()})
        known = data_versions(settings)
        for version in known:
            if version.digest == digest:
                return version
        pins = _pins(config, records, settings)
        md5s = _dvc_commit(DATA_ARTIFACTS[-1], settings)
        version = DataVersion(
            version=f"v{len(known) + 1}",
            digest=digest,
            code_commit=_git(settings, "rev-parse", "HEAD"),
            artifacts={
                name: VersionedArtifact(digest=r.digest, record=r.record_digest(), dvc_md5=md5s[name])
                for name, r in records.items()
            },
            pins=tuple(pins),
        )
        commit = _commit_on_data_branch(
            settings,
            {
                "dvc.lock": (settings.workspace / "dvc.lock").read_bytes(),
                "params.yaml": _params_text(config, settings),
                VERSION_FILE: canonical_json(version.model_dump(mode="json")) + b"\n",
                **pins,
            },
            f"Data version {version.version}\n\n{digest}",
        )
        tag = f"{TAG_PREFIX}{version.version}"
        _git(settings, "tag", "--annotate", tag, commit, "--message", digest, environment=_identity(settings))
        return version


def commit_artifact(artifact: str, settings: Settings) -> None:
    """Give an artifact and all it stands on to DVC (cache, dvc.lock, remote), without a data version of its own."""
    with exclusive(settings, f"record {artifact}"):
        _dvc_commit(artifact, settings)


def data_versions(settings: Settings) -> list[DataVersion]:
    """Every data version of the workspace, oldest first."""
    tags = _git(settings, "tag", "--list", f"{TAG_PREFIX}v*", "--sort=version:refname").split()
    return [_version_at(tag, settings) for tag in tags]


def data_version_of(settings: Settings) -> DataVersion | None:
    """The version whose artifacts stand in the workspace, all of them; None if they are no recorded one."""
    records = {name: published_record(name, settings) for name in DATA_ARTIFACTS}
    standing = {name: record.record_digest() for name, record in records.items() if record}
    for version in data_versions(settings):
        if {name: artifact.record for name, artifact in version.artifacts.items()} == standing:
            return version
    return None


def rollback_data(version_name: str, settings: Settings, *, restore_params: bool = False) -> Rollback:
    """Bring the artifacts of an older version back, as a new commit on the data branch.

    Every byte is fetched and verified against its record before anything in the workspace is replaced. Parameters and
    pins, which say what the next run asks for, come back with `restore_params` alone; else it is told how they differ.
    """
    known = {version.version: version for version in data_versions(settings)}
    if version_name not in known:
        there = ", ".join(known) or "none yet; `starloom run` records the first"
        raise VersioningError(f"there is no data version {version_name!r}; the versions are: {there}")
    version = known[version_name]
    tag = f"{TAG_PREFIX}{version_name}"
    staging = settings.staging_dir / f"rollback-{version_name}"
    with exclusive(settings, f"roll data back to {version_name}"), storage_errors_told(settings.workspace):
        shutil.rmtree(staging, ignore_errors=True)
        _fetch_verified(version, tag, staging, settings)
        for name in version.artifacts:
            publish(staging / name, settings.artifacts_dir / name)
        shutil.rmtree(staging)
        lock = _git_bytes(settings, "show", f"{tag}:dvc.lock")
        (settings.workspace / "dvc.lock").write_bytes(lock)
        params = _git_bytes(settings, "show", f"{tag}:params.yaml")
        pins = {path: _git_bytes(settings, "show", f"{tag}:{path}") for path in version.pins}
        if restore_params:
            _replace_params(params, settings)
            _replace_pins(pins, settings)
        files = {
            "dvc.lock": lock,
            "params.yaml": params,
            VERSION_FILE: _git_bytes(settings, "show", f"{tag}:{VERSION_FILE}"),
            **pins,
        }
        commit = _commit_on_data_branch(
            settings, files, f"Roll back to data version {version_name}\n\n{version.digest}"
        )
        differences = _params_differences(settings) + _pin_differences(pins, settings)
        return Rollback(version=version, commit=commit, params_differences=differences)


def _fetch_verified(version: DataVersion, tag: str, staging: Path, settings: Settings) -> None:
    with _dvc_errors_told("fetch"):
        files = DVCFileSystem(str(settings.workspace), rev=tag, config=_dvc_config(settings))
        for name, artifact in version.artifacts.items():
            files.get(f"artifacts/{name}", str(staging / name), recursive=True)
            record = read_record(staging / name / RECORD_FILE)
            verify_files(staging / name, record.files)
            if record.record_digest() != artifact.record:
                raise VersioningError(
                    f"{name} of data version {version.version} is not what the version names: its record has digest "
                    f"{record.record_digest()[:12]}, not {artifact.record[:12]}; nothing was changed"
                )
            archive_record(record, settings)


def _data_records(settings: Settings) -> dict[str, StepRecord]:
    return {name: _published(name, settings) for name in DATA_ARTIFACTS}


def _published(name: str, settings: Settings) -> StepRecord:
    record = published_record(name, settings)
    if record is None:
        raise MissingInputError(f"{name} has not been made yet; run `starloom run` first")
    return record


def _dvc_commit(target: str, settings: Settings) -> dict[str, str]:
    """Give `target` and all it stands on to DVC: cache, dvc.lock, remote; returns artifact -> DVC's md5."""
    records = {step.output: _published(step.output, settings) for step in steps_toward(target)}
    # By its file: a bare stage name would be looked up in the current directory's dvc.yaml.
    stage = f"{settings.workspace / 'dvc.yaml'}:{step_making(target).name}"
    with _dvc_errors_told("commit"), _repo(settings) as repo:
        _require_content_addressed(repo)
        repo.commit(stage, with_deps=True, force=True)
        md5s = _tell_real_params(records, settings)
        repo.push(targets=[stage], with_deps=True)
        return md5s


def _require_content_addressed(repo: Repo) -> None:
    """docs/decisions/0005-pinned-objects.md."""
    name = repo.config["core"].get("remote")
    remote = repo.config["remote"].get(name, {})
    for option in ("version_aware", "worktree"):
        if remote.get(option):
            raise VersioningError(
                f"DVC's remote {name!r} is set to {option}, from which no older data version comes back; remove that "
                "line from .dvc/config"
            )


def _tell_real_params(records: Mapping[str, StepRecord], settings: Settings) -> dict[str, str]:
    """DVC copies the sections of params.yaml into dvc.lock; a run may have overridden some: write what was run.

    Returns artifact -> DVC's md5, as the lock has it.
    """
    lock = settings.workspace / "dvc.lock"
    yaml = YAML()
    content: Any = yaml.load(lock)
    for record in records.values():
        content["stages"][record.step]["params"]["params.yaml"] = record.sections
    with lock.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return {name: str(content["stages"][record.step]["outs"][0]["md5"]) for name, record in records.items()}


def _params_text(config: PipelineConfig, settings: Settings) -> bytes:
    """params.yaml as it stands when it says what was run, comments and all; else the parameters that were run."""
    standing = settings.workspace / "params.yaml"
    if standing.exists() and stands_alone(standing) and load_config(standing) == config:
        return standing.read_bytes()
    return canonical_json(config.model_dump(mode="json")) + b"\n"  # JSON is YAML


def _replace_params(params: bytes, settings: Settings) -> None:
    standing = settings.workspace / "params.yaml"
    if standing.exists():
        shutil.copyfile(standing, settings.state_dir / "params-before-rollback.yaml")
    standing.write_bytes(params)


def _params_differences(settings: Settings) -> tuple[str, ...]:
    standing = load_config(settings.workspace / "params.yaml").model_dump(mode="json")
    differences: list[str] = []
    for record in _data_records(settings).values():
        for section, values in record.sections.items():
            differences += [
                f"{section}.{key}: {value!r} in the data, {standing[section].get(key)!r} in params.yaml"
                for key, value in values.items()
                if standing[section].get(key) != value
            ]
    return tuple(differences)


def _pins(config: PipelineConfig, records: Mapping[str, StepRecord], settings: Settings) -> dict[str, bytes]:
    """Path -> content of the pins that the sources were read by; a pin that was moved since is refused."""
    pins: dict[str, bytes] = {}
    for source in config.ingest_sources.pinned:
        path = settings.workspace / source.path
        made = next(record for record in records.values() if record.step == "ingest_sources")
        if made.sources.get(source.name) != digest_tables(list_tables(source, path)):
            raise VersioningError(
                f"{source.path} pins other objects than {made.artifact} was made from; run `starloom run` first"
            )
        pins[source.path] = path.read_bytes()
    return pins


def _replace_pins(pins: Mapping[str, bytes], settings: Settings) -> None:
    for path, content in pins.items():
        standing = settings.workspace / path
        if standing.exists():
            kept = settings.state_dir / "pins-before-rollback" / path
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(standing, kept)
        standing.parent.mkdir(parents=True, exist_ok=True)
        standing.write_bytes(content)


def _pin_differences(pins: Mapping[str, bytes], settings: Settings) -> tuple[str, ...]:
    def is_other(path: str, content: bytes) -> bool:
        standing = settings.workspace / path
        return not standing.exists() or standing.read_bytes() != content

    return tuple(
        f"{path}: the data were read by the pin of their version, which is another"
        for path, content in pins.items()
        if is_other(path, content)
    )


def _version_at(tag: str, settings: Settings) -> DataVersion:
    return DataVersion.model_validate_json(_git_bytes(settings, "show", f"{tag}:{VERSION_FILE}"))


def _commit_on_data_branch(settings: Settings, files: Mapping[str, bytes], message: str) -> str:
    """Commit HEAD's tree with `files` laid over it onto the data branch, through an index of our own."""
    index = settings.state_dir / "data-index"
    index.unlink(missing_ok=True)
    environment = {"GIT_INDEX_FILE": str(index)}
    tip = _git(settings, "rev-parse", "--verify", "--quiet", BRANCH, check=False)
    _git(settings, "read-tree", "HEAD", environment=environment)
    for path, content in files.items():
        blob = _git(settings, "hash-object", "-w", "--stdin", content=content)
        _git(settings, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", environment=environment)
    tree = _git(settings, "write-tree", environment=environment)
    commit = _git(settings, "commit-tree", tree, "-p", tip or "HEAD", "-m", message, environment=_identity(settings))
    _git(settings, "update-ref", BRANCH, commit, tip)
    index.unlink()
    return commit


def _identity(settings: Settings) -> dict[str, str]:
    """Who commits: the person whom Git knows, else starloom itself."""
    if _git(settings, "config", "user.email", check=False):
        return {}
    roles = ("AUTHOR", "COMMITTER")
    return {f"GIT_{role}_NAME": "starloom" for role in roles} | {
        f"GIT_{role}_EMAIL": "starloom@localhost" for role in roles
    }


def _git(
    settings: Settings,
    *arguments: str,
    check: bool = True,
    content: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    return _git_bytes(settings, *arguments, check=check, content=content, environment=environment).decode().strip()


def _git_bytes(
    settings: Settings,
    *arguments: str,
    check: bool = True,
    content: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(settings.workspace), *arguments],
            input=content,
            capture_output=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise VersioningError("git is not installed; install it and run again") from None
    if done.returncode and check:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise VersioningError(
            f"git {arguments[0]} failed in {settings.workspace} ({reason}); a workspace is a Git repository with at "
            "least one commit"
        )
    return done.stdout


def _dvc_config(settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = {"core": {"analytics": False, "check_update": False, "autostage": False}}
    if settings.dvc_remote:
        is_url = "://" in settings.dvc_remote
        url = settings.dvc_remote if is_url else str((settings.workspace / settings.dvc_remote).resolve())
        config |= {"remote": {"storage": {"url": url}}}
        config["core"]["remote"] = "storage"
    return config


@contextmanager
def _repo(settings: Settings) -> Generator[Repo]:
    with Repo(str(settings.workspace), config=_dvc_config(settings), _wait_for_lock=True) as repo:
        yield repo


@contextmanager
def _dvc_errors_told(act: str) -> Generator[None]:
    logging.getLogger("dvc").setLevel(logging.ERROR)
    for bars in ("dvc.progress", "dvc_data.callbacks"):  # they would run through the live view of the run
        logging.getLogger(bars).setLevel(logging.CRITICAL)
    try:
        yield
    except DvcException as error:
        reason = " ".join(str(error).split())
        raise VersioningError(f"DVC could not {act}: {reason}; check .dvc/config and STARLOOM_DVC_REMOTE") from error
