"""prefect.yaml, registered with the embedded server: `python -m flows.deployments`, in the environment of the server.

A process of its own, started by `flows/startup.py`: whoever only starts or stops services never imports Prefect.
Registering again changes nothing.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.errors import ParamsError, StarloomError
from components.settings import Settings
from flows.services import WORK_POOL

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScheduleEntry(_Entry):
    """When a deployment runs by itself."""

    slug: Name
    cron: str
    timezone: str
    active: bool


class WorkPoolEntry(_Entry):
    """Which workers may take a deployment's runs."""

    name: Name


class DeploymentEntry(_Entry):
    """One deployment of prefect.yaml. Parameters are always checked before a run exists."""

    name: Name
    entrypoint: Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")]
    """A function by its module, never by its file."""
    tags: tuple[str, ...] = ()
    work_pool: WorkPoolEntry
    enforce_parameter_schema: Literal[True]
    schedules: tuple[ScheduleEntry, ...] = ()


class PrefectFile(_Entry):
    """prefect.yaml as far as we use it; `prefect deploy --all` understands more."""

    pull: tuple[()]
    deployments: tuple[DeploymentEntry, ...]


def read_prefect_file(path: Path) -> PrefectFile:
    """Read and check prefect.yaml; ParamsError names the place that is wrong."""
    try:
        raw: Any = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return PrefectFile.model_validate(raw)
    except FileNotFoundError:
        raise ParamsError(f"there is no {path}; a workspace holds params.yaml, dvc.yaml and prefect.yaml") from None
    except YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ParamsError(f"{path} cannot be used; mend {place}: {fault['msg'].lower()}") from None


def form_schema(flow: Flow[..., Any]) -> dict[str, Any]:
    """The JSON schema of a flow's parameters, closed: with Prefect's own an unknown one passes and the run crashes."""
    return parameter_schema(flow).model_dump() | {"additionalProperties": False}


def register(settings: Settings, client: SyncPrefectClient) -> tuple[str, ...]:
    """Bring the pool `local` and every deployment of prefect.yaml to what the file says; returns their names."""
    entries = read_prefect_file(settings.workspace / "prefect.yaml").deployments
    _ensure_work_pool(settings, client)
    for entry in entries:
        _register(entry, client)
    return tuple(entry.name for entry in entries)


def _ensure_work_pool(settings: Settings, client: SyncPrefectClient) -> None:
    """The pool of processes that run in the workspace, with our interpreter; a run cannot choose others.

    With a command given, the worker starts it as it is; without one it would first copy the working directory.
    """
    template = ProcessWorker.get_default_base_job_template()
    fixed = {
        "command": shlex.join((sys.executable, "-m", "prefect.engine")),
        "working_dir": str(settings.workspace),
    }
    template["job_configuration"] |= fixed
    for name in fixed:
        del template["variables"]["properties"][name]
    try:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template))
    except ObjectAlreadyExists:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))


def _register(entry: DeploymentEntry, client: SyncPrefectClient) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry.entrypoint)
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow.name),
        name=entry.name,
        entrypoint=entry.entrypoint,
        description=flow.description,
        tags=list(entry.tags),
        work_pool_name=entry.work_pool.name,
        parameter_openapi_schema=form_schema(flow),
        enforce_parameter_schema=True,
        pull_steps=[],
        schedules=[
            DeploymentScheduleCreate(
                slug=schedule.slug,
                schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone),
                active=schedule.active,
            )
            for schedule in entry.schedules
        ],
    )


def main() -> int:
    """Register what prefect.yaml says with the server of the environment; exit code 2 and one sentence on a mistake."""
    settings = Settings.from_environment()
    try:
        with get_client(sync_client=True) as client:
            names = register(settings, client)
    except StarloomError as error:
        print(error)
        return 2
    print(f"Prefect deployments: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
