"""The one door. DVC's command, a pod's command, a Prefect task and a person at a terminal all go through `run_step`:

    plan     read the inputs' records, digest the sources, take the fingerprint
    reuse    an artifact with this fingerprint and the recorded bytes is there already: done
    run      the step's module, imported here and nowhere else, writes into a staging directory
    audit    the artifact's contract; a broken blocking one leaves the staging directory for inspection
    publish  digest, record, one atomic rename; then the record goes to the record store, if there is one

A killed step leaves nothing that looks finished. A resumable one finds its working directory again.
"""

import importlib
import shutil
import sys
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from components.attempts import Attempts, read_held_seconds
from components.catalog import step_making
from components.config import PipelineConfig
from components.errors import ContractError, MissingInputError, SourceError
from components.fingerprint import fingerprint_of
from components.lineage import (
    InputReference,
    Provenance,
    StepRecord,
    archive_record,
    published_record,
    send_records,
    write_record,
)
from components.planning.run_cost import observed_cost
from components.provenance import code_state, cpu_seconds, host_description, lock_digest
from components.runner import PoolRunner, usable_processors, use_runner
from components.settings import Settings
from components.step import Needs, Step
from components.store import digest_files, digest_of_files, publish, storage_errors_told, verify_files
from components.workspace import exclusive
from data_contracts.catalog import contract_for
from data_contracts.report import ContractReport
from model.reporting import current_sink


@dataclass(frozen=True)
class Plan:
    """What running a step would mean, before anything is run."""

    step: Step
    sections: dict[str, dict[str, Any]]
    inputs: dict[str, InputReference]
    sources: dict[str, str]
    fingerprint: str


def plan_step(step: Step, config: PipelineConfig, settings: Settings) -> Plan:
    """Decide the fingerprint; MissingInputError names the step that makes an input that is not there."""
    inputs = {name: _input_record(name, step, settings).reference() for name in step.inputs}
    sections = {name: getattr(config, name).model_dump(mode="json") for name in (step.name, *step.sections)}
    sources = _resolve_sources(step, config, settings)
    fingerprint = fingerprint_of(
        step, sections, {name: reference.fingerprint for name, reference in inputs.items()}, sources
    )
    return Plan(step, sections, inputs, sources, fingerprint)


def _resolve_sources(step: Step, config: PipelineConfig, settings: Settings) -> dict[str, str]:
    if not step.reads_sources:
        return {}
    module = importlib.import_module(step.module)
    return module.resolve_sources(getattr(config, step.name), workspace=settings.workspace)


def _input_record(artifact: str, step: Step, settings: Settings) -> StepRecord:
    record = published_record(artifact, settings)
    if record is None:
        maker = step_making(artifact).name
        raise MissingInputError(
            f"{step.name} needs {artifact}, which is not in {settings.artifacts_dir}; "
            f"run `python -m components {maker}` or `starloom run` first"
        )
    return record


def find_published(step: Step, config: PipelineConfig, settings: Settings) -> StepRecord | None:
    """The record of the step's output if it is what this config asks for, its bytes verified; else None.

    CorruptArtifactError when the record matches and the bytes do not.
    """
    if any(published_record(name, settings) is None for name in step.inputs):
        return None
    return _reusable(plan_step(step, config, settings), settings)


def _reusable(plan: Plan, settings: Settings) -> StepRecord | None:
    record = published_record(plan.step.output, settings)
    if record is None or record.fingerprint != plan.fingerprint or record.inputs != plan.inputs:
        return None
    verify_files(settings.artifacts_dir / plan.step.output, record.files)
    archive_record(record, settings)
    return record


def run_step(step: Step, config: PipelineConfig, settings: Settings) -> StepRecord:
    """Make the step's artifact, or find it made; either way its record is returned and the artifact is published."""
    with exclusive(settings, step.name), storage_errors_told(settings.workspace):
        plan = plan_step(step, config, settings)
        record = _reusable(plan, settings)
        if record is not None:
            current_sink().note(f"{step.name}: reused {step.output} {record.digest[:12]}")
        else:
            for name in step.inputs:
                verify_files(settings.artifacts_dir / name, _input_record(name, step, settings).files)
            record = _make(plan, config, settings)
        if fault := send_records(settings):
            current_sink().note(fault)
        return record


def _make(plan: Plan, config: PipelineConfig, settings: Settings) -> StepRecord:
    step = plan.step
    staging = settings.staging_dir / f"{step.name}-{plan.fingerprint[:16]}"
    out = staging / "out"
    if not step.resumable:
        shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started, cpu_before = datetime.now(UTC), cpu_seconds()
    attempts = _attempts(step, config, settings, staging)
    with _tracked(plan, staging, settings) as mlflow_run, _runner_of(settings), attempts or nullcontext():
        summary = _call(step, config, settings, out, staging / "work")
    if _resolve_sources(step, config, settings) != plan.sources:
        raise SourceError(f"a source of {step.name} changed while it was read; run again when it is at rest")
    report = _audit(step, out, settings)
    files = digest_files(out)
    record = StepRecord(
        step=step.name,
        artifact=step.output,
        fingerprint=plan.fingerprint,
        digest=digest_of_files(files),
        sections=plan.sections,
        inputs=plan.inputs,
        sources=plan.sources,
        summary=summary.model_dump(mode="json"),
        contract=report,
        files=files,
        provenance=_provenance(settings, started, cpu_before, mlflow_run, attempts),
    )
    write_record(record, out)
    archive_record(record, settings)
    publish(out, settings.artifacts_dir / step.output)
    shutil.rmtree(staging)
    return record


def _runner_of(settings: Settings) -> AbstractContextManager[None]:
    """The runner that the environment asks for, while the step runs."""
    if settings.runner == "local":
        return use_runner(PoolRunner(settings.workers or usable_processors()))
    from components.ray_runner import ray_cluster  # noqa: PLC0415 - Ray costs seconds; few runs need it

    return ray_cluster(workers=settings.workers)


def call_step(
    step: Step,
    config: PipelineConfig,
    inputs: Mapping[str, Path],
    out: Path,
    **places: Path | str | tuple[str, ...] | None,
) -> BaseModel:
    """Import the step's module and run it: no record, no publication.

    `places` are its workspace, work_dir, checkpoint_store or ranks, if it has them.
    """
    sections = {name: getattr(config, name) for name in step.sections}
    run = importlib.import_module(step.module).run
    return run(getattr(config, step.name), **inputs, **sections, **places, out=out)


def _call(step: Step, config: PipelineConfig, settings: Settings, out: Path, work_dir: Path) -> BaseModel:
    inputs = {name: settings.artifacts_dir / name for name in step.inputs}
    places: dict[str, Path | str | tuple[str, ...] | None] = {}
    if step.reads_sources:
        places["workspace"] = settings.workspace
    if step.resumable:
        work_dir.mkdir(parents=True, exist_ok=True)
        places["work_dir"] = work_dir
    if step.has_ranks:
        places["checkpoint_store"] = settings.checkpoint_store
        places["ranks"] = settings.ranks
    return call_step(step, config, inputs, out, **places)


def _audit(step: Step, out: Path, settings: Settings) -> ContractReport | None:
    contract = contract_for(step.output)
    if contract is None:
        return None
    from data_contracts.engine import check  # noqa: PLC0415 - Great Expectations costs seconds; most steps need none

    upstream = {name: settings.artifacts_dir / name for name in step.inputs}
    standing = {name: path for name, path in upstream.items() if name != step.output and path.exists()}
    report = check(contract, out, settings.reports_dir / "data_docs", upstream=standing)
    if report.blocked:
        raise ContractError(f"{report.sentence()}; {step.output} was not published, inspect it in {out}")
    return report


@contextmanager
def _tracked(plan: Plan, staging: Path, settings: Settings) -> Generator[str | None]:
    """An MLflow run around a tracked step, when a server is set; yields its id."""
    if not plan.step.tracked or settings.tracking_uri is None:
        yield None
        return
    from components.tracking import training_run  # noqa: PLC0415 - MLflow costs seconds; one step needs it

    with training_run(settings, plan.step.name, plan.fingerprint, plan.sections, staging / "mlflow_run") as run_id:
        yield run_id


def _attempts(step: Step, config: PipelineConfig, settings: Settings, staging: Path) -> Attempts | None:
    """The attempts at a training. One takes its ranks, or on processors the cores of its ranks, times the wall time.

    Ranks elsewhere wait in queues: there it takes what they held.
    """
    if step.needs is not Needs.GPU:
        return None
    costs, pretrain, place, work_dir = settings.device_costs, config.pretrain, staging / "attempts", staging / "work"
    if step.has_ranks and settings.ranks:
        return Attempts(place, lambda held: observed_cost(1, held, costs), clock=lambda: read_held_seconds(work_dir))
    on_cores = costs is None or costs.device == "cpu-core"
    devices = (pretrain.layout.world_size if step.has_ranks else 1) * (pretrain.threads_per_process if on_cores else 1)
    return Attempts(place, lambda seconds: observed_cost(devices, seconds, costs))


def _provenance(
    settings: Settings, started: datetime, cpu_before: float, mlflow_run: str | None, attempts: Attempts | None
) -> Provenance:
    commit, dirty = code_state(settings.workspace)
    return Provenance(
        commit=commit,
        dirty=dirty,
        lock_digest=lock_digest(settings.workspace),
        image_digest=settings.image_digest,
        command=tuple([Path(sys.argv[0]).name, *sys.argv[1:]]),
        host=host_description(),
        started=started.isoformat(timespec="seconds"),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu_seconds=round(cpu_seconds() - cpu_before, 2),
        mlflow_run=mlflow_run,
        cost=attempts.cost() if attempts else None,
        attempts=attempts.count if attempts else None,
    )
