"""One house for all tests of the flows: real servers, real deployments, a real worker, in a workspace of its own."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.settings import Settings
from flows.services import stop_services
from flows.startup import start_everything

REPOSITORY = Path(__file__).parents[2]

TINY_DEPLOYMENTS = """
  - name: greet
    entrypoint: tiny_flows.greet
    work_pool: {name: local}
    enforce_parameter_schema: true

  - name: track-long
    entrypoint: tiny_flows.track_long
    work_pool: {name: local}
    enforce_parameter_schema: true

  - name: work-long
    entrypoint: tiny_flows.work_long
    work_pool: {name: local}
    enforce_parameter_schema: true
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def new_workspace(place: Path) -> Settings:
    """A workspace of its own with the project's files, and services on free ports."""
    place.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "prefect.yaml", "opt_outs.yaml"):
        shutil.copy(REPOSITORY / name, place)
    shutil.copy(Path(__file__).with_name("tiny_flows.py"), place)
    with (place / "prefect.yaml").open("a") as stream:
        stream.write(TINY_DEPLOYMENTS)
    prefect_port, mlflow_port = free_ports(2)
    return Settings(workspace=place.resolve(), prefect_port=prefect_port, mlflow_port=mlflow_port)


@dataclass
class House:
    """The running services of one workspace, spoken to as a browser does."""

    settings: Settings
    said: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One request to Prefect's API, with the token that its web page fetches first.

        A moment's "database is locked" (503) is asked again, as Prefect's own clients do.
        """
        url = f"{self.settings.prefect_api_url}/{path}"
        token = self._unless_busy("GET", f"{self.settings.prefect_api_url}/csrf-token?client=page").json()["token"]
        return self._unless_busy(
            method, url, json=body, headers={"Prefect-Csrf-Client": "page", "Prefect-Csrf-Token": token}
        )

    def _unless_busy(self, method: str, url: str, **options: Any) -> httpx.Response:
        def answer() -> httpx.Response | None:
            response = httpx.request(method, url, timeout=30, **options)
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        return _until(answer, 30)

    def deployment(self, name: str) -> dict[str, Any]:
        """The registered deployment of that name."""
        found = self.ask("POST", "deployments/filter", {"deployments": {"name": {"any_": [name]}}}).json()
        assert len(found) == 1
        return found[0]

    def trigger(self, name: str, parameters: dict[str, Any]) -> httpx.Response:
        """What the button "Run" of the web page sends."""
        path = f"deployments/{self.deployment(name)['id']}/create_flow_run"
        return self.ask("POST", path, {"parameters": parameters, "state": {"type": "SCHEDULED"}})

    def runs(self, name: str, **filters: Any) -> list[dict[str, Any]]:
        """Every run of a deployment."""
        deployments = {"id": {"any_": [self.deployment(name)["id"]]}}
        return self.ask("POST", "flow_runs/filter", {"deployments": deployments, "flow_runs": filters}).json()

    def until(self, attempt: Callable[[], Any], seconds: float = 30) -> Any:
        """The first answer of `attempt` that counts as true, within `seconds`."""
        return _until(attempt, seconds)

    def run_in(self, run_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """The run once it has reached one of the states."""

        def reached() -> dict[str, Any] | None:
            run = self.ask("GET", f"flow_runs/{run_id}").json()
            return run if run["state_type"] in states else None

        return _until(reached, seconds)


def _until(attempt: Callable[[], Any], seconds: float) -> Any:
    """The first answer of `attempt` that counts as true, within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := attempt()):
        assert time.monotonic() < deadline, f"not so within {seconds} seconds"
        time.sleep(0.1)
    return answer


@pytest.fixture
def other_settings(tmp_path: Path) -> Iterator[Settings]:
    """A second workspace; services started in it are stopped after the test."""
    settings = new_workspace(tmp_path / "other")
    yield settings
    stop_services(settings, lambda text: None)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = new_workspace(tmp_path_factory.mktemp("house") / "a workspace")
    said: list[str] = []
    try:
        start_everything(settings, said.append)
        yield House(settings, said)
    finally:
        stop_services(settings, said.append)
