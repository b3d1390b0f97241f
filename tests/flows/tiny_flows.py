"""Flows of a second or two, copied into the test workspaces, where the worker finds them."""

import json
import os
import sys
from pathlib import Path

from prefect import flow

from components.catalog import step_named
from components.errors import PreemptedError
from flows.forms import FlowRequest
from flows.materialize import act, materialize, materialize_last
from flows.run_context import open_run, open_workspace
from k8s.local_launcher import launch
from k8s.request import JobRequest


class GreetRequest(FlowRequest):
    """Whom to greet."""

    whom: str = "loom"


_ANYONE = GreetRequest()


@flow
def greet(request: GreetRequest = _ANYONE) -> None:
    """Write down where the run was and what it was asked."""
    seen = {name: value for name, value in os.environ.items() if name.startswith("STARLOOM_")}
    Path("greeting.json").write_text(
        json.dumps({"whom": request.whom, "cwd": str(Path.cwd()), "environment": seen, "python": sys.executable})
    )


@flow
def work_long(request: GreetRequest = _ANYONE) -> None:
    """Run a command that does not end by itself, and write down its process id."""
    with open_workspace("work_long") as settings:
        code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
        with launch(JobRequest("sleep", (sys.executable, "-c", code), settings.workspace)) as job:
            for line in job.lines():
                Path("work_long.pid").write_text(line)


@flow
def make(target: str) -> dict[str, str]:
    """Make an artifact with the workspace's parameters; digests by artifact."""
    with open_run("make", "params.yaml") as run:
        return {artifact: record.digest for artifact, record in materialize(target, run).items()}


@flow
def make_alone(step: str) -> str:
    """Run one step on what stands in the workspace; the digest of what it made."""
    with open_run("make_alone", "params.yaml") as run:
        return materialize_last(step_named(step), run).digest


@flow
def give_way(times: int) -> int:
    """Act, but be preempted so many times first; how often it was tried."""
    tries: list[int] = []

    def reluctantly() -> None:
        tries.append(1)
        if len(tries) <= times:
            raise PreemptedError("not now")

    act("reluctantly", reluctantly)
    return len(tries)
