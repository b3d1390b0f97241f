"""A corpus step as a command on a Ray cluster of its own: its name, its arguments, its environment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.config import PipelineConfig
from components.errors import MissingInputError, ParamsError
from components.fingerprint import fingerprint_of
from components.run_step import plan_step
from components.settings import RECORD_STORE_VARIABLE, Settings
from components.step import Step
from components.workspace import LOCK_HOLDER_VARIABLE
from k8s.cluster_profile import DataWork
from k8s.pod import WORKSPACE
from k8s.profile import Profile

_CHARS_OF_FINGERPRINT = 12


@dataclass(frozen=True)
class RayCommand:
    """What is submitted."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]


def data_work_of(step: Step, profile: Profile) -> DataWork | None:
    """The Ray pool that does the step; None where the step runs beside its flow."""
    return profile.cluster.data_work if profile.cluster and step.in_pieces else None


def ray_command(
    step: Step, config: PipelineConfig, settings: Settings, work: DataWork, arguments: Sequence[str]
) -> RayCommand:
    """`arguments` are those of the step's command line. Nothing in it depends on who submits, so it can be adopted.

    The settings are the pods' own, not those of the machine that asks: another path of the workspace, and a record
    store only where every machine has the same one.
    """
    name = recipe_name(step, config, settings)
    environment = {
        "STARLOOM_WORKSPACE": WORKSPACE,
        "STARLOOM_RUNNER": "ray",
        "STARLOOM_WORKERS": str(work.pieces_at_work),
        "STARLOOM_EVENTS": "json",
        "STARLOOM_IMAGE_DIGEST": work.image.partition("@")[2],
        LOCK_HOLDER_VARIABLE: name,  # as the guest that the run lets in
        "PYTHONUNBUFFERED": "1",
    }
    if settings.record_store and "://" in settings.record_store:
        environment[RECORD_STORE_VARIABLE] = settings.record_store
    if settings.s3_encryption:
        environment["STARLOOM_S3_ENCRYPTION"] = settings.s3_encryption
    return RayCommand(name, ("python", "-m", "components", step.name, *arguments), environment)


def step_arguments(params_file: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """Of a step's command line: where its parameters are."""
    return ("--params", params_file, *(part for override in overrides for part in ("--set", override)))


def inside_workspace(params_file: str, workspace: Path) -> str:
    """The parameter file relative to the workspace; ParamsError if it is not in there, since pods see nothing else."""
    path = (workspace / params_file).resolve()
    if not path.is_relative_to(workspace):
        raise ParamsError(
            f"--params {params_file} is outside the workspace {workspace}, and pods see that alone; copy it"
        )
    return str(path.relative_to(workspace))


def recipe_name(step: Step, config: PipelineConfig, settings: Settings) -> str:
    """The step and its fingerprint, so that the same recipe is never submitted twice.

    Before its inputs are made the fingerprint is that of the parameters alone.
    """
    try:
        fingerprint = plan_step(step, config, settings).fingerprint
    except MissingInputError:
        sections = {name: getattr(config, name).model_dump(mode="json") for name in (step.name, *step.sections)}
        fingerprint = fingerprint_of(step, sections, {}, {})
    return f"{step.name}-{fingerprint[:_CHARS_OF_FINGERPRINT]}".replace("_", "-")
