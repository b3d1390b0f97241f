"""Where a step's command runs: the one place that knows both the step's needs and the launchers."""

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from components.errors import WorkerError
from components.step import Step
from components.workspace import admitting
from flows.cluster_run import open_connection
from flows.corpus_on_ray import data_work_of, inside_workspace, ray_command, step_arguments
from flows.run_context import RunContext
from k8s.cluster_profile import DataWork
from k8s.local_launcher import launch
from k8s.ray_launcher import run_on_ray
from k8s.request import ClusterError, JobOutcome, JobRequest


class RunningJob(Protocol):
    """A command at work, wherever it is."""

    def lines(self) -> Iterator[str]:
        """What it says, line by line as it comes, until it ends."""
        ...

    def outcome(self) -> JobOutcome:
        """How it ended; asked when the lines are read to their end."""
        ...


def start_job(step: Step, request: JobRequest, run: RunContext) -> AbstractContextManager[RunningJob]:
    """Start it where the profile of the run says; leaving the block ends whatever of it still runs.

    A step that works in pieces goes to the Ray pool of the profile, if that has one, and all others to this machine.
    """
    work = data_work_of(step, run.profile)
    return launch(request) if work is None else _on_ray(step, run, work)


@contextmanager
def _on_ray(step: Step, run: RunContext, work: DataWork) -> Generator[RunningJob]:
    """WorkerError if the cluster refuses or does not answer."""
    arguments = step_arguments(inside_workspace(run.params_file, run.settings.workspace), run.overrides)
    asked = ray_command(step, run.config, run.settings, work, arguments)
    try:
        with (
            admitting(run.settings, asked.name),
            run_on_ray(open_connection(run.profile), work, asked.name, asked.command, asked.environment) as job,
        ):
            yield job
    except ClusterError as error:
        raise WorkerError(f"{step.name}: {error}") from None
