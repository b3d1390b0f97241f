"""Two replicas prepare one database, with a real PostgreSQL and the very command of the manifests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from k8s.in_turn import main
from tests.k8s.rendered import OVERLAYS, of_kind, rendered
from tests.postgres_server import PostgresServer, private_postgres, system_programs

VARIABLE = "MLFLOW_BACKEND_STORE_URI"
IN_TURN = (sys.executable, "-m", "k8s.in_turn", VARIABLE)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    programs = system_programs()
    if programs is None:
        pytest.skip("no PostgreSQL is installed: apt install postgresql")
    with private_postgres(programs) as server:
        server.query("postgres", "CREATE DATABASE mlflow")
        yield server


def address(server: PostgresServer) -> str:
    return f"{server.url}/mlflow".replace("postgresql://", "postgresql+psycopg://")


def init_container(overlay: str) -> dict[str, Any]:
    spec = of_kind(rendered(overlay), "Deployment")["starloom-platform/mlflow"]["spec"]["template"]["spec"]
    (container,) = spec["initContainers"]
    return container


def start(command: list[str], url: str, directory: Path) -> subprocess.Popen[str]:
    environment = os.environ | {VARIABLE: url, "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(directory)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_replica_of_mlflow_waits_for_the_tables(overlay: str) -> None:
    container = init_container(overlay)
    assert container["command"][:4] == ["python", "-m", "k8s.in_turn", VARIABLE]
    spec = of_kind(rendered(overlay), "Deployment")["starloom-platform/mlflow"]["spec"]["template"]["spec"]
    (server,) = [one for one in spec["containers"] if one["name"] == "mlflow"]
    given = [next(one for one in of["env"] if one["name"] == VARIABLE) for of in (container, server)]
    assert given[0] == given[1]
    assert container["image"] == server["image"]


def test_two_replicas_on_an_empty_database_both_find_it_ready(postgres: PostgresServer, tmp_path: Path) -> None:
    """Without the lock one of two failed in each of three tries."""
    url = address(postgres)
    command = [sys.executable if word == "python" else word for word in init_container("production")["command"]]
    command = [word.replace(f"$({VARIABLE})", url) for word in command]  # as Kubernetes does
    replicas = [start(command, url, tmp_path) for _ in range(2)]
    told = [one.communicate(timeout=120)[0] for one in replicas]
    assert [one.returncode for one in replicas] == [0, 0], told
    assert postgres.query("mlflow", "SELECT count(*) FROM alembic_version") == [(1,)]
    assert postgres.query("mlflow", "SELECT count(*) > 20 FROM information_schema.tables WHERE table_schema='public'")[
        0
    ] == (True,)


def test_a_second_one_begins_when_the_first_has_ended(postgres: PostgresServer, tmp_path: Path) -> None:
    """The first ends only when it has seen the second wait, in PostgreSQL's own list of locks."""
    script = (
        "import os, psycopg, sys, time\n"
        "place, name = sys.argv[1:]\n"
        "first = os.open(place, os.O_CREAT | os.O_WRONLY | os.O_APPEND)\n"
        "os.write(first, f'{name} begins\\n'.encode())\n"
        "url = os.environ['MLFLOW_BACKEND_STORE_URI'].replace('+psycopg', '')\n"
        "waiting = \"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted\"\n"
        "with psycopg.connect(url, autocommit=True) as database:\n"
        "    while os.stat(place).st_size < 20 and not database.execute(waiting).fetchone()[0]:\n"
        "        time.sleep(0.01)\n"
        "os.write(first, f'{name} ends\\n'.encode())\n"
    )
    place = tmp_path / "said"
    command = [*IN_TURN, sys.executable, "-c", script, str(place)]
    started = [start([*command, name], address(postgres), tmp_path) for name in ("one", "two")]
    told = [one.communicate(timeout=60)[0] for one in started]
    assert [one.returncode for one in started] == [0, 0], told
    lines = place.read_text().split("\n")[:-1]
    assert sorted(lines) == ["one begins", "one ends", "two begins", "two ends"]
    assert lines[0].split()[0] == lines[1].split()[0]


def test_the_exit_code_is_the_commands(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, address(postgres))
    assert main([VARIABLE, sys.executable, "-c", "raise SystemExit(7)"]) == 7


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "usage: python -m k8s.in_turn VARIABLE COMMAND..."),
        ([VARIABLE], "usage: python -m k8s.in_turn"),
        (["STARLOOM_NOT_SET", "true"], "STARLOOM_NOT_SET is not set"),
    ],
)
def test_what_is_missing_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(told)


def test_a_database_that_is_away_is_one_sentence_without_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql+psycopg://app:topsecret@127.0.0.1:1/mlflow"
    monkeypatch.setenv(VARIABLE, url)
    assert main([VARIABLE, "true"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"the database of {VARIABLE} does not answer: ")
    assert said.count("\n") == 1
    assert urlsplit(url).password not in said
