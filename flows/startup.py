"""Brings the whole house up: servers, deployments, worker. Doing it twice does nothing the second time."""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from components.errors import ServiceError
from components.settings import Settings
from flows.databases import database_place
from flows.open_runs import close_lost_runs, skip_missed_runs
from flows.services import (
    Say,
    ServiceStatus,
    describe_services,
    prefect_environment,
    services_dir,
    start_servers,
    start_worker,
)

_REGISTER_SECONDS = 180


def start_everything(settings: Settings, say: Say) -> None:
    """Start what does not run and register what changed; ServiceError when something does not come up."""
    start_servers(settings, say)
    if _registered_digest(settings) != _deployments_digest(settings):
        _register_deployments(settings, say)
    now = datetime.now(UTC)
    _tell(say, close_lost_runs(settings, now, has_worker=_worker_runs(settings)), "had lost their process, closed")
    if not _worker_runs(settings):
        _tell(say, skip_missed_runs(settings, now), "were missed, not made up for")
    start_worker(settings, say)


def _tell(say: Say, num_runs: int, what: str) -> None:
    if num_runs:
        say(f"Prefect runs: {num_runs} {what}")


def _worker_runs(settings: Settings) -> bool:
    return any(s.name == "worker" and s.status is ServiceStatus.RUNNING for s in describe_services(settings))


def _register_deployments(settings: Settings, say: Say) -> None:
    digest = _deployments_digest(settings)
    done = subprocess.run(
        (sys.executable, "-m", "flows.deployments"),
        cwd=settings.workspace,
        env=os.environ | settings.environment() | prefect_environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_REGISTER_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceError(f"the deployments cannot be registered: {(done.stdout or done.stderr).strip()[-2000:]}")
    say(done.stdout.strip())
    _stamp(settings).write_text(digest)


def _registered_digest(settings: Settings) -> str | None:
    stamp = _stamp(settings)
    return stamp.read_text() if stamp.exists() else None


def _deployments_digest(settings: Settings) -> str:
    """Of all that decides what is registered, and where: the file, flows and forms, the interpreter, the database."""
    digest = hashlib.sha256(f"{sys.executable}\0{database_place(settings)}".encode())
    for path in [settings.workspace / "prefect.yaml", *sorted(Path(__file__).parent.glob("*.py"))]:
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def _stamp(settings: Settings) -> Path:
    return services_dir(settings) / "deployments.sha256"
