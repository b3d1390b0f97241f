"""How far a long step is, as an artifact of its task: a bar and its figures on the run's page in Prefect's UI."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

from flows.console import figures_of

_SECONDS_BETWEEN = 2.0


class ProgressPage:
    """Takes the events of a step from inside its task. A server that fails stops no step: it is told once."""

    def __init__(self, step: str) -> None:
        self._key = f"{step.replace('_', '-')}-progress"
        self._step = step
        self._metrics: dict[str, float] = {}
        self._artifact: UUID | None = None
        self._next = 0.0
        self._failed = False

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take one event, see `components/event_stream.py`; some seconds' worth go to the server together."""
        if event["event"] == "metrics":
            self._metrics |= event["values"]
        if event["event"] != "progress" or not event["total"] or self._failed:
            return
        done, total = event["done"], event["total"]
        if done < total and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _SECONDS_BETWEEN
        told = [f"{self._step}: {done:,} of {total:,} {event['what']}", *figures_of(self._metrics)]
        try:
            self._show(100 * done / total, "\n\n".join(told))
        except (PrefectException, httpx.HTTPError) as error:
            self._failed = True
            get_run_logger().warning("the progress on this page is no longer told (%s); %s goes on", error, self._step)

    def _show(self, percent: float, description: str) -> None:
        if self._artifact is None:
            created = create_progress_artifact(percent, key=self._key, description=description)
            self._artifact = created if isinstance(created, UUID) else None
        else:
            update_progress_artifact(self._artifact, percent, description=description)
