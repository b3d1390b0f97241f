"""The whole thread through every door, on a small workspace with real source code, real services and real tools."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components.catalog import STEPS, steps_toward
from components.lineage import published_record
from components.settings import Settings
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.cluster_of_processes import ClusterOfProcesses, write_profile

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Ran:
    """A workspace with its services up, and the two runs that were made in it."""

    workspace: Any
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def ran(
    new_workspace: Callable[..., Any], free_ports: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ran]:
    """`starloom run`, twice, from nothing. A cluster is known by a file that only some tests write."""
    workspace = new_workspace(**free_ports, KUBECONFIG=str(tmp_path_factory.mktemp("cluster") / "kubeconfig"))
    for made in ("artifacts", "reports", ".starloom"):
        shutil.rmtree(workspace.path / made, ignore_errors=True)
    try:
        yield Ran(workspace, workspace.starloom("run"), workspace.starloom("run"))
    finally:
        workspace.starloom("down")


def test_a_run_goes_from_sources_to_a_champion(ran: Ran) -> None:
    assert ran.first.returncode == 0, ran.first.stdout + ran.first.stderr
    for told in ("Funnel", "Data contracts", "Evaluation on", "promoted to @champion", "data/v1", "http://127.0.0.1"):
        assert told in ran.first.stdout
    for step in STEPS:
        assert f"{step.name}: done" in ran.first.stdout
    assert (ran.workspace.path / "reports" / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    assert (ran.workspace.path / "reports" / "data_docs" / "raw_files" / "index.html").exists()
    assert ran.workspace.git("tag", "--list") == "data/v1"
    assert ran.workspace.git("status", "--porcelain", "--untracked-files=no") == ""


def test_a_second_run_recomputes_nothing(ran: Ran) -> None:
    assert ran.second.returncode == 0, ran.second.stdout + ran.second.stderr
    for step in STEPS:
        assert f"{step.name}: reused" in ran.second.stdout
        assert f"{step.name}: done" not in ran.second.stdout
    assert "version 1" in ran.second.stdout
    assert "version 2" not in ran.second.stdout


def test_dvc_repro_and_the_door_give_the_records_that_the_flow_gave(
    ran: Ran, new_workspace: Callable[..., Any]
) -> None:
    by_flow = ran.workspace.identities()
    by_dvc, by_door = new_workspace(), new_workspace()
    with ThreadPoolExecutor(1) as aside:  # most of both is imports, one process after the other
        repro = aside.submit(by_dvc.dvc, "repro")
        for step in STEPS:
            told = by_door.components(step.name)
            assert told.returncode == 0, told.stderr
    done = repro.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert by_dvc.identities() == by_flow
    assert by_door.identities() == by_flow


def test_dvc_finds_nothing_to_do_after_the_flow(ran: Ran) -> None:
    done = ran.workspace.dvc("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    begun = {line for line in done.stdout.splitlines() if line.startswith("Running stage")}
    # The steps that read from outside look at their sources each time, and find their artifact made.
    assert begun == {f"Running stage '{step.name}':" for step in STEPS if step.reads_sources}
    assert "reused raw_files" in done.stdout + done.stderr


def test_status_lineage_and_completion_speak_of_the_champion(ran: Ran) -> None:
    status = ran.workspace.starloom("status")
    assert "version 1 @champion: data v1" in status.stdout, status.stdout + status.stderr
    tree = ran.workspace.starloom("lineage", "--version", "1").stdout
    for step in steps_toward("eval_report"):
        assert step.output in tree
    completed = ran.workspace.starloom("complete", "def read(", "--max-new-tokens", "5")
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith("def read(")
    assert "version 1, data v1" in completed.stderr


def test_what_stands_on_the_data_is_told_down_to_the_champion(ran: Ran) -> None:
    told = ran.workspace.starloom("lineage", "v1", "--downstream")
    assert told.returncode == 0, told.stderr
    assert "What stands on data version v1" in told.stdout
    assert "starloom-tiny version 1  champion" in told.stdout
    assert [name for name in ("checkpoint", "bundle", "eval_report") if name not in told.stdout] == []
    assert "raw_files" not in told.stdout
    of_model = ran.workspace.starloom("lineage", "--version", "1", "--downstream")
    assert "starloom-tiny version 1  champion" in of_model.stdout, of_model.stdout + of_model.stderr


def test_the_ledger_has_one_promotion_and_puts_the_alias_back(ran: Ran) -> None:
    import mlflow  # noqa: PLC0415 - it reads no setting at import that a test would have to guard

    status = ran.workspace.starloom("status").stdout
    assert "Promotions of starloom-tiny" in status
    assert status.count("promoted") == 1
    client = mlflow.MlflowClient(f"http://127.0.0.1:{ran.workspace.variables['STARLOOM_MLFLOW_PORT']}")
    client.delete_registered_model_alias("starloom-tiny", "champion")
    told = ran.workspace.starloom("promote", "--reconcile").stdout
    assert "stood nowhere; it is back on version 1, as entry 1 of the ledger says" in told
    assert int(client.get_model_version_by_alias("starloom-tiny", "champion").version) == 1
    again = ran.workspace.starloom("promote", "--reconcile")
    assert (again.returncode, again.stdout) == (0, "The alias stands where the ledger says.\n")


def test_a_deployment_started_from_outside_is_run_by_the_worker(ran: Ran) -> None:
    done = prefect(ran, "deployment", "run", "evaluate-model/evaluate-model", "--watch", "--watch-timeout", "200")
    assert "Completed" in done.stdout, done.stdout + done.stderr


def test_mlflow_holds_the_run_its_data_and_the_version(ran: Ran) -> None:
    import mlflow  # noqa: PLC0415 - it reads no setting at import that a test would have to guard

    client = mlflow.MlflowClient(f"http://127.0.0.1:{ran.workspace.variables['STARLOOM_MLFLOW_PORT']}")
    version = client.get_model_version_by_alias("starloom-tiny", "champion")
    record = published_record("eval_report", Settings(workspace=ran.workspace.path))
    assert version.tags["lineage"] == record.record_digest()
    assert version.tags["data_version"] == "v1"
    run = client.get_run(version.run_id)
    assert run.data.params["pretrain.num_steps"] == "12"
    assert run.data.metrics["eval.bits_per_byte"] > 0
    assert max(point.step for point in client.get_metric_history(version.run_id, "loss")) == 12
    datasets = {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs}
    lock = (ran.workspace.path / "dvc.lock").read_text()
    assert datasets["token_shards"] in lock
    files = {one.path for folder in ("training", "contracts") for one in client.list_artifacts(version.run_id, folder)}
    assert {"training/loss_curve.png", "contracts/raw_files.md"} <= files


def test_nothing_that_was_written_is_a_pickle(ran: Ran) -> None:
    suspicious = [
        path
        for path in ran.workspace.path.rglob("*")
        if path.is_file() and path.suffix in {".pt", ".pkl", ".pickle", ".bin", ".pth"} and "services" not in path.parts
    ]
    for path in suspicious:
        assert path.parent.name == "token_shards", path
        assert path.read_bytes()[:2] != b"\x80\x04"


def test_a_worse_model_is_not_promoted_and_a_rollback_brings_the_data_back(ran: Ran, tmp_path: Path) -> None:
    """In a copy of the workspace, with the same services: a run on other data, held off by the gate; then back."""
    shutil.copytree(ran.workspace.path, tmp_path / "workspace", symlinks=True)
    copy = replace(ran.workspace, path=tmp_path / "workspace")
    before = copy.identity("token_shards")
    hardly = {"learning_rate": 1e-9, "min_learning_rate": 1e-9}
    copy.edit_params({"filter_quality": {"max_line_length_chars": 90}, "pretrain": hardly})
    worse = copy.starloom("run", "--training-steps", "10")
    assert worse.returncode == 0, worse.stdout + worse.stderr
    assert "not promoted" in worse.stdout
    assert "no worse than the champion" in worse.stdout
    refused = copy.starloom("promote", "2")
    assert refused.returncode == 1
    assert "not promoted" in refused.stdout
    assert copy.git("tag", "--list").split() == ["data/v1", "data/v2"]
    back = copy.starloom("rollback", "data", "v1")
    assert back.returncode == 0, back.stderr
    assert copy.identity("token_shards") == before
    assert "filter_quality.max_line_length_chars: 1000 in the data, 90 in params.yaml" in " ".join(back.stdout.split())
    assert copy.git("log", "--format=%s", "-1", "data") == "Roll back to data version v1"


@pytest.fixture
def cluster(ran: Ran, tmp_path: Path) -> Iterator[ClusterOfProcesses]:
    """Two nodes that see a copy of the workspace, whose training gives a model of another name."""
    workspace = tmp_path / "workspace"
    shutil.copytree(ran.workspace.path, workspace, symlinks=True)
    with cluster_beside(ran, workspace) as running:
        yield running


@contextmanager
def cluster_beside(ran: Ran, workspace: Path) -> Iterator[ClusterOfProcesses]:
    write_profile(workspace / "profiles" / "pods.yaml")
    api = ApiStandIn()
    api.start()
    kubeconfig = api.kubeconfig(Path(ran.workspace.variables["KUBECONFIG"]))
    running = ClusterOfProcesses(api, workspace, nodes=2)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        api.stop()
        kubeconfig.unlink()


def test_a_run_trains_on_the_cluster_that_its_profile_names(ran: Ran, cluster: ClusterOfProcesses) -> None:
    copy = replace(ran.workspace, path=cluster.workspace)
    copy.edit_params({"register_model": {"model_name": "starloom-cluster"}})
    asked = ("run", "--profile", "profiles/pods.yaml", "--seed", "7")
    first = copy.starloom(*asked)
    assert first.returncode == 0, first.stdout + first.stderr
    name, evaluation = cluster.gangs
    assert evaluation.startswith("evaluate-model-")
    for told in (f"pretrain: submitted JobSet {name} in", "pretrain: 2 of 2 pods run", "pretrain: done"):
        assert told in first.stdout
    assert "starloom-cluster version 1" in first.stdout
    assert not any("/jobsets/evaluate" in path for path in cluster.api.objects)
    record = published_record("checkpoint", Settings(workspace=copy.path))
    assert name == f"pretrain-{record.fingerprint[:12]}"
    assert record.provenance.cost.pool == "pods"
    page = prefect(ran, "artifact", "inspect", f"{name}-placement", "--output", "json").stdout
    (shown,) = json.loads(page)
    assert shown["task_run_id"]
    assert "| 1 | node-1 |" in shown["data"]

    second = copy.starloom(*asked)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "pretrain: reused" in second.stdout
    assert cluster.gangs[name].codes == [0]


def test_a_run_that_is_cancelled_takes_its_gang_along(ran: Ran) -> None:
    with cluster_beside(ran, ran.workspace.path) as cluster:
        asked = {"profile": "profiles/pods.yaml", "training_steps": 1_000_000, "seed": 9}
        run = prefect(
            ran, "deployment", "run", "train-code-model/train-code-model", "--param", f"request={json.dumps(asked)}"
        )
        run_id = re.search(r"UUID: (\S+)", run.stdout)[1]
        gang = until(lambda: next(iter(cluster.gangs), None))
        until(lambda: any('"metrics"' in line for lines in cluster.api.logs.values() for line in list(lines)))
        assert prefect(ran, "flow-run", "cancel", run_id).returncode == 0
        until(lambda: not any(path.endswith(f"/jobsets/{gang}") for path in list(cluster.api.objects)))
        until(lambda: "Cancelled" in prefect(ran, "flow-run", "inspect", run_id).stdout)
    assert cluster.gangs[gang].codes == [75]


def prefect(ran: Ran, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("prefect")
    api = f"http://127.0.0.1:{ran.workspace.variables['STARLOOM_PREFECT_PORT']}/api"
    return ran.workspace.call(command, *arguments, PREFECT_API_URL=api, DO_NOT_TRACK="1")


def until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found


def test_a_record_can_be_read_without_starloom(ran: Ran) -> None:
    record = json.loads((ran.workspace.path / "artifacts" / "bundle" / "_record.json").read_text())
    assert record["step"] == "export_weights"
    assert record["provenance"]["commit"] == ran.workspace.git("rev-parse", "HEAD")
