import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient

from components.errors import ParamsError
from flows.deployments import (
    DeploymentEntry,
    form_schema,
    kubernetes_pool,
    process_pool,
    read_prefect_file,
    register,
)
from flows.forms import FlowRequest

PREFECT_FILE = Path(__file__).parents[2] / "prefect.yaml"
ENTRIES = read_prefect_file(PREFECT_FILE).deployments


def flow_of(entry: DeploymentEntry) -> Flow[..., Any]:
    module, _, function = entry.entrypoint.rpartition(".")
    return getattr(importlib.import_module(module), function)


def test_the_deployments_are_the_four_that_people_need():
    assert [entry.name for entry in ENTRIES] == ["train-code-model", "evaluate-model", "promote-model", "rollback-data"]
    assert [entry.name for entry in ENTRIES if entry.schedules] == ["train-code-model"]


def test_no_deployment_names_a_path_of_a_machine():
    assert str(Path.home()) not in PREFECT_FILE.read_text()
    assert not any("/" in entry.entrypoint for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_deployment_is_called_as_its_flow_and_the_flow_as_its_file(entry: DeploymentEntry):
    flow = flow_of(entry)
    assert isinstance(flow, Flow)
    assert flow.name == entry.name
    assert entry.entrypoint.split(".")[-1] == entry.entrypoint.split(".")[-2] == entry.name.replace("-", "_")
    assert flow.description


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_flow_takes_one_request_and_the_form_is_closed(entry: DeploymentEntry):
    flow = flow_of(entry)
    (annotation,) = [kind for name, kind in flow.fn.__annotations__.items() if name != "return"]
    assert issubclass(annotation, FlowRequest)
    schema = form_schema(flow)
    assert list(schema["properties"]) == ["request"]
    assert schema["additionalProperties"] is False
    (definition,) = schema["definitions"].values()
    assert definition["additionalProperties"] is False


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_server_has_each_form_as_its_flow_says(entry: DeploymentEntry, house: Any):
    deployment = house.deployment(entry.name)
    assert deployment["parameter_openapi_schema"] == form_schema(flow_of(entry))
    assert deployment["enforce_parameter_schema"] is True
    assert deployment["entrypoint"] == entry.entrypoint
    assert deployment["work_pool_name"] == "local"
    assert deployment["description"] == flow_of(entry).description


def test_the_nightly_run_is_scheduled(house: Any):
    runs = house.until(lambda: house.runs("train-code-model", state={"type": {"any_": ["SCHEDULED"]}}), 30)
    assert all(run["auto_scheduled"] for run in runs)
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in runs]
    assert {(time.hour, time.minute) for time in times} == {(3, 0)}
    assert min(times) > datetime.now(UTC)


BAD_PARAMETERS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("train-code-model", {"request": {"training_steps": 5}}, "5 is less than the minimum of 10"),
    ("train-code-model", {"request": {"training_steps": "many"}}, "request.training_steps"),
    ("train-code-model", {"request": {"params_file": "/etc/passwd.yaml"}}, "does not match"),
    ("train-code-model", {"request": {"params_file": "../params.yaml"}}, "does not match"),
    ("train-code-model", {"request": {"trainings_steps": 50}}, "'trainings_steps' was unexpected"),
    ("train-code-model", {"requests": {}}, "'requests' was unexpected"),
    ("train-code-model", {"request": {}, "force": True}, "'force' was unexpected"),
    ("promote-model", {"request": {"version": 0}}, "0 is less than the minimum of 1"),
    ("promote-model", {"request": {"force": True}}, "'force' was unexpected"),
    ("rollback-data", {}, "'request' is a required property"),
    ("rollback-data", {"request": {"version": "3"}}, "does not match"),
)


@pytest.mark.parametrize(("name", "parameters", "why"), BAD_PARAMETERS)
def test_a_bad_parameter_is_refused_before_a_run_exists(house: Any, name: str, parameters: dict[str, Any], why: str):
    def started_by_hand() -> list[str]:
        return sorted(run["id"] for run in house.runs(name) if not run["auto_scheduled"])

    before = started_by_hand()
    answer = house.trigger(name, parameters)
    assert 400 <= answer.status_code < 500
    assert why in answer.json()["detail"]
    assert started_by_hand() == before


def test_registering_again_changes_nothing(house: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(house.settings.workspace)
    before = {entry.name: house.deployment(entry.name) for entry in ENTRIES}
    with SyncPrefectClient(house.settings.prefect_api_url) as client:
        assert set(before) <= set(register(house.settings, client, process_pool(house.settings)))
    for name, deployment in before.items():
        after = house.deployment(name)
        assert after["id"] == deployment["id"]
        assert [(s["slug"], s["active"]) for s in after["schedules"]] == [
            (s["slug"], s["active"]) for s in deployment["schedules"]
        ]


ON_A_CLUSTER = """
pull: []
deployments:
  - name: greet-on-a-cluster
    entrypoint: tiny_flows.greet
    work_pool: {name: local}
    enforce_parameter_schema: true
"""


def test_the_same_file_registers_in_the_pool_of_a_cluster(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(house.settings.workspace)
    (tmp_path / "prefect.yaml").write_text(ON_A_CLUSTER)
    settings = house.settings.model_copy(update={"workspace": tmp_path})
    pool = kubernetes_pool("registry.example.org/starloom-worker@sha256:" + "ab" * 32)
    with SyncPrefectClient(house.settings.prefect_api_url) as client:
        for _ in range(2):
            assert register(settings, client, pool) == ("greet-on-a-cluster",)
        kept = client.read_work_pool(pool.name)
    assert (kept.type, kept.base_job_template) == ("kubernetes", pool.base_job_template)
    assert house.deployment("greet-on-a-cluster")["work_pool_name"] == "kubernetes"
    assert house.deployment("train-code-model")["work_pool_name"] == "local"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("deployments: [", "is not YAML"),
        ("pull: []\ndeployments:\n  - name: x\n    entrypoint: flows/x.py:x\n", "mend deployments.0.entrypoint"),
        ("pull: []\ndeployments: []\ncolour: red\n", "mend colour"),
        ("pull: []\ndeployments:\n  - name: x\n    entrypoint: flows.x\n    work_pool: {name: local}\n"
         "    enforce_parameter_schema: false\n", "mend deployments.0.enforce_parameter_schema"),
    ],
)  # fmt: skip
def test_a_wrong_prefect_file_is_told_by_its_place(tmp_path: Path, text: str, why: str):
    path = tmp_path / "prefect.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=why):
        read_prefect_file(path)


def test_a_workspace_without_a_prefect_file_is_told(tmp_path: Path):
    with pytest.raises(ParamsError, match=r"there is no .*prefect\.yaml"):
        read_prefect_file(tmp_path / "prefect.yaml")
