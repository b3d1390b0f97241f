"""The servers on PostgreSQL instead of SQLite: a private one, and one that the environment names. Seconds: below 60."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from components.settings import Settings
from flows.databases import MLFLOW_DATABASE, PREFECT_DATABASE, database_place, databases_of
from flows.services import services_dir, stop_services
from flows.startup import start_everything
from tests.flows.conftest import House, new_workspace
from tests.postgres_server import PostgresServer, live_postgres, private_postgres, system_programs


def settings_with(url: str) -> Settings:
    return Settings(workspace=Path("/workspace"), database_url=SecretStr(url))


def test_each_server_has_a_database_of_its_own() -> None:
    databases = databases_of(settings_with("postgresql://app:p%40ss@db.example:5433?sslmode=verify-full"))
    assert databases.prefect == {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            "postgresql+asyncpg://app:p%40ss@db.example:5433/starloom_prefect?ssl=verify-full"
        )
    }
    assert databases.mlflow == {
        "MLFLOW_BACKEND_STORE_URI": (
            "postgresql+psycopg://app:p%40ss@db.example:5433/starloom_mlflow?sslmode=verify-full"
        )
    }


def test_the_place_of_a_database_tells_no_password() -> None:
    assert database_place(settings_with("postgresql://app:secret@db.example:5433")) == "db.example:5433"
    assert database_place(Settings(workspace=Path("/workspace"))) == ""


@pytest.fixture(scope="module", params=["private", pytest.param("live", marks=pytest.mark.pg_live)])
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server with two empty databases, or one whose databases are there."""
    if request.param == "private":
        programs = system_programs()
        if programs is None:
            pytest.skip("no /usr/lib/postgresql: install Debian's postgresql, or set STARLOOM_TEST_DATABASE_URL")
        with private_postgres(programs) as server:
            for database in (PREFECT_DATABASE, MLFLOW_DATABASE):
                server.query("postgres", f"CREATE DATABASE {database}")
            yield server
        return
    server = live_postgres()
    if server is None:
        pytest.skip("no PostgreSQL server: set STARLOOM_TEST_DATABASE_URL to postgresql://USER:PASSWORD@HOST:PORT")
    yield server


@pytest.fixture(scope="module")
def house_on_postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = new_workspace(tmp_path_factory.mktemp("house") / "on postgres")
    settings = settings.model_copy(update={"database_url": SecretStr(postgres.url)})
    said: list[str] = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STARLOOM_DATABASE_URL", postgres.url)  # as a person's shell has it
            start_everything(settings, said.append)
        yield House(settings, said)
    finally:
        stop_services(settings, said.append)


@pytest.mark.slow
def test_a_run_and_its_metrics_are_kept_and_outlive_a_restart_of_the_database(
    house_on_postgres: House, postgres: PostgresServer
) -> None:
    house, workspace = house_on_postgres, house_on_postgres.settings.workspace
    steps = workspace / "track_long.steps"
    run_id = house.trigger("track-long", {}).json()["id"]
    house.until(lambda: steps.exists() and int(steps.read_text() or 0) >= 5, 60)
    if postgres.programs:
        postgres.stop()
        time.sleep(2)  # so that the run meets a database that is away
        postgres.start()
    before = int(steps.read_text())
    house.until(lambda: int(steps.read_text() or 0) >= before + 5, 60)
    (workspace / "enough").touch()
    assert house.run_in(run_id, "COMPLETED", "FAILED", "CRASHED", "CANCELLED")["state_type"] == "COMPLETED"

    tracked = (workspace / "track_long.run").read_text()
    api, last = f"{house.settings.mlflow_url}/api/2.0/mlflow", int(steps.read_text())
    assert httpx.get(f"{api}/runs/get?run_id={tracked}").json()["run"]["info"]["status"] == "FINISHED"
    rows = postgres.query(
        MLFLOW_DATABASE, "SELECT step FROM metrics WHERE run_uuid = %s AND key = 'loss' ORDER BY step", tracked
    )
    assert [step for (step,) in rows] == list(range(1, last + 1))
    states = postgres.query(PREFECT_DATABASE, "SELECT state_type::text FROM flow_run WHERE id = %s", run_id)
    assert states == [("COMPLETED",)]
    assert not list(services_dir(house.settings).rglob("*.db"))


@pytest.mark.slow
def test_a_deployment_with_a_schedule_gets_its_runs(house_on_postgres: House) -> None:
    def scheduled() -> bool:
        return bool(house_on_postgres.runs("train-code-model", state={"type": {"any_": ["SCHEDULED"]}}))

    assert house_on_postgres.until(scheduled, 60)


@pytest.mark.slow
def test_no_command_line_and_no_log_tells_the_password(house_on_postgres: House, postgres: PostgresServer) -> None:
    secret = postgres.url.partition("://")[2].partition("@")[0].partition(":")[2]
    directory = services_dir(house_on_postgres.settings)
    for log in directory.glob("*.log"):
        assert secret not in log.read_text(errors="replace")
    processes = {
        note.stem: Path("/proc") / str(json.loads(note.read_text())["pid"]) for note in directory.glob("*.json")
    }
    assert sorted(processes) == ["mlflow", "prefect", "worker"]
    assert not any(secret in (process / "cmdline").read_text() for process in processes.values())
    inherited = (processes["worker"] / "environ").read_text().split("\0")  # as its runs have it
    assert not any(variable.startswith("STARLOOM_DATABASE_URL=") for variable in inherited)
