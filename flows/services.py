"""The embedded services: a Prefect server, an MLflow server and one Prefect worker, on this machine only.

They are plain child processes that outlive the command which started them. Everything they keep lies under
`.starloom/services` of the workspace; nothing of the person's own Prefect or MLflow configuration reaches them.
"""

import os
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

from components.errors import ServiceError
from components.settings import DATABASE_VARIABLE, Settings
from components.store import storage_errors_told
from components.workspace import LOCK_HOLDER_VARIABLE
from flows.databases import databases_of
from flows.detached_process import DetachedProcess, find_detached, log_tail, start_detached
from flows.ports import ask, holder, is_free, next_free, post_to_prefect

WORK_POOL = "local"
WORKER_NAME = "local"

_READY_SECONDS = 180.0
"""Bound of a start. A quiet machine of two cores needs about ten seconds; a loaded one has needed sixty."""
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Server:
    """A service that listens on a port."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    port_variable: str
    health_path: str


class ServiceStatus(Enum):
    """What can be said of a service."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ServiceState:
    """One service as it is now."""

    name: str
    title: str
    status: ServiceStatus
    pid: int | None
    url: str | None
    memory_bytes: int
    log: Path


def services_dir(settings: Settings) -> Path:
    """Where the services keep their databases, logs and notes."""
    return settings.state_dir / "services"


def prefect_environment(settings: Settings) -> dict[str, str]:
    """What makes any process speak to the embedded Prefect server, and to nobody else.

    It must stand in the environment before prefect is imported: the import itself may tell its makers otherwise.
    """
    past_the_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if "127.0.0.1" not in past_the_proxy:
        past_the_proxy = ",".join(filter(None, (past_the_proxy, "127.0.0.1", "localhost")))
    return {
        "PREFECT_HOME": str(services_dir(settings) / "prefect_home"),
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": past_the_proxy,
        "no_proxy": past_the_proxy,
    }


def servers(settings: Settings) -> tuple[Server, Server]:
    """The two servers as they are started; nothing is touched."""
    python, databases = sys.executable, databases_of(settings)
    prefect_port, mlflow_port = str(settings.prefect_port), str(settings.mlflow_port)
    origins = f"http://127.0.0.1:{prefect_port},http://localhost:{prefect_port}"
    prefect = Server(
        name="prefect",
        title="Prefect server",
        command=(python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", prefect_port),
        environment=_environment_without("PREFECT_")
        | prefect_environment(settings)
        | {
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(services_dir(settings) / "prefect_home" / "ui"),
            # Else any web page that is open in a browser here could start runs, with a command of its own.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        }
        | databases.prefect,
        port=settings.prefect_port,
        port_variable="STARLOOM_PREFECT_PORT",
        health_path="/api/health",
    )
    mlflow = Server(
        name="mlflow",
        title="MLflow server",
        command=(
            *(python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", mlflow_port),
            # Relative: the server runs in services_dir, whose path may hold what a URL cannot.
            *("--workers", "1", "--artifacts-destination", "mlflow_artifacts"),
        ),
        environment=_environment_without("MLFLOW_")
        | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # four job runners cost 1.4 GB
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        | databases.mlflow,
        port=settings.mlflow_port,
        port_variable="STARLOOM_MLFLOW_PORT",
        health_path="/health",
    )
    return prefect, mlflow


def start_servers(settings: Settings, say: Say) -> None:
    """Start both servers, at once, and return when both answer; those that run already are left alone.

    ServiceError: a port is taken, or a server ended or did not answer in time (with the end of its log).
    """
    with _starting(settings):
        pending = [server for server in servers(settings) if not _runs_already(server, settings, say)]
        for server in pending:
            _refuse_taken_port(server)
        for server in pending:
            _start_server(server, settings)
        for server in pending:
            _await(server.title, _note(server.name, settings), settings, lambda server=server: _answers(server))
            say(f"{server.title}: started, http://127.0.0.1:{server.port}")


def start_worker(settings: Settings, say: Say) -> None:
    """Start the worker of the pool `local`, which must exist, and return when the server has heard of it.

    It takes one run at a time, because a workspace has one run at a time.
    """
    with _starting(settings):
        note = _note("worker", settings)
        found = find_detached(note)
        if found is not None and found.is_running():
            say("Prefect worker: running already")
            return
        _forget(found, note)
        started = datetime.now(UTC)
        start_detached(
            (
                *(sys.executable, "-m", "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process"),
                *("--name", WORKER_NAME, "--limit", "1", "--install-policy", "never"),
            ),
            environment=_worker_environment(settings),
            working_dir=settings.workspace,
            log=_log("worker", settings),
            note=note,
        )
        _await("Prefect worker", note, settings, lambda: _worker_heard(settings, started))
        say("Prefect worker: started")


def stop_services(settings: Settings, say: Say) -> None:
    """Stop the worker with the run it is at, then the servers, each with all it started. What is not ours stays."""
    for name, title in (("worker", "Prefect worker"), *((server.name, server.title) for server in servers(settings))):
        note = _note(name, settings)
        found = find_detached(note)
        was_alive = found is not None and bool(found.processes())
        _forget(found, note)
        say(f"{title}: {'stopped' if was_alive else 'was not running'}")


def describe_services(settings: Settings) -> tuple[ServiceState, ...]:
    """Every service as it is now; starts and stops nothing."""
    described = [
        _describe(server.name, server.title, f"http://127.0.0.1:{server.port}", settings, _answers(server))
        for server in servers(settings)
    ]
    return (*described, _describe("worker", "Prefect worker", None, settings, answers=True))


def _describe(name: str, title: str, url: str | None, settings: Settings, answers: bool) -> ServiceState:
    found = find_detached(_note(name, settings))
    if found is None or not found.is_running():
        return ServiceState(name, title, ServiceStatus.STOPPED, None, url, 0, _log(name, settings))
    status = ServiceStatus.RUNNING if answers else ServiceStatus.STARTING
    return ServiceState(name, title, status, found.pid, url, found.memory_bytes(), _log(name, settings))


def _worker_environment(settings: Settings) -> dict[str, str]:
    environment = _environment_without("PREFECT_") | settings.environment() | prefect_environment(settings)
    environment.setdefault("STARLOOM_TRACKING_URI", settings.mlflow_url)
    environment.pop(LOCK_HOLDER_VARIABLE, None)
    environment.pop(DATABASE_VARIABLE, None)  # runs speak to the servers, never to their database
    return environment | {"PREFECT_WORKER_QUERY_SECONDS": "2"}  # a click in the web page is answered in seconds


def _environment_without(prefix: str) -> dict[str, str]:
    """Our environment less one tool's variables: its embedded service must not follow settings made for another."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}


@contextmanager
def _starting(settings: Settings) -> Generator[None]:
    """One start at a time: the second one waits, and then finds the services running."""
    directory = services_dir(settings)
    with storage_errors_told(directory):
        (directory / "mlflow_artifacts").mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / "start.lock", timeout=2 * _READY_SECONDS)
        try:
            lock.acquire()
        except Timeout:
            raise ServiceError(f"another start of the services in {directory} does not come to its end") from None
    try:
        yield
    finally:
        lock.release()


def _runs_already(server: Server, settings: Settings, say: Say) -> bool:
    """Ours, alive and answering. What is left of one that lost its leader is ended."""
    note = _note(server.name, settings)
    found = find_detached(note)
    if found is None or not found.is_running():
        _forget(found, note)
        return False
    _await(server.title, note, settings, lambda: _answers(server))
    say(f"{server.title}: running already, http://127.0.0.1:{server.port}")
    return True


def _forget(found: DetachedProcess | None, note: Path) -> None:
    if found is not None:
        found.stop(_STOP_SECONDS)
    note.unlink(missing_ok=True)


def _start_server(server: Server, settings: Settings) -> None:
    start_detached(
        server.command,
        environment=server.environment,
        working_dir=services_dir(settings),
        log=_log(server.name, settings),
        note=_note(server.name, settings),
    )


def _await(title: str, note: Path, settings: Settings, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not is_ready():
        found = find_detached(note)
        if found is None or not found.is_running():
            fault = "ended at its start"
        elif time.monotonic() > deadline:
            fault = f"did not answer within {_READY_SECONDS:.0f} seconds"
        else:
            time.sleep(_POLL_SECONDS)
            continue
        _forget(found, note)
        log = _log(note.stem, settings)
        raise ServiceError(f"{title} {fault}; the end of {log}:\n{log_tail(log)}")


def _answers(server: Server) -> bool:
    return ask(server.port, "GET", server.health_path) is not None


def _worker_heard(settings: Settings, since: datetime) -> bool:
    """Whether the worker has reported to the server after `since`."""
    workers = post_to_prefect(settings.prefect_port, f"work_pools/{WORK_POOL}/workers/filter", {}) or []
    heard = [worker["last_heartbeat_time"] for worker in workers if worker["name"] == WORKER_NAME]
    return any(datetime.fromisoformat(moment) >= since for moment in heard if moment)


def _refuse_taken_port(server: Server) -> None:
    if not is_free(server.port):
        raise ServiceError(
            f"port {server.port}, which the {server.title} needs, is in use by {holder(server.port)}; "
            f"stop that, or choose another port: {server.port_variable}={next_free(server.port)}"
        )


def _note(name: str, settings: Settings) -> Path:
    return services_dir(settings) / f"{name}.json"


def _log(name: str, settings: Settings) -> Path:
    return services_dir(settings) / f"{name}.log"
