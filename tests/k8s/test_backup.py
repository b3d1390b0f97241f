"""Backups: dumped by the very command of the CronJob from a real PostgreSQL, stored, fetched, restored."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pgserver
import pytest

from k8s.backup import BackupError, fetch, main, store
from tests.k8s.rendered import K8S, of_kind, rendered
from tests.model.s3_server import S3Server, s3_server

NOW = datetime(2026, 11, 26, 2, 15, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        running.client.create_bucket(Bucket="backups")
        yield running
        running.stop()


@pytest.fixture(autouse=True)
def _speak_to_it(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / "prefect.dump").write_bytes(b"runs")
    (tmp_path / "dumps" / "mlflow.dump").write_bytes(b"models")
    return tmp_path / "dumps"


def test_what_is_stored_comes_back(dumps: Path, tmp_path: Path):
    url = store(dumps, "s3://backups/whole", NOW)
    assert url == "s3://backups/whole/20261126T021500Z"
    files = fetch(url, tmp_path / "back")
    assert [path.name for path in files] == ["mlflow.dump", "prefect.dump"]
    assert (tmp_path / "back" / "prefect.dump").read_bytes() == b"runs"


def test_a_backup_is_never_overwritten(dumps: Path):
    store(dumps, "s3://backups/once", NOW)
    with pytest.raises(BackupError, match="was not stored"):
        store(dumps, "s3://backups/once", NOW)


def test_a_damaged_file_is_told(dumps: Path, tmp_path: Path, server: S3Server):
    url = store(dumps, "s3://backups/damaged", NOW)
    server.client.put_object(Bucket="backups", Key="damaged/20261126T021500Z/mlflow.dump", Body=b"modelz")
    with pytest.raises(BackupError, match=r"mlflow\.dump of .* is damaged"):
        fetch(url, tmp_path / "back")


def test_a_backup_that_was_never_finished_is_none(dumps: Path, tmp_path: Path, server: S3Server):
    server.client.put_object(Bucket="backups", Key="half/20261126T021500Z/mlflow.dump", Body=b"mod")
    with pytest.raises(BackupError, match="as a whole backup"):
        fetch("s3://backups/half/20261126T021500Z", tmp_path / "back")


def test_the_command_says_in_one_sentence_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    for arguments, why in (
        (["store", str(tmp_path / "empty"), "s3://backups/x"], "nothing to back up"),
        (["fetch", "http://backups/x", str(tmp_path)], "no address in an object store"),
        (["store"], "usage:"),
    ):
        assert main(arguments) == 2
        assert why in capsys.readouterr().err


def test_the_backup_of_the_cron_job_restores_a_real_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    binaries = Path(pgserver.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    database = pgserver.get_server(tmp_path / "pg", cleanup_mode="delete")
    try:
        roles = (K8S / "parts" / "postgres" / "databases.sh").read_text()
        passwords = {f"{name}_PASSWORD": f"pa'ss {name}" for name in ("PREFECT", "MLFLOW", "BACKUP")}
        (socket,) = parse_qs(urlparse(database.get_uri()).query)["host"]
        host = {"PGHOST": socket}
        subprocess.run(["sh", "-c", roles], env=os.environ | passwords | host, check=True, capture_output=True)

        def address(role: str, name: str) -> str:
            return f"postgresql://{role}@/{name}?host={socket}"

        def ask(role: str, name: str, query: str) -> str:
            done = subprocess.run(
                ["psql", "-At", "-v", "ON_ERROR_STOP=1", address(role, name), "-c", query],
                capture_output=True,
                text=True,
                check=False,
            )
            return done.stdout.strip() or done.stderr

        ask("prefect", "prefect", "CREATE TABLE flow_run AS SELECT 1 AS id, 'gräßlich' AS name")
        ask("mlflow", "mlflow", "CREATE TABLE model_versions AS SELECT generate_series(1, 1000) AS version")
        assert "permission denied" in ask("backup", "prefect", "INSERT INTO flow_run VALUES (2, 'no')")
        assert "permission denied" in ask("mlflow", "prefect", "SELECT 1")

        pod = of_kind(rendered("production"), "CronJob")["starloom-platform/backup"]["spec"]["jobTemplate"]["spec"][
            "template"
        ]
        (dump,) = pod["spec"]["initContainers"]
        (tmp_path / "backup").mkdir()
        program = dump["command"][-1].replace("/backup/", f"{tmp_path}/backup/")
        urls = {"PREFECT_DATABASE": address("backup", "prefect"), "MLFLOW_DATABASE": address("backup", "mlflow")}
        subprocess.run([*dump["command"][:-1], program], env=os.environ | urls, check=True, capture_output=True)
        url = store(tmp_path / "backup", "s3://backups/postgresql", NOW)
        shutil.rmtree(tmp_path / "backup")

        ask("prefect", "prefect", "DROP TABLE flow_run")
        ask("mlflow", "mlflow", "DELETE FROM model_versions")
        for path in fetch(url, tmp_path / "back"):
            role = path.stem
            subprocess.run(
                [
                    "pg_restore",
                    "--clean",
                    "--if-exists",
                    "--no-owner",
                    "--exit-on-error",
                    f"--dbname={address(role, role)}",
                    path,
                ],
                check=True,
                capture_output=True,
            )
        assert ask("prefect", "prefect", "SELECT name FROM flow_run") == "gräßlich"
        assert ask("mlflow", "mlflow", "SELECT count(*) FROM model_versions") == "1000"
    finally:
        database.cleanup()
