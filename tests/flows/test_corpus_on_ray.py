"""A flow makes a corpus artifact as a RayJob: a stand-in of the Kubernetes API, a real Ray cluster on this machine."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.catalog import step_named
from components.config import PipelineConfig, load_config
from components.errors import ParamsError, WorkerError
from components.lineage import published_record
from components.run_step import run_step
from components.settings import Settings
from flows.corpus_on_ray import data_work_of, inside_workspace, ray_command
from flows.job_place import start_job
from flows.run_context import open_run
from k8s.pod_rules import NO_DIGEST
from k8s.profile import PROFILES_DIR, load_profile
from k8s.request import JobRequest
from tests.flows.test_materialize import call, heard, take_sources_from
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.ray_controller import RayController, process_at_work

ROOT = Path(__file__).parents[2]
PROFILE = "mine.yaml"
ARGUMENTS = ("--params", "params.yaml")


def settings_of(workspace: Path, **others: str) -> Settings:
    shutil.copy(ROOT / "params.yaml", workspace)
    return Settings.from_environment({"STARLOOM_WORKSPACE": str(workspace), **others})


def asked(step: str, settings: Settings, *overrides: str) -> Any:
    profile = load_profile("spot-h100")
    row = step_named(step)
    work = data_work_of(row, profile)
    assert work
    return ray_command(row, load_config(settings.workspace / "params.yaml", overrides), settings, work, ARGUMENTS)


def test_only_steps_that_work_in_pieces_go_to_ray_and_only_where_the_profile_has_a_pool():
    assert data_work_of(step_named("deduplicate"), load_profile("spot-h100"))
    assert data_work_of(step_named("train_tokenizer"), load_profile("spot-h100")) is None
    assert data_work_of(step_named("deduplicate"), load_profile("kind-cpu")) is None
    assert data_work_of(step_named("deduplicate"), load_profile("local")) is None


def test_who_submits_leaves_no_trace_in_what_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STARLOOM_LOCK_HOLDER", "4711-1764165600000000000")
    places = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        places.append(settings_of(tmp_path / name, STARLOOM_PREFECT_PORT="4321", STARLOOM_RECORD_STORE="/mnt/records"))
    first, second = (asked("deduplicate", settings) for settings in places)
    assert first == second
    assert str(tmp_path) not in str(first)
    assert first.environment == {
        "STARLOOM_WORKSPACE": "/workspace",
        "STARLOOM_RUNNER": "ray",
        "STARLOOM_WORKERS": "960",
        "STARLOOM_EVENTS": "json",
        "STARLOOM_IMAGE_DIGEST": NO_DIGEST,
        "STARLOOM_LOCK_HOLDER": first.name,
        "PYTHONUNBUFFERED": "1",
    }
    assert asked("deduplicate", places[0], "deduplicate.seed=7").name != first.name


def test_a_store_that_every_machine_has_goes_with_it(tmp_path: Path):
    given = {"STARLOOM_RECORD_STORE": "s3://bucket/records", "STARLOOM_S3_ENCRYPTION": "AES256"}
    environment = asked("deduplicate", settings_of(tmp_path, **given)).environment
    assert given.items() <= environment.items()


def test_parameters_that_pods_do_not_see_are_refused(tmp_path: Path):
    assert inside_workspace("params/../params.yaml", tmp_path.resolve()) == "params.yaml"
    with pytest.raises(ParamsError, match=r"--params /etc/params.yaml is outside the workspace .*; copy it"):
        inside_workspace("/etc/params.yaml", tmp_path.resolve())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors and with its job server, and two nodes of one processor each."""
    pytest.importorskip("ray", reason="Ray is not installed for this Python")
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - Ray costs seconds; only these tests need it

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # as in the image
        patch.setenv("RAY_AUTH_MODE", "disabled")  # as in a pod: its home is empty, so there is no token
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_host": "127.0.0.1"}
        cluster = Cluster(initialize_head=True, head_node_args=head | {"object_store_memory": 100 * 2**20})
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        cluster.wait_for_nodes()
        yield cluster
        cluster.shutdown()


@pytest.fixture
def workspace(other_settings: Settings) -> Settings:
    """With a few sources in many shards, ingested, and a profile whose pool is our cluster."""
    sources = other_settings.workspace / "sources"
    sources.mkdir()
    for number in range(40):
        (sources / f"module_{number}.py").write_text(f"def add_{number}(x):\n    return x + {number}\n" * 20)
    take_sources_from(other_settings, "sources")
    change(other_settings, "ingest_sources", "shard_bytes", 5_000)
    profile = YAML(typ="safe", pure=True).load((PROFILES_DIR / "spot-h100.yaml").read_text())
    profile["cluster"]["data_work"] |= {
        "image": profile["cluster"]["data_work"]["image"].replace(NO_DIGEST, "sha256:" + "ab" * 32),
        "max_workers": 2,
        "cpus_per_worker": 1,
    }
    (other_settings.workspace / PROFILE).write_text(json.dumps(profile))
    for step in ("collect_opt_outs", "ingest_sources"):
        run_step(step_named(step), config_of(other_settings), other_settings)
    return other_settings


def config_of(settings: Settings) -> PipelineConfig:
    return load_config(settings.workspace / "params.yaml")


def change(settings: Settings, section: str, key: str, value: Any) -> None:
    yaml = YAML()
    params = settings.workspace / "params.yaml"
    content: Any = yaml.load(params.read_text())
    content[section][key] = value
    with params.open("w") as stream:
        yaml.dump(content, stream)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiStandIn]:
    stand_in = ApiStandIn()
    stand_in.start()
    monkeypatch.setenv("KUBECONFIG", str(stand_in.kubeconfig(tmp_path / "kubeconfig")))
    yield stand_in
    stand_in.stop()


@pytest.fixture
def controller(api: ApiStandIn, cluster: Any, workspace: Settings) -> Iterator[RayController]:
    controller = RayController(api, f"http://{cluster.head_node.webui_url}", workspace.workspace)
    yield controller
    controller.stop()


def lose_the_node_at_work(cluster: Any, lost: list[Any], enough: threading.Event) -> None:
    """As a cloud takes a spot node back: all its processes at once."""
    while not enough.wait(0.01):
        process = process_at_work("ray::_call")
        for node in cluster.worker_nodes if process else ():
            if process and node.all_processes["raylet"][0].process.pid == process.ppid():
                cluster.remove_node(node, allow_graceful=False)
                lost.append(node)
                return


@pytest.mark.slow
def test_a_flow_makes_an_artifact_on_ray_though_a_node_is_lost_and_the_record_is_the_local_one(
    house: Any, workspace: Settings, api: ApiStandIn, controller: RayController, cluster: Any
):
    lost, enough = list[Any](), threading.Event()
    taker = threading.Thread(target=lose_the_node_at_work, args=(cluster, lost, enough))
    taker.start()
    try:
        told = call(house, workspace, "make_on", [PROFILE, "quality_files"])
    finally:
        enough.set()
        taker.join()
    assert told[-1][0] == "returned", told[-1]
    assert lost
    assert ("filter_quality", "record") in heard(told, "record")
    (manifest,) = controller.ran
    assert "components filter_quality --params params.yaml" in manifest["spec"]["entrypoint"]
    assert not [path for path in api.objects if "/rayjobs/" in path]
    on_ray = published_record("quality_files", workspace)
    assert on_ray
    assert on_ray.provenance.image_digest == "sha256:" + "ab" * 32

    shutil.rmtree(workspace.artifacts_dir / "quality_files")
    local = run_step(step_named("filter_quality"), config_of(workspace), workspace)
    assert local.identity() == on_ray.identity()


@pytest.mark.slow
def test_a_mistake_of_a_person_comes_out_as_its_sentence(
    house: Any, workspace: Settings, api: ApiStandIn, controller: RayController
):
    change(workspace, "filter_quality", "languages", {"select": "list", "names": ["ada"]})
    what, kind, sentence = call(house, workspace, "make_on", [PROFILE, "quality_files"])[-1]
    assert (what, kind) == ("raised", "EmptyArtifactError"), sentence
    assert len(controller.ran) == 1
    assert not [path for path in api.objects if "/rayjobs/" in path]


def test_a_cluster_that_refuses_is_one_sentence_and_nobody_is_let_in(
    workspace: Settings, api: ApiStandIn, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STARLOOM_WORKSPACE", str(workspace.workspace))
    step = step_named("filter_quality")
    api.refusals.append(("GET", "/rayjobs/", 403, "rayjobs.ray.io is forbidden"))
    with open_run("a test", "params.yaml", (), PROFILE) as run:
        job = start_job(step, JobRequest(step.name, (), workspace.workspace), run)
        with pytest.raises(WorkerError, match="filter_quality: not allowed to get RayJob filter-quality-"):
            job.__enter__()
        assert json.loads((workspace.state_dir / "lock-holder.json").read_text())["guest"] is None
