"""Flows of a second or two, copied into the test workspaces, where the worker finds them."""

import json
import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

import httpx
from prefect import flow

from components.catalog import step_named
from components.errors import PreemptedError
from flows.forms import FlowRequest
from flows.materialize import act, materialize, materialize_last
from flows.progress_page import ProgressPage
from flows.run_context import open_run, open_workspace
from k8s.local_launcher import launch
from k8s.request import JobRequest
from model.reporting import current_sink


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
def track_long(request: GreetRequest = _ANYONE) -> None:
    """Log a metric a few times a second, as a training does, until the file `enough` is there."""
    with open_workspace("track_long") as settings:
        from components.tracking import training_run  # noqa: PLC0415 - MLflow costs seconds

        with training_run(settings, "pretrain", "f" * 64, {"pretrain": {"steps": 1}}, Path("track_long.run")):
            for step in range(1, 1000):
                current_sink().metrics({"loss": 1 / step}, step)
                Path("track_long.steps").write_text(str(step))
                if Path("enough").exists():
                    break
                time.sleep(0.2)


@flow
def make(target: str) -> dict[str, str]:
    """Make an artifact with the workspace's parameters; digests by artifact."""
    with open_run("make", "params.yaml") as run:
        return {artifact: record.digest for artifact, record in materialize(target, run).items()}


@flow
def make_on(asked: tuple[str, str]) -> dict[str, str]:
    """As `make`, where the profile says: its name or file, and the artifact."""
    profile, target = asked
    with open_run("make_on", "params.yaml", (), profile) as run:
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


@flow
def tell_progress(server_is_gone: bool) -> str:
    """Tell how far a training is, the last of four steps perhaps to a server that is gone."""
    page = ProgressPage("a_training")

    def tell(steps: int) -> None:
        values = {"loss": 4.0 - steps, "tokens_per_second": 1234.0, "validation_loss/python": 1.5}
        page.hear({"event": "metrics", "step": steps, "values": values})
        page.hear({"event": "progress", "done": steps, "total": 4, "what": "steps"})

    def train() -> None:
        for steps in range(1, 4):
            tell(steps)
        if server_is_gone:
            with patch("flows.progress_page.update_progress_artifact", side_effect=httpx.ConnectError("gone")):
                tell(4)
        tell(4)

    act("train", train)
    return "trained"
