"""Runs that the server believes open and that nobody will end: closed when the house comes up.

The server only knows what it was told. A machine that slept, a power cut or a `kill -9` tells it nothing.
"""

from datetime import datetime, timedelta
from typing import Any

from components.errors import WorkspaceBusyError
from components.settings import Settings
from components.workspace import exclusive
from flows.ports import post_to_prefect
from flows.services import WORK_POOL

_JUST_BEGUN = timedelta(seconds=10)
"""A run is open for a moment before it holds the workspace."""


def skip_missed_runs(settings: Settings, now: datetime) -> int:
    """Cancel the runs that the clock was to start while no worker was there; returns how many.

    Else every night that the machine slept would be made up for at once, and hold the workspace meanwhile.
    """
    runs = _runs(settings, ["SCHEDULED"], now)
    missed = [run for run in runs if run["auto_scheduled"]]
    return _end(settings, missed, "CANCELLED", "Missed: no worker was running.")


def close_lost_runs(settings: Settings, now: datetime, *, has_worker: bool) -> int:
    """Mark the runs as crashed whose process is gone; returns how many.

    A run at work holds the workspace, so while it is free none is. The runs of a living worker are left to it.
    """
    try:
        with exclusive(settings, "look for lost runs"):
            runs = _runs(settings, ["PENDING", "RUNNING", "CANCELLING"], now - _JUST_BEGUN)
            lost = [run for run in runs if not (has_worker and run["work_pool_name"] == WORK_POOL)]
            return _end(settings, lost, "CRASHED", "Lost: the process that ran it is gone.")
    except WorkspaceBusyError:
        return 0


def _runs(settings: Settings, states: list[str], before: datetime) -> list[dict[str, Any]]:
    wanted = {"state": {"type": {"any_": states}}, "expected_start_time": {"before_": before.isoformat()}}
    return post_to_prefect(settings.prefect_port, "flow_runs/filter", {"flow_runs": wanted}) or []


def _end(settings: Settings, runs: list[dict[str, Any]], state: str, message: str) -> int:
    body = {"state": {"type": state, "message": message}, "force": True}
    for run in runs:
        post_to_prefect(settings.prefect_port, f"flow_runs/{run['id']}/set_state", body)
    return len(runs)
