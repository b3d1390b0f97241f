"""What `starloom lineage` tells: what something stands on, up to the sources; what stands on it, down to the models."""

import re
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from components.catalog import step_making
from components.config import PipelineConfig, load_config
from components.errors import MissingInputError, ParamsError, RegistryError
from components.lineage import StepRecord, archived_record, published_record, upstream
from components.settings import Settings
from flows import summary
from flows.services import ServiceStatus, describe_services

_DATA_VERSION = re.compile(r"v[1-9][0-9]*")
_TRAINED_ON = "token_shards"
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


def published(artifact: str, settings: Settings) -> StepRecord:
    """The record of an artifact that stands in the workspace; ParamsError, MissingInputError say why there is none."""
    try:
        step_making(artifact)
    except KeyError as error:
        raise ParamsError(str(error.args[0])) from None
    record = published_record(artifact, settings)
    if record is None:
        raise MissingInputError(f"{artifact} has not been made in {settings.workspace} yet; run `starloom run`")
    return record


def model_registry(settings: Settings, params: Path) -> Any:
    """The registry of the model that a parameter file names."""
    from components.registry.model_registry import ModelRegistry  # noqa: PLC0415

    config: PipelineConfig = load_config(settings.workspace / params)
    return ModelRegistry(config.register_model.model_name, settings)


def upstream_tree(record: StepRecord, title: str, settings: Settings) -> RenderableType:
    """Everything that a record stands on."""
    records = {one.record_digest(): one for one in upstream(record, settings)}
    return summary.lineage_tree(record, records, title)


def tell_upstream(artifact: str, version: int | None, params: Path, settings: Settings) -> RenderableType:
    """What an artifact of the workspace stands on, or a model version."""
    if version is None:
        return upstream_tree(published(artifact, settings), f"{artifact} in {settings.workspace.name}", settings)
    registered = model_registry(settings, params).version(version)
    record = archived_record(registered.lineage, settings)
    return upstream_tree(record, f"{registered.name} version {registered.version}", settings)


def tell_downstream(what: str, version: int | None, params: Path, settings: Settings) -> RenderableType:
    """What stands on an artifact of the workspace, a data version, a digest or a model version."""
    from components.lineage_index import current_index  # noqa: PLC0415 - SQLAlchemy costs a fifth of a second

    title, digest = _start(what, version, params, settings)
    registered, notes = _registered(settings)
    with current_index(settings, registered) as index:
        found = index.find(digest)
        if len({record.bytes_digest for record in found}) != 1:
            fault = "several digests begin so" if found else "no artifact has a digest that begins so"
            raise ParamsError(f"{what}: {fault}; give one as `starloom lineage` shows it, or more of it")
        below = index.downstream(record.digest for record in found)
        told = [Text(note, style="yellow") for note in (*notes, *index.notes)]
    return Group(*told, summary.downstream_tree(found, below, f"What stands on {title}"))


def _start(what: str, version: int | None, params: Path, settings: Settings) -> tuple[str, str]:
    """What is asked about, in words, and by its digest."""
    if version is not None:
        registered = model_registry(settings, params).version(version)
        bundle = archived_record(registered.lineage, settings).inputs["bundle"].record
        return f"{registered.name} version {version}", bundle
    if _DIGEST.fullmatch(what):
        return what, what
    if not _DATA_VERSION.fullmatch(what):
        return f"{what} in {settings.workspace.name}", published(what, settings).record_digest()
    from components.versioning import data_versions  # noqa: PLC0415

    known = {one.version: one for one in data_versions(settings)}
    if what not in known:
        raise ParamsError(f"there is no data version {what}; there are: {', '.join(known) or 'none yet'}")
    return f"data version {what}", known[what].artifacts[_TRAINED_ON].record


def _registered(settings: Settings) -> tuple[list[tuple[str, int, str]], list[str]]:
    """All model versions of the registry, or why there are none to be had."""
    embedded = settings.tracking_uri in (None, settings.mlflow_url)
    running = [one.name for one in describe_services(settings) if one.status is ServiceStatus.RUNNING]
    missing = "versions that were registered since the last question, and never promoted, are missing"
    if embedded and "mlflow" not in running:
        return [], [f"MLflow does not run (`starloom up`): {missing}"]
    from components.registry.model_registry import lineages  # noqa: PLC0415

    try:
        return lineages(settings), []
    except RegistryError as error:
        return [], [f"{error}: {missing}"]
