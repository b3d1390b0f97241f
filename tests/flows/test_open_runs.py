from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.schedules import IntervalSchedule

from components.workspace import LOCK_HOLDER_VARIABLE, exclusive
from flows.open_runs import close_lost_runs, skip_missed_runs


@pytest.fixture
def lost_run(house: Any) -> str:
    """A run without a deployment that nobody executes, an hour old as far as the server was told."""
    flow = house.ask("POST", "flows/", {"name": "lost"}).json()["id"]
    run = house.ask("POST", "flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}}).json()["id"]
    assert house.ask("GET", f"flow_runs/{run}").json()["state_type"] == "RUNNING"
    return run


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def state_of(house: Any, run_id: str) -> str:
    return house.ask("GET", f"flow_runs/{run_id}").json()["state_type"]


def test_a_run_whose_process_is_gone_is_closed(house: Any, lost_run: str):
    assert close_lost_runs(house.settings, soon(), has_worker=True) >= 1
    assert state_of(house, lost_run) == "CRASHED"
    assert close_lost_runs(house.settings, soon(), has_worker=True) == 0


def test_a_run_that_has_just_begun_is_left_alone(house: Any, lost_run: str):
    close_lost_runs(house.settings, datetime.now(UTC), has_worker=True)
    assert state_of(house, lost_run) == "RUNNING"


def test_while_a_run_holds_the_workspace_none_is_closed(house: Any, lost_run: str, monkeypatch: pytest.MonkeyPatch):
    with exclusive(house.settings, "a run at work"):
        monkeypatch.delenv(LOCK_HOLDER_VARIABLE)  # as if another process asked
        assert close_lost_runs(house.settings, soon(), has_worker=True) == 0
    assert state_of(house, lost_run) == "RUNNING"


def test_the_runs_of_a_living_worker_are_left_to_it(house: Any):
    run = house.trigger("greet", {}).json()["id"]
    close_lost_runs(house.settings, soon(), has_worker=True)
    assert house.run_in(run, "COMPLETED", "FAILED", "CRASHED")["state_type"] == "COMPLETED"


def test_runs_that_nobody_could_take_are_not_made_up_for(house: Any):
    now = datetime.now(UTC)
    with SyncPrefectClient(house.settings.prefect_api_url) as client:
        deployment_id = client.create_deployment(
            flow_id=client.create_flow_from_name("asleep"),
            name="asleep",
            schedules=[],
        )
        start = now - timedelta(days=3) + timedelta(hours=1)
        client.create_deployment_schedules(
            deployment_id, [(IntervalSchedule(interval=timedelta(days=1), anchor_date=start), True)]
        )
        window = {"start_time": start.isoformat(), "end_time": (now + timedelta(days=4)).isoformat(), "min_runs": 5}
        assert house.ask("POST", f"deployments/{deployment_id}/schedule", window).is_success
        due = [run for run in house.runs("asleep") if datetime.fromisoformat(run["expected_start_time"]) < now]
        assert len(due) == 3
        assert skip_missed_runs(house.settings, now) == 3
        assert skip_missed_runs(house.settings, now) == 0
        states = {run["id"]: run["state_type"] for run in house.runs("asleep")}
        assert {states[run["id"]] for run in due} == {"CANCELLED"}
        assert "SCHEDULED" in states.values()
        client.delete_deployment(deployment_id)
