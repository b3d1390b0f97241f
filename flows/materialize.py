"""A target artifact becomes Prefect tasks, upstream first. The only file that makes tasks.

Prefect's own cache is off: whether a step is made already is decided by `find_published`, which looks at the bytes. A
step that is not made runs in a process of its own or on a cluster, so that its memory, its threads and its faults end
with it. Only records travel between tasks, never data.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from components import errors
from components.catalog import steps_toward
from components.errors import PreemptedError, StarloomError
from components.event_stream import event_of
from components.lineage import StepRecord, published_record, send_records
from components.run_step import find_published, plan_step
from components.step import Needs, Step
from flows.corpus_on_ray import step_arguments
from flows.job_place import environment_on_cluster, start_job
from flows.plan_run import cost_environment
from flows.progress_page import ProgressPage
from flows.run_context import RunContext
from k8s.failure_rules import PREEMPTED_EXIT_CODE
from k8s.request import Failed, JobOutcome, JobRequest, Succeeded

P = ParamSpec("P")
R = TypeVar("R")

_MAX_RESUMPTIONS = 3
_SEEN_SECONDS, _POLL_SECONDS = 60.0, 0.5
"""How long an artifact from another node is looked for: file systems on a network show it late."""
_EXIT_ENDED_FROM_OUTSIDE = {137: "killed", 143: "told to end"}
_GPUS = {Needs.CPU: 0, Needs.GPU: 1}
_KINDS: dict[str, type[StarloomError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, StarloomError)
}


class StepFaultError(Exception):
    """The step ended in a way that its code did not foresee: a fault of ours, with its last lines."""


def materialize(target: str, run: RunContext, *, made: Mapping[str, StepRecord] | None = None) -> dict[str, StepRecord]:
    """Make `target` and everything it stands on, or find it made; records by artifact, in the order of the catalog.

    What this run has `made` already is not looked at again. Raises what the first failing step told, a StarloomError
    for what a person can mend; later steps do not start.
    """
    records = dict(made or {})
    for step in [step for step in steps_toward(target) if step.output not in records]:
        upstream = [records[name] for name in step.inputs]
        records[step.output] = _task(step.name, _make)(step, run, wait_for=upstream)
    return records


def materialize_last(step: Step, run: RunContext) -> StepRecord:
    """Make one step's artifact from the inputs that stand in the workspace, whatever they were made with."""
    return _task(step.name, _make)(step, run)


def act(name: str, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Call a function that acts on the world as a task of its own, so that the page of the run shows it."""
    return _task(name, function)(*arguments, **named)


def _task(name: str, function: Callable[P, R]) -> Task[P, R]:
    return Task(
        function,
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=_MAX_RESUMPTIONS,
        retry_condition_fn=_was_preempted,
    )


def _was_preempted(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), PreemptedError)


def _make(step: Step, run: RunContext) -> StepRecord:
    log = get_run_logger()
    run.hear(step.name, {"event": "started"})
    record = find_published(step, run.config, run.settings)
    if record is not None:
        log.info("%s: reused %s %s", step.name, step.output, record.digest[:12])
        if fault := send_records(run.settings):
            log.warning("%s", fault)
        run.hear(step.name, {"event": "reused", "record": record.model_dump(mode="json")})
        return record
    _run_in_process(step, run, log)
    record = _made(step, run)
    if fault := send_records(run.settings):
        log.warning("%s", fault)
    log.info("%s: made %s %s", step.name, step.output, record.digest[:12])
    return record


def _made(step: Step, run: RunContext) -> StepRecord:
    """The record of what was asked for. On a cluster another node has put it there, perhaps into another workspace."""
    record = published_record(step.output, run.settings)
    if run.profile.cluster is None:
        if record is None:
            raise StepFaultError(f"{step.name} ended well and {step.output} is not there")
        return record
    fingerprint = plan_step(step, run.config, run.settings).fingerprint
    deadline = time.monotonic() + _SEEN_SECONDS
    while record is None or record.fingerprint != fingerprint:
        if time.monotonic() > deadline:
            raise StarloomError(
                f"{step.name} ended well and the {step.output} of this workspace is not what it made: its pods see "
                "another one; see where the claims of the profile lead"
            )
        time.sleep(_POLL_SECONDS)
        record = published_record(step.output, run.settings)
    return record


def _run_in_process(step: Step, run: RunContext, log: "logging.LoggerAdapter[Any] | logging.Logger") -> None:
    """Run `python -m components STEP` to its end; raises unless it succeeded."""
    request = JobRequest(
        name=step.name,
        command=(sys.executable, "-m", "components", step.name, *step_arguments(run.params_file, run.overrides)),
        working_dir=run.settings.workspace,
        environment=run.settings.environment()
        | cost_environment(run.profile)
        | {"STARLOOM_EVENTS": "json", "PYTHONUNBUFFERED": "1"}
        | environment_on_cluster(step, run),
        gpus=_GPUS[step.needs],
    )
    told: StarloomError | None = None
    page = ProgressPage(step.name) if step.tracked else None
    with start_job(step, request, run) as job:
        for line in job.lines():
            event = event_of(line)
            if event is None:
                log.info(line)
                continue
            if event["event"] == "error":
                told = _KINDS.get(event["kind"], StarloomError)(event["text"])
            if event["event"] == "note":
                log.info(event["text"])
            run.hear(step.name, event)
            if page:
                page.hear(event)
        outcome = job.outcome()
    if not isinstance(outcome, Succeeded):
        raise told or failure_of(step, outcome)


def failure_of(step: Step, outcome: JobOutcome) -> Exception:
    """What it means that a step ended so and told no mistake itself."""
    if not isinstance(outcome, Failed):
        return StepFaultError(f"{step.name} was cancelled")
    if outcome.exit_code == PREEMPTED_EXIT_CODE:
        return PreemptedError(f"{step.name} was preempted; run again to go on from its last checkpoint")
    how = _EXIT_ENDED_FROM_OUTSIDE.get(outcome.exit_code)
    if how:
        return StarloomError(
            f"{step.name} was {how} from outside, most often because memory ran out; "
            f"make room and run again: what is finished is reused"
        )
    last_lines = "\n".join(outcome.last_lines)
    return StepFaultError(f"{step.name} ended with exit code {outcome.exit_code}; its last lines:\n{last_lines}")
