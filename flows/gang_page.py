"""Where a training's pods are, as an artifact of its task: a table on the run's page in Prefect's UI.

Written from a process beside the flow, so the run is named and not found in the context.
"""

import sys
import time
from collections.abc import Sequence
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException

from k8s.request import GangStatus

_SECONDS_BETWEEN = 2.0
_ENDING = {StateType.CANCELLING, StateType.CANCELLED}


class GangPage:
    """Shows the newest status. A server that fails stops no training: it is told once."""

    def __init__(self, name: str, flow_run: UUID, task_run: UUID | None) -> None:
        self._name = name
        self._flow_run = flow_run
        self._task_run = task_run
        self._artifact: UUID | None = None
        self._next = 0.0
        self._newest: str | None = None
        self._failed = False

    def show(self, status: GangStatus) -> None:
        """Now, or a moment later together with what comes then."""
        self._newest = placement_markdown(self._name, status)
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Send what has not been sent yet."""
        text, self._newest = self._newest, None
        if text is None or self._failed:
            return
        try:
            self._send(text)
        except (PrefectException, httpx.HTTPError) as error:
            self._failed = True
            print(f"the placement on the run's page is no longer told: {error}", file=sys.stderr)
        self._next = time.monotonic() + _SECONDS_BETWEEN

    def _send(self, text: str) -> None:
        with get_client(sync_client=True) as client:
            if self._artifact is not None:
                client.update_artifact(self._artifact, ArtifactUpdate(data=text))
                return
            artifact = ArtifactCreate(
                key=f"{self._name}-placement",
                type="markdown",
                description="Where the pods of the training are",
                data=text,
                flow_run_id=self._flow_run,
                task_run_id=self._task_run,
            )
            self._artifact = client.create_artifact(artifact).id


def placement_markdown(name: str, status: GangStatus) -> str:
    """Restarts, the queue, and a row for each pod."""
    rows: Sequence[tuple[object, ...]] = [
        (pod.index, pod.node or "", pod.phase, pod.waits_for or "") for pod in status.pods
    ]
    return "\n".join(
        [
            f"**{name}**: {summary_of(status)}",
            "",
            "| pod | node | phase | waits for |",
            "|---:|---|---|---|",
            *("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows),
        ]
    )


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def summary_of(status: GangStatus) -> str:
    """In one line: how many run, what they wait for, how often all began anew."""
    restarts = f"; restarted {status.restarts} times" if status.restarts else ""
    waits_for = f": {status.waits_for}" if status.waits_for else ""
    if status.is_suspended:
        return f"waits in the queue{waits_for}{restarts}"
    running = sum(pod.phase == "Running" for pod in status.pods)
    waiting = next((f"; pod {pod.index} waits: {pod.waits_for}" for pod in status.pods if pod.waits_for), "")
    return f"{running} of {len(status.pods)} pods run{waits_for}{waiting}{restarts}"


def is_being_cancelled(flow_run: UUID) -> bool:
    """Whether a person has cancelled the run; no if the server does not say so."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run).state
    except (PrefectException, httpx.HTTPError):
        return False
    return state is not None and state.type in _ENDING
