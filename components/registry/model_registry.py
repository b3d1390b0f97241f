"""The model registry: the only file that speaks to MLflow's. Versions carry the digest of their lineage as a tag."""

import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read by mlflow at import
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict

from components.errors import RegistryError
from components.settings import Settings

CHAMPION = "champion"
_LEDGER_ENTRY = "ledger_entry"
_PAGE_VERSIONS = 1000


class RegisteredVersion(BaseModel):
    """One version of a registered model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    lineage: str
    """Digest of the eval_report's record: pins everything the model stands on."""
    data_version: str | None
    run_id: str | None
    aliases: tuple[str, ...]
    ledger_entry: str | None = None
    """Digest of the ledger's entry that made it champion last."""


class ModelRegistry:
    """The versions of one model name. RegistryError when the server does not answer."""

    def __init__(self, name: str, settings: Settings) -> None:
        if settings.tracking_uri is None:
            raise RegistryError("no MLflow server is set; run `starloom up`, or set STARLOOM_TRACKING_URI")
        self._name = name
        self._uri = settings.tracking_uri
        mlflow.set_tracking_uri(self._uri)
        self._client = MlflowClient(self._uri)

    def versions(self) -> list[RegisteredVersion]:
        """All versions, oldest first; empty when the name is not registered."""
        with self._told():
            found = self._client.search_model_versions(f"name='{self._name}'")
            # A search leaves the aliases out; only the single read has them.
            return sorted((self._read(version.version) for version in found), key=lambda one: one.version)

    def champion(self) -> RegisteredVersion | None:
        """The version that carries the alias, if any."""
        return next((version for version in self.versions() if CHAMPION in version.aliases), None)

    def version(self, number: int | None) -> RegisteredVersion:
        """The version of that number, or the newest; RegistryError lists those there are."""
        there = self.versions()
        chosen = [one for one in there if number is None or one.version == number]
        if not chosen:
            listed = ", ".join(str(one.version) for one in there) or "none yet; `starloom run` registers the first"
            wanted = "" if number is None else f" {number}"
            raise RegistryError(f"model {self._name} has no version{wanted}; its versions are: {listed}")
        return chosen[-1]

    def with_lineage(self, lineage: str) -> RegisteredVersion | None:
        """The newest version registered with that lineage, if any."""
        return next((one for one in reversed(self.versions()) if one.lineage == lineage), None)

    def register(self, bundle: Path, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        """Log the bundle's files as a model of the run and register it; `tags` must hold `lineage`."""
        with self._told():
            experiment = self._client.get_run(run_id).info.experiment_id
            logged = self._client.create_logged_model(
                experiment, name=self._name, source_run_id=run_id, tags=dict(tags), model_type="code"
            )
            self._client.log_model_artifacts(logged.model_id, str(bundle))
            self._client.finalize_logged_model(logged.model_id, "READY")
            self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            if not self._client.search_registered_models(f"name='{self._name}'"):
                self._client.create_registered_model(self._name)
            created = self._client.create_model_version(
                self._name,
                source=f"models:/{logged.model_id}",
                run_id=run_id,
                tags=dict(tags),
                model_id=logged.model_id,
            )
            return self._read(created.version)

    def promote(self, version: RegisteredVersion, ledger_entry: str) -> None:
        """Tag `version` with the digest of the entry that makes it champion, then move the alias to it."""
        with self._told():
            self._client.set_model_version_tag(self._name, str(version.version), _LEDGER_ENTRY, ledger_entry)
            self._client.set_registered_model_alias(self._name, CHAMPION, str(version.version))

    def download(self, version: RegisteredVersion, place: Path) -> Path:
        """Fetch the registered files into the directory `place`. The caller checks their digest."""
        place.mkdir(parents=True, exist_ok=True)
        with self._told():
            uri = f"models:/{self._name}/{version.version}"
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(place)))

    def _read(self, number: str) -> RegisteredVersion:
        found = self._client.get_model_version(self._name, number)
        return RegisteredVersion(
            name=self._name,
            version=int(found.version),
            lineage=found.tags.get("lineage", ""),
            data_version=found.tags.get("data_version"),
            run_id=found.run_id,
            aliases=tuple(sorted(found.aliases)),
            ledger_entry=found.tags.get(_LEDGER_ENTRY),
        )

    def _told(self) -> AbstractContextManager[None]:
        return _faults_told(self._uri)


def lineages(settings: Settings) -> list[tuple[str, int, str]]:
    """Name, version and lineage of every registered version of every model that bears a lineage."""
    if settings.tracking_uri is None:
        return []
    found: list[tuple[str, int, str]] = []
    token: str | None = None
    with _faults_told(settings.tracking_uri):
        client = MlflowClient(settings.tracking_uri)
        while True:
            page = client.search_model_versions(max_results=_PAGE_VERSIONS, page_token=token)
            found += [(one.name, int(one.version), one.tags["lineage"]) for one in page if one.tags.get("lineage")]
            token = page.token
            if not token:
                return found


@contextmanager
def _faults_told(uri: str) -> Generator[None]:
    try:
        yield
    except MlflowException as error:
        reason = " ".join(str(error).split())[:300]
        raise RegistryError(f"the MLflow server {uri} failed: {reason}; start it with `starloom up`") from error
