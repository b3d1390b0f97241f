import json
import os
import socket
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from components.errors import ServiceError
from components.settings import Settings
from flows.ports import is_free
from flows.services import (
    ServiceStatus,
    describe_services,
    prefect_environment,
    servers,
    services_dir,
    start_servers,
    stop_services,
)

MEBIBYTE = 2**20


def settings_at(place: Path) -> Settings:
    return Settings(workspace=place, prefect_port=4200, mlflow_port=5000)


def test_the_servers_listen_on_this_machine_only_and_tell_nobody(tmp_path: Path):
    prefect, mlflow = servers(settings_at(tmp_path))
    for server in (prefect, mlflow):
        assert server.command[server.command.index("--host") + 1] == "127.0.0.1"
        assert server.environment["DO_NOT_TRACK"] in ("1", "true")
    assert prefect.environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert prefect.environment["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] == "false"
    assert mlflow.environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_settings_made_for_other_servers_do_not_reach_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://elsewhere")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql://elsewhere")
    prefect, mlflow = servers(settings_at(tmp_path))
    assert "PREFECT_API_KEY" not in prefect.environment
    assert "PREFECT_API_DATABASE_CONNECTION_URL" not in prefect.environment
    assert mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///mlflow.db"


def test_what_prefect_keeps_lies_in_the_workspace(tmp_path: Path):
    home = Path(prefect_environment(settings_at(tmp_path))["PREFECT_HOME"])
    assert home.is_relative_to(tmp_path / ".starloom")


def test_clients_reach_the_servers_past_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    environment = prefect_environment(settings_at(tmp_path))
    assert environment["NO_PROXY"] == environment["no_proxy"] == "intranet.example,127.0.0.1,localhost"
    monkeypatch.setenv("no_proxy", environment["no_proxy"])
    assert prefect_environment(settings_at(tmp_path))["no_proxy"] == environment["no_proxy"]


def test_before_the_first_start_every_service_is_stopped(tmp_path: Path):
    states = describe_services(settings_at(tmp_path))
    assert [state.name for state in states] == ["prefect", "mlflow", "worker"]
    assert {state.status for state in states} == {ServiceStatus.STOPPED}


def test_stopping_what_never_ran_says_so(tmp_path: Path):
    said: list[str] = []
    stop_services(settings_at(tmp_path), said.append)
    assert said == [f"{title}: was not running" for title in ("Prefect worker", "Prefect server", "MLflow server")]


def test_a_taken_port_is_told_with_its_holder_and_the_mend(other_settings: Settings):
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", other_settings.mlflow_port))
        stranger.listen()
        with pytest.raises(ServiceError) as caught:
            start_servers(other_settings, lambda text: None)
    sentence = str(caught.value)
    assert f"port {other_settings.mlflow_port}, which the MLflow server needs, is in use by" in sentence
    assert f"process {os.getpid()}" in sentence
    assert "STARLOOM_MLFLOW_PORT=" in sentence
    assert {state.status for state in describe_services(other_settings)} == {ServiceStatus.STOPPED}


def test_a_note_of_a_process_that_is_gone_does_not_harm_who_has_its_id_now(other_settings: Settings):
    note = services_dir(other_settings) / "worker.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"pid": os.getpid(), "birth": psutil.Process().create_time() - 3600}))
    said: list[str] = []
    stop_services(other_settings, said.append)
    assert said[0] == "Prefect worker: was not running"
    assert not note.exists()


def test_the_house_is_up(house: Any):
    states = {state.name: state for state in describe_services(house.settings)}
    assert {state.status for state in states.values()} == {ServiceStatus.RUNNING}
    assert all(state.pid and state.log.exists() for state in states.values())
    assert states["mlflow"].memory_bytes < 1000 * MEBIBYTE
    assert httpx.get(f"http://127.0.0.1:{house.settings.prefect_port}/").status_code == 200
    assert httpx.get(house.settings.mlflow_url).status_code == 200


def test_mlflow_keeps_runs_and_files_in_the_workspace(house: Any):
    api = f"{house.settings.mlflow_url}/api/2.0/mlflow"
    experiment = httpx.post(f"{api}/experiments/create", json={"name": "probe"}).json()["experiment_id"]
    run = httpx.post(f"{api}/runs/create", json={"experiment_id": experiment}).json()["run"]["info"]
    assert run["artifact_uri"].startswith("mlflow-artifacts:/")
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    files = f"{house.settings.mlflow_url}/api/2.0/mlflow-artifacts/artifacts"
    assert httpx.put(f"{files}/{path}/note.txt", content=b"warp and weft").status_code == 200
    kept = services_dir(house.settings) / "mlflow_artifacts" / path / "note.txt"
    assert kept.read_bytes() == b"warp and weft"


def test_a_page_from_elsewhere_may_not_read_or_start_anything(house: Any):
    url = f"{house.settings.prefect_api_url}/deployments/{house.deployment('greet')['id']}/create_flow_run"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    stranger = httpx.options(url, headers={"Origin": "http://evil.example", **asked})
    assert "access-control-allow-origin" not in stranger.headers
    # What a browser sends without asking first: no content type at all.
    assert httpx.post(url, content=b"{}", headers={"Origin": "http://evil.example"}).status_code == 403
    ours = f"http://localhost:{house.settings.prefect_port}"
    assert httpx.options(url, headers={"Origin": ours, **asked}).headers["access-control-allow-origin"] == ours


def test_a_run_cannot_choose_its_command(house: Any, tmp_path: Path):
    trace = tmp_path / "trace"
    path = f"deployments/{house.deployment('greet')['id']}/create_flow_run"
    answer = house.ask("POST", path, {"job_variables": {"command": f"touch {trace}", "working_dir": str(tmp_path)}})
    if answer.is_success:
        house.run_in(answer.json()["id"], "COMPLETED", "FAILED", "CRASHED")
    assert not trace.exists()


def test_a_run_from_the_web_page_is_taken_by_the_worker_and_completes(house: Any):
    answer = house.trigger("greet", {"request": {"whom": "weaver"}})
    assert answer.status_code == 201
    run = house.run_in(answer.json()["id"], "COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    assert run["state_type"] == "COMPLETED"
    greeting = json.loads((house.settings.workspace / "greeting.json").read_text())
    assert greeting["whom"] == "weaver"
    assert greeting["cwd"] == str(house.settings.workspace)
    assert greeting["environment"]["STARLOOM_WORKSPACE"] == str(house.settings.workspace)
    assert greeting["environment"]["STARLOOM_TRACKING_URI"] == house.settings.mlflow_url


def test_a_cancelled_run_ends_the_processes_it_started(house: Any):
    note = house.settings.workspace / "work_long.pid"
    note.unlink(missing_ok=True)
    run_id = house.trigger("work-long", {}).json()["id"]
    child = psutil.Process(int(house.until(lambda: note.exists() and note.read_text(), 60)))
    house.ask("POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
    house.run_in(run_id, "CANCELLED")
    house.until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 20)


def test_a_training_that_cannot_start_is_refused_before_its_first_step(house: Any):
    unfit = house.settings.workspace / "unfit.yaml"
    unfit.write_text("base: params.yaml\npretrain: {start_from: models/none}\n")
    run_id = house.trigger("train-code-model", {"request": {"params_file": unfit.name}}).json()["id"]
    run = house.run_in(run_id, "COMPLETED", "FAILED", "CRASHED")
    assert "SourceError" in run["state"]["message"]
    assert "models/none holds no config.json" in run["state"]["message"]
    assert house.ask("POST", "task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}}).json() == []


def test_a_mistake_of_a_person_reaches_the_page_of_the_run_as_one_sentence(house: Any):
    run_id = house.trigger("rollback-data", {"request": {"version": "v7"}}).json()["id"]
    run = house.run_in(run_id, "COMPLETED", "FAILED", "CRASHED")
    assert run["state_type"] == "FAILED"
    assert "VersioningError" in run["state"]["message"]
    logs = house.until(lambda: house.ask("POST", "logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}}).json())
    assert not any("Traceback" in line["message"] for line in logs)


@pytest.mark.slow
def test_a_server_that_cannot_start_is_told_and_after_the_mend_the_house_comes_up_and_down_whole(
    other_settings: Settings,
):
    database = services_dir(other_settings) / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this is no database" * 1000)
    with pytest.raises(
        ServiceError, match=r"(?s)MLflow server ended at its start; the end of .*mlflow\.log:\n.*database"
    ):
        start_servers(other_settings, lambda text: None)

    database.unlink()
    said: list[str] = []
    start_servers(other_settings, said.append)
    assert said[0].startswith("Prefect server: running already")
    assert said[1].startswith("MLflow server: started")
    assert (services_dir(other_settings) / "prefect_home" / "prefect.db").exists()

    family = [
        process
        for state in describe_services(other_settings)
        if state.pid
        for process in [psutil.Process(state.pid), *psutil.Process(state.pid).children(recursive=True)]
    ]
    assert len(family) >= 3
    said.clear()
    stop_services(other_settings, said.append)
    assert said == ["Prefect worker: was not running", "Prefect server: stopped", "MLflow server: stopped"]
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    assert is_free(other_settings.prefect_port)
    assert is_free(other_settings.mlflow_port)
