"""prefect.yaml, registered with the server of the environment: `python -m flows.deployments`.

A process of its own, started by `flows/startup.py`: whoever only starts or stops services never imports Prefect. On a
cluster the worker's pod runs it with `--pool kubernetes --image IMAGE`: what can be run is the same.
Registering again changes nothing.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
from k8s import work_pool as kubernetes

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
    """The pool of `starloom up`; on a cluster `--pool` says another for all."""

    name: Literal["local"]


class DeploymentEntry(_Entry):
    """One deployment of prefect.yaml. Parameters are always checked before a run exists."""

    name: Name
    entrypoint: Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")]
    """A function by its module, never by its file."""
    tags: tuple[str, ...] = ()
    work_pool: WorkPoolEntry
    enforce_parameter_schema: Literal[True]
    schedules: tuple[ScheduleEntry, ...] = ()


@dataclass(frozen=True)
class WorkPool:
    """A work pool as we want it."""

    name: str
    type: str
    base_job_template: dict[str, Any]


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


def process_pool(settings: Settings) -> WorkPool:
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
    return WorkPool(WORK_POOL, "process", template)


def kubernetes_pool(image: str) -> WorkPool:
    """The pool of pods that run `image` on a cluster; a run cannot choose another one."""
    return WorkPool(kubernetes.WORK_POOL, "kubernetes", kubernetes.base_job_template(image))


def register(settings: Settings, client: SyncPrefectClient, pool: WorkPool) -> tuple[str, ...]:
    """Bring `pool` and, in it, every deployment of prefect.yaml to what is said here and there; returns their names."""
    entries = read_prefect_file(settings.workspace / "prefect.yaml").deployments
    _ensure_work_pool(pool, client)
    for entry in entries:
        _register(entry, pool.name, client)
    return tuple(entry.name for entry in entries)


def _ensure_work_pool(pool: WorkPool, client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(
            WorkPoolCreate(name=pool.name, type=pool.type, base_job_template=pool.base_job_template)
        )
    except ObjectAlreadyExists:
        client.update_work_pool(pool.name, WorkPoolUpdate(base_job_template=pool.base_job_template))


def _register(entry: DeploymentEntry, pool: str, client: SyncPrefectClient) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry.entrypoint)
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow.name),
        name=entry.name,
        entrypoint=entry.entrypoint,
        description=flow.description,
        tags=list(entry.tags),
        work_pool_name=pool,
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


def main(arguments: Sequence[str]) -> int:
    """Register what prefect.yaml says with the server of the environment; exit code 2 and one sentence on a mistake."""
    parser = argparse.ArgumentParser(prog="python -m flows.deployments")
    parser.add_argument("--pool", choices=(WORK_POOL, kubernetes.WORK_POOL), default=WORK_POOL)
    parser.add_argument("--image", help="image of the flow runs, by its digest; for the pool kubernetes")
    asked = parser.parse_args(arguments)
    if (asked.pool == kubernetes.WORK_POOL) != bool(asked.image):
        parser.error("the pool kubernetes needs --image, and no other takes it")
    settings = Settings.from_environment()
    pool = kubernetes_pool(asked.image) if asked.image else process_pool(settings)
    try:
        with get_client(sync_client=True) as client:
            names = register(settings, client, pool)
    except StarloomError as error:
        print(error)
        return 2
    print(f"Prefect deployments: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
