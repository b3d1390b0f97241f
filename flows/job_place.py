"""Where a step's command runs: the one place that knows both the step's needs and the launchers."""

import json
import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from prefect.context import FlowRunContext, TaskRunContext

from components.errors import ParamsError, WorkerError
from components.settings import CHECKPOINT_STORE_VARIABLE, RANKS_VARIABLE
from components.step import Needs, Step
from components.workspace import admitting
from flows.cluster_plan import pod_of_step, training_name
from flows.cluster_run import FLOW_RUN_VARIABLE, TASK_RUN_VARIABLE, open_connection, refuse_placeholders
from flows.corpus_on_ray import data_work_of, inside_workspace, ray_command, step_arguments
from flows.run_context import RunContext
from k8s.cluster_profile import DataWork
from k8s.gang_manifests import GangError
from k8s.gang_rules import ManifestError
from k8s.local_launcher import launch
from k8s.pod_job import run_in_pod
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

    A step that works in pieces goes to the Ray pool of the profile, if that has one; one that needs a GPU to a node of
    its cluster; all others to this machine, a training too, since its ranks are elsewhere.
    """
    work = data_work_of(step, run.profile)
    if work is not None:
        return _on_ray(step, run, work)
    if run.profile.cluster and step.needs is Needs.GPU and not step.has_ranks:
        return _in_a_pod(step, run)
    return launch(request)


def environment_on_cluster(step: Step, run: RunContext) -> dict[str, str]:
    """What a step must be told whose ranks are on a cluster; nothing for any other."""
    if run.profile.cluster is None or not step.has_ranks:
        return {}
    ranks = (
        sys.executable,
        "-P",
        "-m",
        "flows.gang_process",
        run.profile_name,
        training_name(run.config, run.settings),
    )
    flow_run, task_run = FlowRunContext.get(), TaskRunContext.get()
    return {
        RANKS_VARIABLE: json.dumps(ranks),
        CHECKPOINT_STORE_VARIABLE: run.profile.cluster.storage.checkpoint_store or "",  # pods have no other's secret
        FLOW_RUN_VARIABLE: str(flow_run.flow_run.id) if flow_run and flow_run.flow_run else "",
        TASK_RUN_VARIABLE: str(task_run.task_run.id) if task_run else "",
    }


@contextmanager
def _in_a_pod(step: Step, run: RunContext) -> Generator[RunningJob]:
    """ParamsError if the profile cannot hold it, WorkerError if the cluster refuses or does not answer."""
    refuse_placeholders(run.profile)
    arguments = step_arguments(inside_workspace(run.params_file, run.settings.workspace), run.overrides)
    request = pod_of_step(step, run.config, run.settings, run.profile, arguments)
    try:
        with (
            admitting(run.settings, request.name),
            run_in_pod(open_connection(run.profile), run.profile, request) as job,
        ):
            yield job
    except (GangError, ManifestError) as error:
        raise ParamsError(f"{step.name}: {error}") from None
    except ClusterError as error:
        raise WorkerError(f"{step.name}: {error}") from None


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
